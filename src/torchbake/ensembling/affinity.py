"""The affinities Â between images: all of them, exactly, or only some of the rows.

`AffinityRows` has only some of the rows where the others belong to another process. It holds them
only where they fit: an Â of more than HELD entries is made anew, some rows at a time, for each
product.
"""

import torch

from .._shapes import Float, Tensor
from .plan import HELD

# Each pair of images is compared once, not twice, where the product is large enough for that to
# save time on a CPU; in blocks of at least so many rows.
_BLOCK = 512

# Numbers of this many bits after the point, and none before it, have products that float32 sums
# without an error, where the sum is below 4. TF32 holds them, too.
_EXACT_BITS = 11


def normalise_rows(features: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Rows of length 1; zeros stay zeros. (`F.normalize`, with fewer calls.)"""
    return features / torch.linalg.vector_norm(features, dim=1, keepdim=True).clamp_min(1e-12)


def score_pairs(
    rows: Float[Tensor, "r d"],
    columns: Float[Tensor, "n d"],
    first: int,
    temperature: "float | Tensor",
    out: Tensor | None = None,
) -> Float[Tensor, "r n"]:
    """S / T_a, minus infinity where a row meets itself: rows[i] is columns[first + i]."""
    if isinstance(temperature, Tensor):
        scaled = (rows @ columns.T) / temperature
    elif temperature == 1:
        scaled = torch.mm(rows, columns.T, out=out)
    else:
        nothing = rows.new_empty(())  # not read, beta being zero
        scaled = torch.addmm(nothing, rows, columns.T, beta=0, alpha=1 / temperature, out=out)
    scaled.diagonal(first).fill_(-torch.inf)
    return scaled


def compute_affinities(
    unit: Float[Tensor, "n d"], temperature: "float | Tensor"
) -> Float[Tensor, "n n"]:
    """All of Â, from features of length 1 of n ≥ 2 images. Gradients flow through it."""
    return score_pairs(unit, unit, 0, temperature).softmax(dim=1)


@torch.no_grad()
def compute_affinities_precisely(
    features: Float[Tensor, "n d"], temperature: "float | Tensor"
) -> Float[Tensor, "n n"]:
    """All of Â in float64, within about 1e-9 / T_a of its size, by products in the features' type.

    Graphics cards multiply float64 matrices up to 64 times slower than float32. So the features F̂,
    of length 1, are taken apart into H of a few bits each, whose products float32 sums exactly,
    and a remainder L below 2⁻¹²: F̂ F̂ᵀ = H Hᵀ + G + Gᵀ with G = (H + L / 2) Lᵀ.
    """
    unit = normalise_rows(features.double())
    if features.dtype == torch.float64:
        return compute_affinities(unit, temperature)
    coarse = (unit * 2**_EXACT_BITS).round_() / 2**_EXACT_BITS
    fine = (unit - coarse).to(features.dtype)
    coarse = coarse.to(features.dtype)
    cross = ((coarse + 0.5 * fine) @ fine.T).double()
    scores = (cross + cross.T).add_(coarse @ coarse.T).div_(temperature)
    scores.diagonal().fill_(-torch.inf)
    return scores.softmax(dim=1)


def score_all(unit: Float[Tensor, "n d"], temperature: float) -> Float[Tensor, "n n"]:
    """`score_pairs` of all, on a CPU by little more than half of the multiplications."""
    n = len(unit)
    if n <= _BLOCK or unit.device.type != "cpu" or torch.compiler.is_compiling():
        return score_pairs(unit, unit, 0, temperature)
    whole = unit.new_empty(n, n)
    block = max(_BLOCK, -(-n // 16))
    for start in range(0, n, block):
        rows = slice(start, min(start + block, n))
        part = whole[rows, : rows.stop]
        score_pairs(unit[rows], unit[: rows.stop], start, temperature, out=part)
        whole[:start, rows] = part[:, :start].T
    return whole


def soften_rows(scores: Float[Tensor, "r n"]) -> Float[Tensor, "r n"]:
    """The softmax of each row, in place where there is no room for a second matrix."""
    if len(scores) <= _BLOCK or scores.device.type != "cpu" or torch.compiler.is_compiling():
        return scores.softmax(dim=1)
    for rows in scores.split(_BLOCK):
        rows.copy_(rows.softmax(dim=1))
    return scores


class AffinityRows:
    """The rows `own` of Â − shift I among all n images, ready to be multiplied.

    Args:
        unit: (n, d) features of all images, of length 1 (or 0).
        own: which of them the rows are of.
        temperature: T_a.
        shift: subtracted from the diagonal.
    """

    def __init__(
        self, unit: Float[Tensor, "n d"], own: slice, temperature: float, shift: float = 0.0
    ) -> None:
        self.unit = unit
        self.own = own
        self.temperature = temperature
        self.shift = shift
        count = own.stop - own.start
        self.block = max(1, min(count, HELD // len(unit)))
        self.held: Tensor | None = None
        if self.block == count:
            self.held = self._make(0, count)

    def _make(self, start: int, stop: int) -> Tensor:
        first = self.own.start + start
        if stop - start == len(self.unit):
            scores = score_all(self.unit, self.temperature)
        else:
            rows = self.unit[first : self.own.start + stop]
            scores = score_pairs(rows, self.unit, first, self.temperature)
        made = soften_rows(scores)
        if self.shift:
            made.diagonal(first).fill_(-self.shift)
        return made

    def add_product(
        self, x: Float[Tensor, "r c"], scale: float, y: Float[Tensor, "n c"], factor: float = 1.0
    ) -> Float[Tensor, "r c"]:
        """scale X + factor (Â − shift I) Y."""
        if self.held is not None:
            return torch.addmm(x, self.held, y, beta=scale, alpha=factor)
        count = len(x)
        result = torch.empty_like(x)
        for start in range(0, count, self.block):
            stop = min(start + self.block, count)
            made, part = self._make(start, stop), result[start:stop]
            torch.addmm(x[start:stop], made, y, beta=scale, alpha=factor, out=part)
        return result
