"""YAML of recipes, read within limits: what a text can cost is known before anything is made.

Plain values, lists and mappings are read, as YAML 1.1 has them; tags and dates are not. Anchors
and merge keys work, but they count as if they were written out.
"""

from pathlib import Path
from typing import Any

import yaml

from ..errors import UserError, shorten

LARGEST = 500_000
"""Characters of a text, and of what its anchors make of it; all names of ImageNet-21k fit."""

DEEPEST = 20
"""Lists and mappings within each other."""

LONGEST_NUMBER = 40
"""Characters of a number; Python reads long ones in quadratic time, and then refuses them."""


class NotYAMLError(UserError):
    """A text that is not YAML at all."""


def read_yaml_file(path: Path) -> dict[str, Any]:
    """The mapping in a file of YAML; an empty one if there is nothing in the file.

    Raises:
        UserError: it cannot be read, is not UTF-8, is no such YAML (see `read_yaml`), or holds
            something else than a mapping from texts.
    """
    try:
        with path.open("rb") as file:
            content = file.read(4 * LARGEST + 1)
        value = read_yaml(content.decode())
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not valid YAML: not UTF-8 at byte {error.start:,}") from None
    except NotYAMLError as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise UserError(f"{path}: expected a mapping of keys such as 'method:'")
    return value


def read_yaml(text: str) -> Any:
    """The value of a text.

    Raises:
        NotYAMLError: it is not YAML.
        UserError: it is larger or deeper than the limits, repeats a key, or has tags or anchors
            that hold themselves.
    """
    if len(text) > LARGEST:
        raise UserError(f"more than {LARGEST:,} characters")
    try:
        _check_size(text)
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        where = "" if error.problem_mark is None else f"{_place(error.problem_mark)}: "
        raise NotYAMLError(f"{where}{error.problem or error.context}") from None
    except (yaml.YAMLError, UnicodeError) as error:
        reason = getattr(error, "reason", None) or "characters that YAML does not allow"
        raise NotYAMLError(f"{reason}") from None


def _check_size(text: str) -> None:
    """Refuse what is too large or too deep, from the parser's events alone: nothing is made.

    Each alias counts as much as what it stands for, so that anchors of anchors are measured without
    being written out.
    """
    sizes: dict[str, int | None] = {}  # of what is anchored; None as long as it is open
    open_anchors: list[str | None] = []
    starts: list[int] = []
    size = 0
    for event in yaml.parse(text, Loader=_BASE):
        place = _place(event.start_mark)
        if isinstance(event, yaml.NodeEvent):
            size += 1
            _check_node(event, place)
        if isinstance(event, yaml.AliasEvent):
            name = str(event.anchor)
            known = sizes.get(name, 0)  # of an unknown one the loader says so
            if known is None:
                raise UserError(f"{place}: the anchor '{shorten(name)}' holds itself")
            size += known
        elif isinstance(event, yaml.ScalarEvent):
            size += len(event.value)
            if event.anchor is not None:
                sizes[event.anchor] = 1 + len(event.value)
        elif isinstance(event, yaml.CollectionStartEvent):
            starts.append(size)
            open_anchors.append(event.anchor)
            if event.anchor is not None:
                sizes[event.anchor] = None
            if len(starts) > DEEPEST:
                raise UserError(f"{place}: more than {DEEPEST} lists or mappings in each other")
        elif isinstance(event, yaml.CollectionEndEvent):
            start, anchor = starts.pop(), open_anchors.pop()
            if anchor is not None:
                sizes[anchor] = size - start + 1
        if size > LARGEST:
            raise UserError(f"{place}: more than {LARGEST:,} characters with its anchors")


def _check_node(event: yaml.NodeEvent, place: str) -> None:
    tag = getattr(event, "tag", None)
    if tag not in (None, "!"):  # "!" is what a text in quotes has
        raise UserError(f"{place}: tags such as '{shorten(str(tag))}' are not read")


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


# The parser in C is ten times as fast; where there is none, that in Python is the same.
_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_BASE):  # type: ignore[misc]
    """The safe loader without dates, with every key once."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        # Before the merge keys are resolved, whose keys may be there twice; not again behind that.
        checked: set[int] = self.__dict__.setdefault("checked", set())
        if id(node) not in checked:
            checked.add(id(node))
            self._check_keys(node)
        super().flatten_mapping(node)

    def _check_keys(self, node: yaml.MappingNode) -> None:
        seen: dict[Any, yaml.Node] = {}
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            value = self.construct_object(key, deep=True)
            try:
                first = seen.setdefault(value, key)
            except TypeError:  # a list or a mapping, which the loader refuses
                continue
            if first is not key:
                raise UserError(
                    f"{_place(key.start_mark)}: the key '{shorten(str(value))}' is there already, "
                    f"at {_place(first.start_mark)}"
                )


def _construct_number(loader: Any, node: yaml.ScalarNode) -> Any:
    place = _place(node.start_mark)
    if len(node.value) > LONGEST_NUMBER:
        raise UserError(
            f"{place}: a number of {len(node.value):,} characters; at most {LONGEST_NUMBER}"
        )
    kind = "int" if node.tag.endswith(":int") else "float"
    try:
        return getattr(loader, f"construct_yaml_{kind}")(node)
    except (ValueError, IndexError):  # 0b, 1:99:_, …
        raise UserError(f"{place}: not a number: '{shorten(node.value)}'") from None


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _construct_number)

# Dates and the lone "=" are texts.
_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":value"))
    ]
    for first, resolvers in _BASE.yaml_implicit_resolvers.items()
}
