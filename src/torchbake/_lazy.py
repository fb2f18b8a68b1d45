"""Names of a package that are imported when they are first used."""

import ast
from collections.abc import Callable, Iterator, MutableMapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def export_lazily(package: str, homes: dict[str, str]) -> tuple[Callable[[str], Any], list[str]]:
    """A package's `__getattr__` and `__all__`, for `import torchbake` to stay instant.

    Args:
        package: the package's `__name__`.
        homes: of each public name, the module below the package that defines it.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f".{homes[name]}", package), name)

    return load, sorted(homes)


class LazyClasses(MutableMapping[str, type[T]], Generic[T]):
    """Classes of a package by name, each imported when it is first looked up.

    Args:
        package: the package's `__name__`.
        homes: of each name, `module:Class` below the package.
    """

    def __init__(self, package: str, homes: dict[str, str]) -> None:
        self._package = package
        self._homes = dict(homes)
        self._classes: dict[str, type[T]] = {}

    def __getitem__(self, name: str) -> type[T]:
        if name not in self._classes:
            module, _, attribute = self._homes[name].partition(":")
            self._classes[name] = getattr(import_module(f".{module}", self._package), attribute)
        return self._classes[name]

    def __setitem__(self, name: str, value: type[T]) -> None:
        self._classes[name] = value
        module = value.__module__.removeprefix(f"{self._package}.")
        self._homes.setdefault(name, f"{module}:{value.__name__}")

    def __delitem__(self, name: str) -> None:
        del self._homes[name]
        self._classes.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def __len__(self) -> int:
        return len(self._homes)

    def __contains__(self, name: object) -> bool:
        return name in self._homes  # the one inherited would import the class

    def read_definition(self, name: str) -> ast.ClassDef:
        """A class's definition, read from its module's source without importing it."""
        module, _, attribute = self._homes[name].partition(":")
        spec: Any = find_spec(f".{module}", self._package)
        for item in ast.parse(spec.loader.get_source(spec.name)).body:
            if isinstance(item, ast.ClassDef) and item.name == attribute:
                return item
        raise ImportError(f"{spec.name} defines no class {attribute}")
