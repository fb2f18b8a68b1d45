"""Every shape and type in torchbake's signatures is checked while the tests run."""

import pytest
from jaxtyping import config, install_import_hook

install_import_hook("torchbake", "beartype.beartype")


@pytest.fixture
def unchecked():
    """Leaves the checking of arguments to torchbake itself, as users have it."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


def quiet_progress(split, done, total):
    """Progress that nobody looks at."""
