"""Tensors that claim to be on a CUDA device, and what is copied to it."""

from contextlib import contextmanager

import torch
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class WatchCopies(TorchDispatchMode):
    """Notes the shapes of the host's tensors that operations bring to the device.

    Attributes:
        beside, blocking: of copies that the host goes on beside, and of those that it waits for.
    """

    def __init__(self):
        super().__init__()
        self.beside, self.blocking = [], []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        made = [t for t in tree_leaves(out) if isinstance(t, torch.Tensor)]
        if any(t.device.type == "cuda" for t in made):
            shapes = [tuple(t.shape) for t in given if t.device.type == "cpu"]
            copy = func is torch.ops.aten._to_copy.default and kwargs.get("non_blocking")
            (self.beside if copy else self.blocking).extend(shapes)
        return out


@contextmanager
def fake_cuda():
    """Within it, tensors are fake ones; yields their mode, which makes fake ones of real ones."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        yield mode
