"""Ranges of settings where torch alone is installed: of the losses and of ensembling.

Recipes and methods have annotated types instead (see `ranges`).
"""


def check_positive(name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be above 0 and finite, got {value}")


def check_omega(omega: float) -> None:
    if not 0 <= omega < 1:
        raise ValueError(f"omega must be in [0, 1), got {omega}")


def check_not_negative(name: str, value: float) -> None:
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be at least 0 and finite, got {value}")


def check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {value}")
