"""Curves as geometry: what a template needs to draw them as SVG."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

WIDTH, HEIGHT = 420, 240
LEFT, RIGHT, TOP, BOTTOM = 64, 18, 10, 46
"""Room around the frame, for ticks and the name of the horizontal axis."""
FROM_ZERO = 0.5
"""Curves whose lowest value is at most this fraction of their highest begin at zero."""
POINTS = 240
"""Points of a curve at most; more are averaged over stretches."""
MARKED = 40
"""Points up to which each is marked, with its values to be read."""

# Okabe and Ito's colours for all eyes, without the yellow.
SHADES = (
    ("#b4430f", "#ff9d66"),
    ("#0072b2", "#56b4e9"),
    ("#007a58", "#2fc79a"),
    ("#a2427c", "#e091c1"),
    ("#555", "#bbb"),
    ("#8a6100", "#e6b422"),
)
"""Each on white and on black."""
COLOURS = tuple(f"light-dark({light}, {dark})" for light, dark in SHADES)
DASHES = ("none", "6 3", "2 2")

Pairs = Sequence[tuple[float, float]]


class Tick(NamedTuple):
    """A value on an axis, and where it stands."""

    at: float
    text: str


class Mark(NamedTuple):
    """A point with its values in words."""

    x: float
    y: float
    text: str


class Line(NamedTuple):
    """A curve: the mean over seeds, and a band of a standard error around it."""

    name: str
    colour: str
    dash: str
    points: str
    band: str
    marks: list[Mark]


class Chart(NamedTuple):
    """Curves over images seen in one frame; lengths in units of the view box."""

    title: str
    about: str
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    note: str = ""
    """That the vertical axis does not begin at zero, if so."""


def draw_lines(title: str, curves: dict[str, list[Pairs]]) -> Chart | None:
    """A chart of variants, each by its seeds' (images, value) pairs; None if there is no curve.

    Only the numbers of images that all seeds of a variant have are drawn.
    """
    means = {name: _thinned(_mean(seeds)) for name, seeds in curves.items()}
    drawn = {name: triples for name, triples in means.items() if len(triples) > 1}
    if not drawn:
        return None
    every = [triple for triples in drawn.values() for triple in triples]
    low = min(mean - error for _, mean, error in every)
    high = max(mean + error for _, mean, error in every)
    end = max(x for x, _, _ in every)
    if 0 < low <= FROM_ZERO * high:
        low = 0.0
    y_values = choose_ticks(low, high)
    low, high = min(low, y_values[0]), max(high, y_values[-1])

    def across(x: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * x / end

    def up(y: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - y) / (high - low or 1)

    lines = []
    for name, triples in drawn.items():
        colour, dash = style_line(list(curves).index(name))
        above = [(across(x), up(mean + error)) for x, mean, error in triples]
        below = [(across(x), up(mean - error)) for x, mean, error in reversed(triples)]
        marks = [Mark(across(x), up(y), _words(name, x, y, error)) for x, y, error in triples]
        lines.append(
            Line(
                name,
                colour,
                dash,
                _joined([(across(x), up(mean)) for x, mean, _ in triples]),
                _joined(above + below) if any(error for _, _, error in triples) else "",
                marks if len(marks) <= MARKED else [],
            )
        )
    about = "; ".join(f"{name} ends at {triples[-1][1]:.4g}" for name, triples in drawn.items())
    return Chart(
        title,
        f"{title} over images seen: {about}",
        lines,
        [Tick(across(x), _short(x)) for x in choose_ticks(0.0, end, 4) if x <= end],
        [Tick(up(y), f"{y:.6g}") for y in y_values],
        f"vertical axis from {y_values[0]:.6g}, not from 0" if y_values[0] > 0 else "",
    )


def style_line(number: int) -> tuple[str, str]:
    """Colour and dashes of the n-th variant."""
    return COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]


def choose_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers, the first at or below `low`, the last at or above `high`."""
    if not high > low:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def _mean(seeds: list[Pairs]) -> list[tuple[float, float, float]]:
    """(x, mean, standard error) where all seeds have a value."""
    values: dict[float, list[float]] = {}
    for pairs in seeds:
        for x, y in dict(pairs).items():
            if math.isfinite(y):
                values.setdefault(x, []).append(y)
    triples = []
    for x, ys in sorted(values.items()):
        if len(ys) == len(seeds):
            error = stdev(ys) / math.sqrt(len(ys)) if len(ys) > 1 else 0.0
            triples.append((x, fmean(ys), error))
    return triples


def _thinned(triples: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Averages over stretches, each at its end, where there are too many points."""
    size = math.ceil(len(triples) / POINTS)
    if size <= 1:
        return triples
    parts = [triples[start : start + size] for start in range(0, len(triples), size)]
    return [
        (part[-1][0], fmean(mean for _, mean, _ in part), fmean(error for *_, error in part))
        for part in parts
    ]


def _joined(points: list[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _words(name: str, x: float, mean: float, error: float) -> str:
    spread = f" ± {error:.2g}" if error else ""
    return f"{name}, {x:,.0f} images: {mean:.5g}{spread}"


def _short(x: float) -> str:
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if x >= unit:
            return f"{x / unit:.4g} {letter}"
    return f"{x:.4g}"
