"""The recipes that are shipped: made by rule from a base a data set and the table named.yaml."""

from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import yaml

from .overlays import Overlay, merge_overlays

FORMS = ("bake", "bake-paper", "cross-entropy")
"""In which each network of the table is a recipe."""

_MORE = ("", "twice", "three times", "four times")


class NamedRecipe(NamedTuple):
    """A row of the table, in one of its forms.

    Attributes:
        name: such as `cifar100/resnet18-bake`.
        data: the data set's entry in the table.
        row: the network's, or that of a recipe that stands alone.
        form: one of `FORMS`, or a further one of the row's; empty where the recipe stands alone.
    """

    name: str
    data: dict[str, Any]
    row: dict[str, Any]
    form: str

    @property
    def data_title(self) -> str:
        """The data set in words."""
        return str(self.data["title"])

    @property
    def reported(self) -> float | None:
        """The top-1 accuracy in percent that the paper reports for this very recipe."""
        return self.row.get("reported") if self.form == "bake-paper" else None

    def make_overlay(self) -> Overlay:
        """The recipe's keys that are not the default, its description among them."""
        if not self.form:
            overlay = merge_overlays(_read_base(self.row["extends"]), self.row["changes"])
        else:
            overlay = merge_overlays(self._read_data_base(), {"model": self.row["model"]})
            overlay = merge_overlays(overlay, self.row.get("changes", {}))
            overlay = merge_overlays(overlay, self._get_changes())
        return {"description": self.describe(), **overlay}

    def describe(self) -> str:
        """The recipe in one sentence."""
        if not self.form:
            return str(self.row["description"])
        how = {
            "bake": "with batch knowledge ensembling",
            "bake-paper": f"BAKE by the paper's protocol ({self.count_times()} the images)",
            "bake-plus": "with BAKE+ on shuffled batches",
            "cross-entropy": "with cross-entropy",
        }[self.form]
        words = (self.data_title, self.row.get("title"), how)
        return f"{', '.join(filter(None, words))}."

    def count_times(self) -> str:
        """How many times the images of its baseline the paper's protocol sees, in words."""
        return _MORE[self._read_data_base()["method"]["partners"]]

    def count_images(self) -> int:
        """Training images of a whole run, but for the last ones of an epoch that make no batch."""
        overlay = self.make_overlay()
        training = overlay["training"]
        anchors = training.get("epoch") == "anchors"
        each = overlay["method"].get("partners", 0) + 1 if anchors else 1
        return int(training["epochs"] * self.data["images"] * each)

    def _read_data_base(self) -> Overlay:
        return _read_base(self.name.partition("/")[0])

    def _get_changes(self) -> Overlay:
        """What its form changes."""
        if self.form == "bake-paper":
            return dict(self.data["bake-paper"])
        return {} if self.form == "bake" else {"method": self.form}


@cache
def find_named() -> dict[str, NamedRecipe]:
    """All shipped recipes by their names, in the order of the table."""
    found = []
    for place, data in yaml.safe_load(_read_file("named")).items():
        for network, row in data["networks"].items():
            for form in (*FORMS, *row.get("forms", ())):
                name = "-".join(filter(None, (network, form)))
                found.append(NamedRecipe(f"{place}/{name}", data, row, form))
        for name, row in data.get("others", {}).items():
            found.append(NamedRecipe(f"{place}/{name}", data, row, ""))
    return {named.name: named for named in found}


def list_recipes() -> list[str]:
    """The names of the recipes that are shipped with the package."""
    return sorted(find_named())


@cache
def _read_base(name: str) -> Overlay:
    """A file of keys, over that which it extends."""
    content = yaml.safe_load(_read_file(name))
    below = content.pop("extends", None)
    return content if below is None else merge_overlays(_read_base(below), content)


def _read_file(name: str) -> str:
    return (files("torchbake") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
