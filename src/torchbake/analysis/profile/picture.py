"""Where the time of a training step goes, as a picture."""

from collections.abc import Callable
from typing import Any

from ..pages.panels import INK, Panel, draw_picture

LINE = 32.0
"""Pixels between the phases."""


def draw_profile(summary: dict[str, Any], title: Callable[[str], str]) -> str:
    """The phases' shares, and each step's phases one upon the other, as SVG.

    Args:
        summary: see `summarise`.
        title: of a phase.
    """
    phases = {name: row for name, row in summary["phases"].items() if name != "step"}
    longest = max(row["ms"][2] for row in phases.values())
    left, width, height = 190.0, 480.0, LINE * len(phases)
    above = Panel(
        (left, 12.0, width, height),
        (0.0, longest),
        None,
        "milliseconds a step: median, with quartiles; and share of all steps",
    )
    steps = summary["steps"]
    highest = max(sum(step.values()) for step in steps)
    box = (left, height + 84, width, 200.0)
    below = Panel(box, None, (0.0, highest), f"steps, 1 to {len(steps)}", "milliseconds")
    ground = [0.0] * len(steps)
    thickness = width / len(steps)
    for number, (phase, row) in enumerate(phases.items()):
        low, middle, high = (above.across(value) for value in row["ms"])
        up, colour = 12 + LINE * (number + 0.5), INK[number % len(INK)]
        share = f"{100 * row['share']:.1f} %"
        above.write(left - 10, up + 4, title(phase), "end")
        above.draw_bar((left, up - 10, middle - left, 20.0), colour, f"{title(phase)}: {share}")
        above.draw_line((low, up), (high, up))
        above.write(max(middle, high) + 8, up + 4, share)
        for step, place in zip(steps, range(len(steps)), strict=True):
            took = step.get(phase, 0.0)
            top = below.up(ground[place] + took)
            tall = below.up(ground[place]) - top
            below.draw_bar((left + place * thickness, top, thickness, tall), colour)
            ground[place] += took
    about = "; ".join(f"{title(name)}: {100 * row['share']:.1f} %" for name, row in phases.items())
    return draw_picture([above, below], left + width + 90, height + 84 + 256, about)
