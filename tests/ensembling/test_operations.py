"""How many operations the target and the loss start: on a card, each is a kernel to launch."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from torchbake import BAKELoss, bake_targets


class Started(TorchDispatchMode):
    """Counts operations that compute: neither views nor allocations."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if not function.is_view and not name.startswith(("empty", "new_empty")):
            self.names.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("setting", "most"),
    [
        ({}, 21),
        ({"omega": 0.9}, 28),
        ({"affinity_temperature": 0.1}, 25),
        ({"affinity_temperature": 0.05}, 45),  # with more precision than float32's
    ],
)
def test_the_operations_of_a_target_may_only_become_fewer(setting, most):
    with FakeTensorMode():
        batch = torch.randn(128, 100, device="cuda"), torch.randn(128, 512, device="cuda")
        with Started() as started:
            bake_targets(*batch, **setting)
    assert len(started.names) <= most, (len(started.names), started.names)


def test_the_operations_of_a_loss_may_only_become_fewer():
    with FakeTensorMode():
        logits, features = (
            torch.randn(128, 100, device="cuda"),
            torch.randn(128, 512, device="cuda"),
        )
        labels = torch.zeros(128, dtype=torch.long, device="cuda")
        with Started() as started:
            BAKELoss()(logits, labels, features)
    assert len(started.names) <= 34, (len(started.names), started.names)
