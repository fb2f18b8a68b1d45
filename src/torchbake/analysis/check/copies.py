"""Copies among the images: of equal bytes, and of pictures that look the same.

Two pictures are the same if their grey thumbnails correlate by 1 − `FARTHEST` or more, and their
mean colours agree. Whole pairs are not compared: candidates share a byte of a 64-bit hash.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .look import Looks

FARTHEST = 0.06
"""1 − correlation of the thumbnails up to which two pictures are the same (docs/check.md)."""

_HASH_BITS = 12
"""Bits in which the hashes of two pictures may differ that are compared at all."""

_COLOUR = 32.0
"""Difference of mean colours, beyond that of their brightness, of pictures that are the same."""

LEAST_SIDE = 32
"""Pixels of the shorter side, below which pictures of different things look the same."""

LEAST_SPREAD = 8.0
"""Standard deviation of a thumbnail's grey levels, below which it tells nothing."""

_BLOCK = 1024
_PAIRS = 2**20
"""Pairs that are held until they are joined to groups."""


def find_equal(digest: NDArray[np.uint64], readable: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The number of each image's group of equal files (n,); −1 of one that cannot be read."""
    groups = np.full(len(digest), -1)
    _, inverse = np.unique(digest[readable], axis=0, return_inverse=True)
    groups[readable] = inverse.reshape(-1)
    return groups


def find_same_pictures(looks: Looks, farthest: float = FARTHEST) -> NDArray[np.int64]:
    """The number of each picture's group of pictures that look the same (n,).

    Groups are connected: in a row of pictures that differ a little, the first and the last may
    differ more. Time grows with n², divided by about 30.

    Args:
        farthest: see `FARTHEST`; 0 finds none.
    """
    n = len(looks)
    thumbnails = looks.thumbnail.reshape(n, -1)
    enough = looks.readable & (looks.size.min(axis=1) >= LEAST_SIDE)
    enough &= thumbnails.std(axis=1) >= LEAST_SPREAD
    compared = enough.nonzero()[0] if farthest else np.zeros(0, np.int64)
    # Of equal files the first stands for all.
    found = np.unique(looks.digest[compared], axis=0, return_index=True, return_inverse=True)
    _, first, inverse = found
    groups = np.arange(n)
    groups[compared] = compared[first][inverse.reshape(-1)]
    compared = compared[np.sort(first)]
    hashes = hash_thumbnails(looks.thumbnail[compared])
    held: list[NDArray[np.int64]] = []
    for pairs in _find_candidates(hashes):
        rows = compared[pairs]
        rows = rows[:, groups[rows[0]] != groups[rows[1]]]
        held.append(rows[:, _look_same(looks, rows, farthest)])
        if sum(part.shape[1] for part in held) > _PAIRS:
            groups, held = _join(groups, held), []
    return _join(groups, held)


def hash_thumbnails(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The signs of the 8 × 8 lowest frequencies of each thumbnail, as 64 bits (n,)."""
    signs = [
        np.packbits(dctn(part.astype(np.float32), axes=(1, 2))[:, :8, :8].reshape(-1, 64) > 0, 1)
        for part in np.array_split(thumbnails, max(1, len(thumbnails) // 10_000))
    ]
    return np.concatenate(signs).view(np.uint64)[:, 0]


def _find_candidates(hashes: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """Pairs (2, k) of places with hashes that are alike: all that differ in fewer than 8 bits.

    Such pairs share one of their 8 bytes. Of those that differ in up to `_HASH_BITS`, most do.
    """
    octets = hashes.view(np.uint8).reshape(-1, 8)
    for place in range(8):
        order = np.argsort(octets[:, place], kind="stable")
        ends = np.searchsorted(octets[order, place], np.arange(257))
        for start, end in pairwise(ends):
            for one in range(start, end, _BLOCK):
                rows = order[one : min(one + _BLOCK, end)]
                for other in range(one, end, _BLOCK):
                    columns = order[other : min(other + _BLOCK, end)]
                    differ = np.bitwise_count(hashes[rows, None] ^ hashes[columns])
                    first, second = (differ <= _HASH_BITS).nonzero()
                    if one == other:
                        first, second = first[first < second], second[first < second]
                    yield np.stack([rows[first], columns[second]])


def _look_same(looks: Looks, pairs: NDArray[np.int64], farthest: float) -> NDArray[np.bool_]:
    """Which of these pairs (2, k) are the same picture."""
    same = np.zeros(pairs.shape[1], np.bool_)
    for start in range(0, len(same), 65_536):
        rows = pairs[:, start : start + 65_536]
        one, other = (looks.thumbnail[part].reshape(-1, 256).astype(np.float32) for part in rows)
        one -= one.mean(axis=1, keepdims=True)
        other -= other.mean(axis=1, keepdims=True)
        lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        alike = np.einsum("ij,ij->i", one, other) >= (1 - farthest) * lengths
        tints = [looks.colour[part] - looks.colour[part].mean(1, keepdims=True) for part in rows]
        # A grey copy of a coloured picture is one, too.
        grey = (np.abs(tints[0]).max(1) < 1) | (np.abs(tints[1]).max(1) < 1)
        near = np.abs(tints[0] - tints[1]).max(axis=1) <= _COLOUR
        same[start : start + 65_536] = alike & (grey | near)
    return same


def _join(groups: NDArray[np.int64], held: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Groups of pictures that are connected by what they were before or by these pairs."""
    n = len(groups)
    own = np.stack([np.arange(n), groups])
    first, second = np.concatenate([own, *held], axis=1)
    graph = coo_array((np.ones(len(first), np.bool_), (first, second)), shape=(n, n))
    _, joined = connected_components(graph, directed=False)
    # Named after a member, for the next pairs to be joined to.
    _, member = np.unique(joined, return_index=True)
    return member[joined]
