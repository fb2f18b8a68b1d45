"""A rank that fails is named by the others: two real trials, and what is told of signs of life."""

import json
from datetime import timedelta

import pytest
import torch.distributed as dist
from benchmarks.measure.torture_ranks import FAULTS, MOMENTS, Cell, draw_cells, try_cell
from helpers.processes import run_python

from torchbake.errors import UserError
from torchbake.training import liveness
from torchbake.training.liveness import Liveness, is_of_communication, name_failed_ranks


@pytest.mark.parametrize(
    "cell", [Cell(2, "hang", "middle", 1), Cell(3, "kill", "checkpoint", 2)], ids=str
)
def test_a_real_rank(tmp_path, cell):
    fault, _ = try_cell(cell, tmp_path)
    assert not fault


def test_the_matrix_has_every_fault_at_every_moment():
    cells = draw_cells(1000, seed=3)
    assert len({cell[:3] for cell in cells}) == len(cells) == 2 * (5 * 4 + 1)
    assert {cell.fault for cell in cells} == set(FAULTS)
    assert {cell.moment for cell in cells} == set(MOMENTS)


@pytest.fixture
def ranks(monkeypatch):
    """Three ranks in one process, of which the first asks."""
    monkeypatch.setattr(liveness, "PERIOD", 0.02)
    monkeypatch.setattr(liveness, "PATIENCE", 0.2)
    store = dist.HashStore()
    store.set_timeout(timedelta(seconds=5))
    made = [Liveness(store, rank, 3) for rank in range(3)]
    for rank in made:
        rank.note(f"step {rank.rank + 5}")
        rank._put(f"life/{rank.rank}", {"beats": 0, "where": "x", "seconds": 0, "process": "p"})
    yield made
    for rank in made:
        rank.stop()


def test_an_error_is_told_before_all_else(ranks):
    ranks[1].report("OverflowError: too much", waited=False)
    assert ranks[0].diagnose() == "rank 1 failed: OverflowError: too much"


def test_a_rank_that_is_alive_and_does_not_come(ranks):
    ranks[2].report("Timed out waiting", waited=True)
    told = ranks[0].diagnose()
    assert told.startswith("rank 1 does not go on: it is at step 6, process ")
    assert told.endswith(" s now")


def test_ranks_without_signs_of_life(ranks):
    for rank in ranks[1:]:
        rank.stop()
        rank._ended.wait(0.1)
    told = ranks[0].diagnose()
    assert told.startswith("rank 1 gives no sign of life: it was killed or stopped")
    assert "; rank 2 gives no sign of life" in told
    ranks[1].report("Connection closed", waited=True)
    ranks[2].report("Connection closed", waited=True)
    assert ranks[0].diagnose() == "the ranks lost the connection to each other"


def test_an_error_of_communication_becomes_the_name_of_a_rank(ranks):
    ranks[2].report("the data ended", waited=False)
    words = "[/a/gloo/transport/tcp/pair.cc:12] Connection closed by peer [127.0.0.1]:80"
    with (
        pytest.raises(UserError, match=r"^rank 2 failed: the data ended \(rank 0: Connection cl"),
        name_failed_ranks(ranks[0]),
    ):
        raise RuntimeError(words)
    assert json.loads(ranks[0]._store.get("end/0"))["waited"] is True
    with pytest.raises(OverflowError), name_failed_ranks(ranks[1]):
        raise OverflowError("mine")
    assert ranks[2].diagnose().startswith("rank 1 failed: OverflowError: mine")


def test_what_is_an_error_of_communication():
    assert is_of_communication(RuntimeError("[x/gloo/y.cc:1] Timed out waiting 10ms for recv"))
    assert is_of_communication(RuntimeError("Application timeout caused pair closure"))
    assert is_of_communication(dist.DistBackendError("NCCL"))
    assert not is_of_communication(UserError("Timed out waiting"))
    assert not is_of_communication(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_of_communication(OSError("Connection reset"))


def test_ranks_that_find_other_images_do_not_begin(tmp_path):
    printed = run_python(
        """
        from torchbake.errors import UserError
        from torchbake.training.distributed import check_alike, join_ranks

        with join_ranks("cpu") as ranks:
            check_alike(ranks, {"test images": "7"})
            try:
                check_alike(ranks, {"training images": str(9 - ranks.rank)})
            except UserError as error:
                print(error, flush=True)
        """,
        tmp_path,
        ranks=2,
    )
    lines = printed.strip().splitlines()
    assert lines == ["rank 1 found other training images than rank 0: 8, not 9"] * 2
