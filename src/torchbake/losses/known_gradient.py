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
        # Some rows at a time, so that what lies between stays in the processor's cache.
        rows = max(1, _CACHED // c)
        if rows >= n or logits.device.type != "cpu" or torch.compiler.is_compiling():
            divergence = _sum_divergences(logits.detach(), soft_targets, temperature)
        else:
            parts = zip(logits.detach().split(rows), soft_targets.split(rows), strict=True)
            divergence = torch.stack([_sum_divergences(z, q, temperature) for z, q in parts]).sum()
        gradient = predictions.sub_(soft_targets)
    scale = temperature / max(n, 1)  # a rank may have none
    value: Tensor = _KnownGradient.apply(logits, divergence, gradient, temperature * scale, scale)
    return value


def _sum_divergences(logits: Tensor, soft_targets: Tensor, temperature: float) -> Tensor:
    """The sum over the rows of KL(Q ‖ softmax(Z / T))."""
    log_p = (logits.to(soft_targets.dtype) / temperature).log_softmax(dim=1)
    # 0 log 0 = 0. (`xlogy` takes three times as long on a CPU.)
    log_q = soft_targets.clamp_min(torch.finfo(soft_targets.dtype).tiny).log_()
    return log_q.sub_(log_p).mul_(soft_targets).sum()


# Entries of a block of rows in `self_distillation_loss`: 512 KiB in float32.
_CACHED = 2**17


class _KnownGradient(torch.autograd.Function):
    """A value of `logits` whose gradient is known already, both up to a factor."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        value: Tensor,
        gradient: Tensor,
        value_scale: float,
        gradient_scale: float,
    ) -> Tensor:
        ctx.save_for_backward(gradient)
        ctx.scale = gradient_scale
        ctx.dtype = logits.dtype
        return value * value_scale

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None, None]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the distillation term of BAKELoss has no second derivative, and no gradient by "
                "torch.func or with create_graph=True"
            )
        (gradient,) = ctx.saved_tensors
        return (gradient * (upstream * ctx.scale)).to(ctx.dtype), None, None, None, None
