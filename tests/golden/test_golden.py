"""What was recorded still comes out; the package's docstring says when it may change."""

import pytest
import torch

from .cases import CASES, Absent
from .comparing import first_difference
from .storing import read_record


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("case", CASES)
def test_it_is_as_it_was_recorded(case, tmp_path):
    try:
        record = CASES[case](tmp_path)
    except Absent as absent:
        pytest.skip(str(absent))
    found = first_difference(case, read_record(case), record)
    assert found is None, f"{case}, {found}"
