"""A comparison as a picture: accuracy against seconds of training."""

import math

from ..compare.figures import Row
from ..compare.tables import format_spread, format_variant
from .panels import INK, Panel, draw_picture

LINE = 18.0
"""Pixels between the names of variants."""


def draw_comparison(rows: list[Row]) -> str:
    """Top-1 against seconds of training, with standard errors, as SVG; the best row first."""
    points = [(row.seconds[0], row.top1[0]) for row in rows]
    errors = [[0.0 if math.isnan(e) else e for e in (r.seconds[1], r.top1[1])] for r in rows]
    pairs = list(zip(points, errors, strict=True))
    low = min(y - error for (_, y), (_, error) in pairs)
    high = max(y + error for (_, y), (_, error) in pairs)
    end = max(x + error for (x, _), (error, _) in pairs)
    height = max(280.0, LINE * len(rows))
    panel = Panel(
        (76.0, 16.0, 440.0, height), (0.0, end), (low, high), "seconds of training", "top-1 %"
    )
    names = [format_variant(row) for row in rows]
    heights = _spread([panel.up(y) for _, y in points], 16 + height)
    beside = panel.left + panel.width + 24
    for number, ((x, y), (x_error, y_error)) in enumerate(pairs):
        across, up = panel.across(x), panel.up(y)
        panel.draw_line((across, up), (beside - 4, heights[number]), "leader")
        panel.draw_line((panel.across(x - x_error), up), (panel.across(x + x_error), up))
        panel.draw_line((across, panel.up(y - y_error)), (across, panel.up(y + y_error)))
    for number, (row, (x, y)) in enumerate(zip(rows, points, strict=True)):
        told = f"top-1 {format_spread(row.top1, 2)} %, {format_spread(row.seconds, 1)} s"
        colour = INK[number % len(INK)]
        panel.draw_point(panel.across(x), panel.up(y), colour, f"{names[number]}: {told}")
        panel.write(beside, heights[number] + 4, names[number])
    width = beside + 7.5 * max(map(len, names)) + 8
    about = "; ".join(f"{n}: {x:.1f} s, {y:.2f} %" for n, (x, y) in zip(names, points, strict=True))
    return draw_picture([panel], width, height + 64, f"Top-1 and seconds. {about}")


def _spread(wanted: list[float], bottom: float) -> list[float]:
    """Heights from the top down, as near to the wanted ones as names have room for."""
    placed: list[float] = []
    for height in wanted:
        placed.append(max(height, placed[-1] + LINE) if placed else height)
    for number in reversed(range(len(placed))):
        placed[number] = min(placed[number], bottom)
        bottom = placed[number] - LINE
    return placed
