"""The affinities Â between images, whole or as a matrix K and its row sums: Â = K / sums.

`AffinityRows` has only some of the rows where the others belong to another process. It holds them
only where they fit: a K of more than HELD entries is made anew, some rows at a time, for each
product.
"""

import torch

from .._shapes import Float, Tensor
from .plan import HELD, SYMMETRIC_FROM

# Each pair of images is compared once, not twice, where the product is large enough for that to
# save time; in blocks of at least so many rows.
_BLOCK = 512


def normalise_rows(features: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Rows of length 1; zeros stay zeros. (`F.normalize`, with fewer calls.)"""
    return features / torch.linalg.vector_norm(features, dim=1, keepdim=True).clamp_min(1e-12)


def score_pairs(
    rows: Float[Tensor, "r d"],
    columns: Float[Tensor, "n d"],
    first: int,
    temperature: float,
    out: Tensor | None = None,
) -> Float[Tensor, "r n"]:
    """S / T_a, minus infinity where a row meets itself: rows[i] is columns[first + i]."""
    nothing = rows.new_empty(())  # not read, beta being zero
    scaled = torch.addmm(nothing, rows, columns.T, beta=0, alpha=1 / temperature, out=out)
    scaled.diagonal(first).fill_(-torch.inf)
    return scaled


def compute_affinities(unit: Float[Tensor, "n d"], temperature: float) -> Float[Tensor, "n n"]:
    """All of Â, from features of length 1 of n ≥ 2 images. Gradients flow through it."""
    return score_pairs(unit, unit, 0, temperature).softmax(dim=1)


def weigh_pairs(
    rows: Float[Tensor, "r d"], columns: Float[Tensor, "n d"], first: int, temperature: float
) -> Float[Tensor, "r n"]:
    """exp(S / T_a), zero where a row meets itself.

    Sharp ones (T_a < SYMMETRIC_FROM) have each row divided by its largest.
    """
    scaled = score_pairs(rows, columns, first, temperature)
    if temperature < SYMMETRIC_FROM:
        scaled.sub_(scaled.amax(dim=1, keepdim=True))
    return scaled.exp_()


def weigh_symmetrically(unit: Float[Tensor, "n d"], temperature: float) -> Float[Tensor, "n n"]:
    """All of K by little more than half of the multiplications, where it is symmetric."""
    n = len(unit)
    if n <= _BLOCK or temperature < SYMMETRIC_FROM or torch.compiler.is_compiling():
        return weigh_pairs(unit, unit, 0, temperature)
    whole = unit.new_empty(n, n)
    block = max(_BLOCK, -(-n // 16))
    for start in range(0, n, block):
        rows = slice(start, min(start + block, n))
        part = whole[rows, : rows.stop]
        score_pairs(unit[rows], unit[: rows.stop], start, temperature, out=part).exp_()
        whole[:start, rows] = part[:, :start].T
    return whole


class AffinityRows:
    """The rows `own` of Â among all n images, ready to be multiplied.

    Args:
        unit: (n, d) features of all images, of length 1 (or 0).
        own: which of them the rows are of.
        temperature: T_a.
    """

    def __init__(self, unit: Float[Tensor, "n d"], own: slice, temperature: float) -> None:
        self.unit = unit
        self.own = own
        self.temperature = temperature
        count = own.stop - own.start
        self.sums = unit.new_empty(count, 1)
        self.block = max(1, min(count, HELD // len(unit)))
        self.held: Tensor | None = None
        if self.block == count:
            whole = count == len(unit)
            self.held = weigh_symmetrically(unit, temperature) if whole else self._weights(0, count)
            self.sums = self.held.sum(dim=1, keepdim=True)

    def _weights(self, start: int, stop: int) -> Tensor:
        first = self.own.start + start
        rows = self.unit[first : self.own.start + stop]
        return weigh_pairs(rows, self.unit, first, self.temperature)

    def multiply(self, x: Float[Tensor, "n c"]) -> Float[Tensor, "r c"]:
        """Â X. The sums are known after it, if not before."""
        if self.held is not None:
            return (self.held @ x).div_(self.sums)
        count = len(self.sums)
        product = x.new_empty(count, x.shape[1])
        for start in range(0, count, self.block):
            rows = slice(start, min(start + self.block, count))
            made = self._weights(rows.start, rows.stop)
            self.sums[rows] = made.sum(dim=1, keepdim=True)
            torch.mm(made, x, out=product[rows])
        return product.div_(self.sums)
