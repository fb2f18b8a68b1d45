"""A CUDA device: the machine's own, or else a fake one (see benchmarks.measure.fake_card).

`TORCHBAKE_TRY_ON=cpu` lets the tests that need values run on the CPU, to see that they can.
"""

import os

import pytest
import torch
from benchmarks.measure.fake_card import DEVICE, use_fake_card


@pytest.fixture
def card():
    """`cuda:0`, real or fake."""
    if torch.cuda.is_available():
        yield DEVICE
    else:
        with use_fake_card():
            yield DEVICE


@pytest.fixture
def real_card():
    """A device whose tensors have values."""
    name = os.environ.get("TORCHBAKE_TRY_ON") or ("cuda" * torch.cuda.is_available())
    if not name:
        pytest.skip("there is no CUDA device")
    return torch.device(name, 0) if name == "cuda" else torch.device(name)
