"""What a run asks of its device: TF32, copies at a save, and values read from it."""

import pytest
import torch
from helpers.fake_cuda import fake_cuda
from rich.console import Console
from torch.utils._python_dispatch import TorchDispatchMode

from torchbake.errors import UserError
from torchbake.methods import Step
from torchbake.training import loop
from torchbake.training.distributed import Ranks, allow_tf32, join_ranks, list_tf32
from torchbake.training.files import copy_to_host
from torchbake.training.finite import Watch
from torchbake.training.meters import WORST, Meters
from torchbake.training.recipe_files import load_recipe


def test_only_ieee_does_without_tf32(tmp_path):
    assert list_tf32() == ["convolutions"]  # PyTorch's default
    try:
        torch.backends.cuda.matmul.allow_tf32 = True
        for precision, expected in (
            ("float32", ["convolutions", "matrix products"]),
            ("ieee", []),
            ("bf16", ["convolutions"]),
        ):
            short = [("training.max_steps", "1"), ("training.precision", precision)]
            recipe = load_recipe("digits/bake", short)
            loop.train(recipe, tmp_path / precision, console=Console(quiet=True))
            assert list_tf32() == expected
            # Both of torch's interfaces can still be read; the compiler reads this one.
            assert torch.backends.cudnn.allow_tf32 == ("convolutions" in expected)
    finally:
        allow_tf32("ieee")
        allow_tf32("float32")


def test_a_checkpoint_leaves_the_device_with_one_wait(monkeypatch):
    waits = []
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    with fake_cuda():
        state = {
            "model": {"a": torch.ones(2, device="cuda:0"), "b": torch.ones(3, device="cuda:0")},
            "groups": [{"lr": 0.1, "betas": (0.9, torch.ones(1, device="cuda:0"))}],
            "none": None,
        }
        with Copies() as copies:
            copied = copy_to_host(state)
    assert waits == [torch.device("cuda:0")]
    assert copies.waiting == [False] * 3
    tensors = [*copied["model"].values(), copied["groups"][0]["betas"][1]]
    assert {tensor.device.type for tensor in tensors} == {"cpu"}
    assert copied["groups"][0]["lr"] == 0.1
    assert copied["none"] is None


class Copies(TorchDispatchMode):
    """Notes of each copy whether it is waited for."""

    def __init__(self):
        super().__init__()
        self.waiting = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default:
            self.waiting.append(not kwargs.get("non_blocking"))
        return func(*args, **(kwargs or {}))


def test_on_the_cpu_a_checkpoint_is_not_copied():
    state = {"weights": torch.ones(2), "step": 3}
    copied = copy_to_host(state)
    assert copied == state
    assert copied["weights"] is state["weights"]


class Reads(TorchDispatchMode):
    """Counts the values that the host is given."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_steps_and_their_record_read_no_value_by_itself():
    """What they note is read at once, by one `tolist`."""
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(network.parameters())
    watch = Watch(network, torch.nn.Module(), None, optimizer)
    meters = Meters(Ranks(0, 1, torch.device("cpu")))
    logits, labels = torch.ones(4, 3), torch.tensor([0, 1, 2, 0])
    with Reads() as reads:
        for number in range(70):
            meters.add(Step(logits.mean(), logits, {"a": logits.mean()}), labels)
            meters.end_step(number, {WORST: watch.look_at_networks()})
        assert len(meters.close(watch.look_at_all()).steps) == 70
        assert reads.count == 0
        assert float(logits[0, 0]) == 1.0
    assert reads.count == 1


def test_one_gpu_for_several_ranks_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        pytest.raises(UserError, match=r"'cuda:1' is one device for 2 ranks; give 'cuda'"),
        join_ranks("cuda:1"),
    ):
        pass
