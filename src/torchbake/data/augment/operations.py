"""Operations of TrivialAugment and RandAugment, drawn for each image, applied to many at once."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import torch

from ..._shapes import Tensor, UInt8
from ..transfer import copy_to


class Operation(NamedTuple):
    """What is done to an image: the name of torchvision's operation, and how strongly."""

    name: str
    magnitude: float


@cache
def make_policy(name: str, operations: int, magnitude: int) -> Any:
    """torchvision's transform of a policy: `trivial`, or `rand` with these settings."""
    from torchvision.transforms import v2

    if name == "trivial":
        return v2.TrivialAugmentWide()
    return v2.RandAugment(num_ops=operations, magnitude=magnitude)


def draw_operations(
    policy: Any, seeds: Sequence[int], height: int, width: int
) -> list[list[Operation]]:
    """What the policy does to each image first, second, …: as torchvision draws it by that seed."""
    bins = policy.num_magnitude_bins
    space = []
    for name, (make_magnitudes, signed) in policy._AUGMENTATION_SPACE.items():
        magnitudes = make_magnitudes(bins, height, width)
        space.append((name, None if magnitudes is None else magnitudes.tolist(), signed))
    rounds: list[list[Operation]] = [[] for _ in range(getattr(policy, "num_ops", 1))]
    generator = torch.Generator()
    for seed in seeds:
        generator.manual_seed(seed)
        for drawn in rounds:
            name, magnitudes, signed = space[
                int(torch.randint(len(space), (), generator=generator))
            ]
            magnitude = 0.0
            if magnitudes is not None:
                fixed = getattr(policy, "magnitude", None)
                place = (
                    int(torch.randint(bins, (), generator=generator)) if fixed is None else fixed
                )
                magnitude = float(magnitudes[place])
                if signed and float(torch.rand((), generator=generator)) <= 0.5:
                    magnitude = -magnitude
            if name in _WHOLE:
                magnitude = float(int(magnitude))
            drawn.append(Operation(name, magnitude))
    return rounds


CACHED = 2**17
"""Values of pixels that are changed at once on a CPU."""

_WHOLE = ("TranslateX", "TranslateY", "Posterize")
"""Operations that take whole numbers, so that more images share one."""


def apply_operations(
    policy: Any, operations: Sequence[Operation], pixels: UInt8[Tensor, "n ch h w"]
) -> UInt8[Tensor, "n ch h w"]:
    """Images after one operation each; those with the same one are changed together.

    On a CPU only as many at once as its cache holds what lies between, which are several of small
    images alone.
    """
    result = torch.empty_like(pixels)

    def change(images: Tensor, operation: Operation) -> Tensor:
        changed: Tensor = policy._apply_image_or_video_transform(
            images, *operation, interpolation=policy.interpolation, fill=policy._fill
        )
        return changed

    at_once = len(pixels)
    if pixels.device.type == "cpu":
        at_once = CACHED // pixels[0].numel()
    if at_once < 2:
        for row, operation in enumerate(operations):
            result[row] = change(pixels[row], operation)
        return result
    rows: dict[Operation, list[int]] = {}
    for row, operation in enumerate(operations):
        rows.setdefault(operation, []).append(row)
    order = copy_to(torch.tensor([row for own in rows.values() for row in own]), pixels.device)
    for operation, own in zip(rows, order.split([len(own) for own in rows.values()]), strict=True):
        for some in own.split(at_once):
            result[some] = change(pixels[some], operation)
    return result
