"""Frames with axes, and shapes in them, for pictures that are files of their own."""

from typing import Any, NamedTuple

from .charts import SHADES, choose_ticks
from .render import render

INK = tuple(light for light, _ in SHADES)
"""Colours on white, so that a picture looks alike in every viewer."""


class Shape(NamedTuple):
    """An SVG element: its attributes, its text, and words that are shown for it."""

    kind: str
    attributes: dict[str, Any]
    text: str = ""
    words: str = ""


class Panel:
    """A frame of which each axis goes from one round number to another.

    Args:
        box: left, top, width and height in pixels.
        x, y: the lowest and highest value of the axes; None for an axis without numbers.
    """

    def __init__(
        self,
        box: tuple[float, float, float, float],
        x: tuple[float, float] | None,
        y: tuple[float, float] | None,
        x_title: str = "",
        y_title: str = "",
    ) -> None:
        self.left, self.top, self.width, self.height = box
        x_ticks, y_ticks = (choose_ticks(*ends) if ends else [0.0, 1.0] for ends in (x, y))
        self.x_ends, self.y_ends = ((ticks[0], ticks[-1]) for ticks in (x_ticks, y_ticks))
        self.shapes: list[Shape] = []
        bottom, middle = self.top + self.height, self.top + self.height / 2
        for value in x_ticks if x else ():
            at = self.across(value)
            self.draw_line((at, self.top), (at, bottom), "rule")
            self.write(at, bottom + 18, f"{value:g}", "middle")
        for value in y_ticks if y else ():
            at = self.up(value)
            self.draw_line((self.left, at), (self.left + self.width, at), "rule")
            self.write(self.left - 6, at + 4, f"{value:g}", "end")
        self.write(self.left + self.width / 2, bottom + 38, x_title, "middle")
        if y and y_ticks[0]:
            y_title += f" (the axis starts at {y_ticks[0]:g})"
        aside = {"x": self.left - 54, "y": middle, "text-anchor": "middle"}
        turned = {"transform": f"rotate(-90 {self.left - 54:g} {middle:g})"}
        self.shapes.append(Shape("text", aside | turned, y_title))

    def across(self, value: float) -> float:
        """Where a value of the x axis is, in pixels."""
        low, high = self.x_ends
        return self.left + self.width * (value - low) / (high - low)

    def up(self, value: float) -> float:
        """Where a value of the y axis is, in pixels."""
        low, high = self.y_ends
        return self.top + self.height * (high - value) / (high - low)

    def draw_line(
        self, first: tuple[float, float], second: tuple[float, float], kind: str = "whisker"
    ) -> None:
        """A line between two points in pixels."""
        ends = zip(("x1", "y1", "x2", "y2"), (*first, *second), strict=True)
        self.shapes.append(Shape("line", {k: round(v, 1) for k, v in ends} | {"class": kind}))

    def draw_bar(
        self, box: tuple[float, float, float, float], colour: str, words: str = ""
    ) -> None:
        """A bar: left, top, width and height in pixels."""
        sides = zip(("x", "y", "width", "height"), box, strict=True)
        attributes = {k: round(v, 2) for k, v in sides} | {"fill": colour}
        self.shapes.append(Shape("rect", attributes, words=words))

    def draw_point(self, x: float, y: float, colour: str, words: str = "") -> None:
        """A point in pixels."""
        attributes = {"cx": round(x, 1), "cy": round(y, 1), "r": 5, "fill": colour}
        self.shapes.append(Shape("circle", attributes, words=words))

    def write(self, x: float, y: float, text: str, anchor: str = "start") -> None:
        """Text at a point in pixels."""
        attributes = {"x": round(x, 1), "y": round(y, 1), "text-anchor": anchor}
        self.shapes.append(Shape("text", attributes, text))


def draw_picture(panels: list[Panel], width: float, height: float, about: str) -> str:
    """An SVG file of panels.

    Args:
        width, height: in pixels.
        about: what it shows, for those who cannot see it.
    """
    shapes = [shape for panel in panels for shape in panel.shapes]
    return render("panels.svg", width=width, height=height, about=about, shapes=shapes)
