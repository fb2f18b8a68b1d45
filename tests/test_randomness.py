import torch

from torchbake.randomness import derive_seed, draw_uniform, make_generator


def numbers(images, views=0, count=4, key=("augment", 0, 0)):
    images = torch.as_tensor(images)
    return draw_uniform(images, torch.full_like(images, views), count, *key)


def test_a_row_depends_on_its_own_image_alone():
    together = numbers(torch.arange(1000))
    assert torch.equal(together[[7, 421]], numbers([7, 421]))


def test_numbers_are_the_same_on_every_machine():
    assert derive_seed("batches", 0, 0) == 1567934732
    assert (numbers([0, 1])[:, 0] * 1_000_000).int().tolist() == [860864, 646806]


def test_key_view_and_image_all_matter():
    base = numbers(torch.arange(100))
    assert (base != numbers(torch.arange(100), views=1)).float().mean() > 0.99
    assert (base != numbers(torch.arange(100), key=("augment", 0, 1))).float().mean() > 0.99
    assert (base != numbers(torch.arange(100, 200))).float().mean() > 0.99


def test_uniform_and_uncorrelated():
    drawn = numbers(torch.arange(50_000), count=6)
    assert ((drawn >= 0) & (drawn < 1)).all()
    next_view = numbers(torch.arange(50_000), views=1, count=6)
    columns = torch.cat([drawn, next_view], dim=1)
    assert (columns.mean(dim=0) - 0.5).abs().max() < 0.006
    assert (columns.var(dim=0) - 1 / 12).abs().max() < 0.002
    assert (torch.corrcoef(columns.T) - torch.eye(12)).abs().max() < 0.025
    neighbours = torch.corrcoef(torch.stack([drawn[:-1, 0], drawn[1:, 0]]))
    assert neighbours[0, 1].abs() < 0.025


def test_generators_of_one_key_agree():
    assert torch.equal(
        torch.rand(3, generator=make_generator("a", 1)),
        torch.rand(3, generator=make_generator("a", 1)),
    )
