"""A distillation loss whose gradient is known in closed form."""

from typing import Any

import torch

from .._shapes import Float, Tensor
from ..ensembling.precision import disable_autocast


def self_distillation_loss(
    logits: Float[Tensor, "n c"],
    predictions: Float[Tensor, "n c"],
    soft_targets: Float[Tensor, "n c"],
    temperature: float,
) -> Float[Tensor, ""]:
    """`distillation_loss` where P = softmax(Z / T) is known: its gradient is T (P − Q) / n.

    Less memory traffic than autograd's way: no pass back through a softmax, and on the CPU what
    lies between stays in the cache. create_graph=True and torch.func.grad are refused.

    Args:
        logits: (n, c) Z; the gradient flows here alone.
        predictions: (n, c) P in float32 or wider; overwritten.
        soft_targets: (n, c) Q.
        temperature: T, above zero.
    """
    n, c = logits.shape
    with torch.no_grad(), disable_autocast(logits.device.type):
        divergence = predictions.new_zeros(())
        # Some rows at a time, so that what lies between stays in the processor's cache.
        rows = max(1, _CACHED // c) if logits.device.type == "cpu" else n
        rows = n if torch.compiler.is_compiling() else rows
        for z, q in zip(logits.detach().split(rows), soft_targets.split(rows), strict=True):
            log_p = (z.to(q.dtype) / temperature).log_softmax(dim=1)
            log_q = q.clamp_min(torch.finfo(q.dtype).tiny).log_()  # 0 log 0 = 0
            divergence += log_q.sub_(log_p).mul_(q).sum()
        gradient = predictions.sub_(soft_targets)
    images = max(n, 1)  # a rank may have none
    value: Tensor = _KnownGradient.apply(
        logits, divergence * (temperature**2 / images), gradient, temperature / images
    )
    return value


# Entries of a block of rows in `self_distillation_loss`: 512 KiB in float32.
_CACHED = 2**17


class _KnownGradient(torch.autograd.Function):
    """A value of `logits` whose gradient, up to a factor, is known already."""

    @staticmethod
    def forward(logits: Tensor, value: Tensor, gradient: Tensor, factor: float) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        logits, _, gradient, factor = inputs
        ctx.save_for_backward(gradient)
        ctx.factor = factor
        ctx.dtype = logits.dtype

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the distillation term of BAKELoss has no second derivative, and no gradient by "
                "torch.func or with create_graph=True"
            )
        (gradient,) = ctx.saved_tensors
        return (gradient * (upstream * ctx.factor)).to(ctx.dtype), None, None, None
