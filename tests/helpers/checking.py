"""The checks of shapes and types that tests add to torchbake's functions."""

from contextlib import contextmanager

from jaxtyping import config


@contextmanager
def checks_off():
    """Leave them out for a while, as users do."""
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", False)
