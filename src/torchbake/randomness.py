"""Random numbers that are pure functions of what they are for, so that no state is carried.

Batch k of epoch e and the augmentation of image i depend on the seed and on these numbers alone:
resuming needs two integers, and any batch can be made again by its number.
"""

import hashlib

import torch

from ._shapes import Float, Int, Tensor


def derive_seed(*key: int | str) -> int:
    """A 32-bit seed from a key such as ("batches", seed, epoch): the same on every machine."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")


def make_generator(*key: int | str) -> torch.Generator:
    """A CPU generator seeded from a key."""
    return torch.Generator().manual_seed(derive_seed(*key))


def draw_uniform(
    images: Int[Tensor, " n"], views: Int[Tensor, " n"], count: int, *key: int | str
) -> Float[Tensor, "n count"]:
    """`count` uniform numbers in [0, 1) for each image, on the images' device.

    Row r depends on the key, images[r] and views[r] alone, not on the rest of the batch: the
    numbers are a hash (two rounds of a 32-bit integer finaliser) of these and the column.
    """
    start = derive_seed(*key)  # as a number: a tensor of it would be a copy from the host
    columns = torch.arange(1, count + 1, device=images.device)
    state = _mix(_mix((images & 0xFFFFFFFF) ^ start) ^ (views & 0xFFFFFFFF))
    bits = _mix(_mix(state[:, None] ^ _mix(columns)[None, :]))
    return (bits >> 8).to(torch.float32) / (1 << 24)


def _mix(x: Tensor) -> Tensor:
    """A bijection of 32-bit integers held in int64 that flips each output bit with chance 1/2."""
    # The constants are those of Chris Wellons' "lowbias32" search for such finalisers.
    x = x ^ (x >> 16)
    x = (x * 0x7FEB352D) & 0xFFFFFFFF
    x = x ^ (x >> 15)
    x = (x * 0x846CA68B) & 0xFFFFFFFF
    return x ^ (x >> 16)
