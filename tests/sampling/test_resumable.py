"""`ResumableDataLoader`: resumed behind the batch that was used, transforms and all."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from torchbake import ClassGroupedBatchSampler, ResumableDataLoader


class Noisy(Dataset):
    """Images with random transforms by three generators."""

    colour = "grey"

    def __len__(self):
        return 40

    def __getitem__(self, index):
        return index, torch.rand(()).item(), random.random(), np.random.rand()


def make(workers=0, **options):
    sampler = ClassGroupedBatchSampler([i // 4 for i in range(40)], 8, partners=3, seed=1)
    return ResumableDataLoader(Noisy(), sampler, num_workers=workers, **options)


def rows(batch):
    return torch.stack([column.double() for column in batch]).T.tolist()


@pytest.fixture(scope="module")
def whole():
    loader = make()
    return [rows(batch) for _ in range(3) for batch in loader]


def test_images_and_transforms_differ_from_batch_to_batch(whole):
    assert len(whole) == 15
    numbers = [row[1] for batch in whole for row in batch]
    assert len(set(numbers)) == len(numbers)
    assert sorted(row[0] for batch in whole[:5] for row in batch) == list(range(40))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_rest_is_what_it_would_have_been(whole, workers):
    loader = make(workers)
    states = [loader.state_dict()]
    for _ in range(2):
        for batch in loader:
            assert rows(batch) == whole[len(states) - 1]
            states.append(loader.state_dict())
    assert [state["batch"] for state in states] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0]
    for used in (0, 3, 5, 7, 10):
        resumed = make(workers)
        resumed.load_state_dict(states[used])
        assert resumed.state_dict() == states[used]
        rest = [rows(batch) for _ in range(3 - used // 5) for batch in resumed]
        assert rest == whole[used:]
        if workers:
            break  # starting workers takes long


def test_the_epoch_that_is_set_is_that_of_the_state(whole):
    loader = make()
    next(iter(loader))
    loader.set_epoch(2)
    assert loader.state_dict() == {"seed": 1, "epoch": 2, "batch": 0}
    assert [rows(batch) for batch in loader] == whole[10:]


def test_the_main_process_keeps_its_own_random_numbers(unchecked):
    drawn = []
    for loader in (make(), DataLoader([0])):  # any loader draws one number itself
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        next(iter(loader))
        drawn.append((torch.rand(3).tolist(), random.random(), np.random.rand()))
    assert drawn[0] == drawn[1]


def test_the_dataset_shows_through():
    loader = make()
    assert loader.dataset.colour == "grey"
    assert len(loader.dataset) == 40
    with pytest.raises(AttributeError):
        loader.dataset.shade  # noqa: B018
