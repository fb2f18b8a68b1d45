"""Every shape and type in torchbake's signatures is checked while the tests run."""

import os

import pytest
import torch
from helpers.browser import browser, opened_page  # noqa: F401 (fixtures)
from helpers.checking import checks_off
from jaxtyping import install_import_hook

install_import_hook("torchbake", "beartype.beartype")

if "PYTEST_XDIST_WORKER" in os.environ:  # several workers share the cores
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Decoded images of tests do not go where a user's are."""
    os.environ["TORCHBAKE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def unchecked():
    """Leaves the checking of arguments to torchbake itself, as users have it."""
    with checks_off():
        yield


@pytest.fixture
def example():
    """A recorded model, its batch of twelve images, and their logits, features and labels."""
    from helpers.method_examples import Recorded
    from helpers.reference import clustered

    from torchbake.methods import Batch

    logits, features, labels = clustered(12)
    batch = Batch(torch.zeros(12, 1, 8, 8), labels, torch.arange(12))
    return Recorded((features, logits)), batch, logits, features, labels
