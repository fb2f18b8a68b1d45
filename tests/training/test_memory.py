"""Devices whose memory is full, as told by errors like PyTorch's."""

from functools import partial

import pytest
import torch
from rich.console import Console
from torch import nn

from torchbake.cli.main import main
from torchbake.data.loading.open_data import open_data
from torchbake.errors import UserError
from torchbake.recipe import DataRecipe
from torchbake.training import loop, memory
from torchbake.training.memory import collect_within_memory, explain_out_of_memory
from torchbake.training.recipe_files import load_recipe

FULL = (
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.10 GiB of "
    "which 12.00 MiB is free. Including non-PyTorch memory, this process has 79.00 GiB memory in "
    "use. See documentation for Memory Management"
)
SHORT = (
    "(CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.10 GiB of "
    "which 12.00 MiB is free)"
)


def fail(*given, **settings):
    raise torch.OutOfMemoryError(FULL)


def test_training_says_what_to_lower(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loop, "update", fail)
    expected = (
        "out of memory on cpu, training 32 images at a time: lower training.batch_size, raise "
        f"training.accumulate, or set training.precision to bf16 {SHORT}"
    )
    recipe = load_recipe("digits/bake", [("training.accumulate", "2")])
    with pytest.raises(UserError) as caught:
        loop.train(recipe, tmp_path / "run", console=Console(quiet=True))
    assert str(caught.value) == expected
    command = ["train", "digits/bake", "--training.accumulate", "2", "--out", str(tmp_path / "2")]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"torchbake: error: {expected}\n"


def test_every_command_ends_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("torchbake.training.opened_run.open_run", fail)
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(tmp_path)])
    assert ended.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith("torchbake: error: out of memory on the device: ")
    assert line.endswith(f"{SHORT}\n")


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("CUDA error: out of memory\nCUDA kernel errors might be…", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("mat1 and mat2 shapes cannot be multiplied", False),
    ],
)
def test_other_errors_are_left_as_they_are(message, told):
    with (
        pytest.raises(UserError if told else RuntimeError) as caught,
        explain_out_of_memory("it", "less"),
    ):
        raise RuntimeError(message)
    first = message.splitlines()[0]
    assert str(caught.value) == (f"out of memory on it: less ({first})" if told else message)


def test_images_are_evaluated_in_smaller_batches_where_memory_is_short(monkeypatch):
    device = torch.device("cpu")
    data = open_data(DataRecipe(), lambda split, done, total: None)

    class Network(nn.Module):
        fits, seen = 256, []

        def forward(self, images):
            self.seen.append(len(images))
            if len(images) > self.fits:
                fail()
            return images.flatten(1), images.flatten(1)[:, :10]

    def collect():
        batches = partial(data.test_batches, device=device)
        return collect_within_memory(network, batches, device, None)

    network = Network()
    network.train()
    whole = collect()
    network.fits = 100
    network.seen.clear()
    parts = collect()
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(parts, whole, strict=True))
    assert network.seen[:2] == [256, 64]
    assert network.training
    network.fits = 0
    with pytest.raises(UserError, match=r"^out of memory on cpu, evaluating one image \(CUDA out"):
        collect()
    assert network.training
    monkeypatch.setattr(memory, "collect_logits", lambda *given: [][0])
    with pytest.raises(IndexError):
        collect()
