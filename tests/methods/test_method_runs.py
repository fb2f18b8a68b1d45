"""Every method in whole runs: it learns, survives a crash, and works on two ranks."""

import json
from pathlib import Path

import pytest
import torch
from helpers.processes import run_python
from helpers.training_runs import QUIET, StopAt, recipe, same, saved, weights

from torchbake.methods import METHODS
from torchbake.training.loop import train
from torchbake.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Settings of the methods that need a trained network."""
    folders = [tmp_path_factory.mktemp("teachers") / str(seed) for seed in range(2)]
    for seed, folder in enumerate(folders):
        train(recipe(("method", "cross-entropy"), ("seed", str(seed))), folder, console=QUIET)
    one = [("method.teacher", str(folders[0]))]
    return {
        "kd": one,
        "tf-kd-self": one,
        "kd-ensemble": [("method.teachers", json.dumps([str(folder) for folder in folders]))],
    }


ALL_KEPT = [
    ("method.memory", "100"),
    ("method.ema_decay", "0.9"),
    ("method.label_share", "0.2"),
    ("method.neighbours", "same-class"),
    ("method.weight_warmup", "0.3"),
    ("method.omega_warmup", "0.3"),
    ("method.final_affinity_temperature", "0.1"),
]

KEEP_NOTHING = (
    "bake-plus",
    "cs-kd",
    "ddgsd",
    "kd",
    "label-smoothing",
    "max-entropy",
    "tf-kd-self",
    "tf-kd-virtual",
)
"""Methods without buffers and parameters of their own: a run of one of them is like any other, and
test_contract has them go on. Of their kind, `cross-entropy` and `bake` are crashed here."""


@pytest.mark.parametrize("name", [name for name in METHODS if name not in KEEP_NOTHING])
def test_a_crashed_run_goes_on_bit_for_bit(tmp_path, monkeypatch, teachers, name):
    own = [("method", name), *teachers.get(name, [])]
    own += ALL_KEPT if name == "bake-variants" else []
    settings = recipe(*own, ("training.checkpoint_every", "7"))
    final = train(settings, tmp_path / "whole", console=QUIET)
    with monkeypatch.context() as patched:
        StopAt(patched, 17)
        with pytest.raises(RuntimeError, match="crash"):
            train(settings, tmp_path / "cut", console=QUIET)
    again = train(settings, tmp_path / "cut", resume=True, console=QUIET)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    assert same(*(saved(tmp_path / run)["method"] for run in ("whole", "cut")))
    assert final["forwards"] == again["forwards"]
    records = [r for r in RunFolder(tmp_path / "whole").read_metrics() if r["kind"] == "train"]
    assert records[-1]["train_top1"] > 20  # of ten classes
    result = json.loads((tmp_path / "whole" / "result.json").read_text())
    assert result["images"] == 1536
    assert result["trained_parameters"] >= result["parameters"]
    assert result["best_on_test"]["top1"] >= result["last"]["top1"] == final["top1"]


FORWARDS = {"ddgsd": 2, "dlb": 2 - 64 / 1536, "mixskd": 2, "dml": 2, "kdcl": 2, "kd": 2}


def test_forwards_and_what_teachers_have_seen_are_counted(tmp_path, teachers):
    for name, expected in FORWARDS.items():
        own = [("method", name), *teachers.get(name, [])]
        final = train(recipe(*own), tmp_path / name, console=QUIET)
        assert final["forwards"] / final["images"] == pytest.approx(expected)
    result = json.loads((tmp_path / "kd" / "result.json").read_text())
    assert result["teacher_images"] == 1536
    assert result["trained_parameters"] == result["parameters"]
    dml = json.loads((tmp_path / "dml" / "result.json").read_text())
    assert dml["trained_parameters"] == 2 * dml["parameters"]


RANK_BY_RANK = ("byot", "ddgsd", "mixskd", "one")
"""Methods that two ranks do not train like one process: heads normalise the images of a rank,
and means and random numbers are a rank's own."""

OWN = {
    "bake-variants": ALL_KEPT,
    "kd": [("method.teacher", "two-cross-entropy")],
    "tf-kd-self": [("method.teacher", "two-cross-entropy")],
    "kd-ensemble": [("method.teachers", "[two-cross-entropy, two-bake]")],
    "ps-kd": [("method.kept_classes", "4")],
    "byot": [("method.stages", "[a, b]")],
    "mixskd": [("method.stages", "[a, b]")],
    "one": [("method.stage", "b")],
}


def test_two_ranks_train_like_one_and_go_on(tmp_path, monkeypatch):
    """Two real processes, all methods in turn: like one process, alike, and resumable."""
    (tmp_path / "nets_of_ranks.py").write_text(
        "from collections import OrderedDict\n"
        "from torch import nn\n"
        "def plain(num_classes):\n"
        "    layers = OrderedDict(a=nn.Conv2d(1, 8, 3), b=nn.Conv2d(8, 8, 3, 2),\n"
        "                         c=nn.Flatten(), d=nn.Linear(32, num_classes))\n"
        "    return nn.Sequential(layers)\n"
    )
    common = [("model", "nets_of_ranks:plain"), ("model.classifier", "d")]
    common += [("training.max_steps", "9"), ("training.checkpoint_every", "4")]
    common += [("optimizer.lr", "0.02")]
    settings = {name: [("method", name), *OWN.get(name, [])] for name in METHODS}
    settings = {name: [*own, *common] for name, own in settings.items()}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    (tmp_path / "tests.txt").write_text(str(Path(__file__).parents[1]))
    run_python(TWO_RANKS, tmp_path, ranks=2)
    monkeypatch.chdir(tmp_path)
    for name in settings:
        two = weights(tmp_path / f"two-{name}")
        assert same(two, weights(tmp_path / f"cut-{name}")), name
        if name not in RANK_BY_RANK:
            train(recipe(*settings[name]), tmp_path / f"one-{name}", console=QUIET)
            one = weights(tmp_path / f"one-{name}")
            for key, value in one.items():
                torch.testing.assert_close(two[key], value, rtol=1e-3, atol=1e-4, msg=name)


TWO_RANKS = """
import json, sys
from contextlib import contextmanager
from pathlib import Path
import torch, torch.distributed as dist
sys.path.insert(0, Path("tests.txt").read_text())
from helpers.training_runs import QUIET, StopAt, recipe
from torchbake.training import loop
from torchbake.training.distributed import Ranks

dist.init_process_group("gloo")
ranks = Ranks(dist.get_rank(), dist.get_world_size(), torch.device("cpu"))

@contextmanager
def joined(device, timeout):  # once for all runs
    yield ranks

class Patch:
    def setattr(self, module, name, value):
        setattr(module, name, value)

loop.join_ranks = joined
update, set_up = loop.update, loop.set_up
for name, overrides in json.loads(Path("settings.json").read_text()).items():
    settings = recipe(*map(tuple, overrides))
    loop.train(settings, Path(f"two-{name}"), console=QUIET)
    StopAt(Patch(), 6)
    try:
        loop.train(settings, Path(f"cut-{name}"), console=QUIET)
    except RuntimeError as error:
        assert str(error) == "crash", error
    loop.update = update
    dist.barrier()
    made = []
    loop.set_up = lambda *given: made.append(set_up(*given)) or made[0]
    loop.train(settings, Path(f"cut-{name}"), resume=True, console=QUIET)
    loop.set_up = set_up
    # What every rank holds in the end is the same, but for rows of its batch and statistics.
    method = made[0].method
    held = dict(made[0].model.named_parameters())
    held |= {k: v for k, v in method.state_dict().items()
             if k not in method.rank_rows and "running_" not in k}
    for key, value in held.items():
        first = value.detach().double()
        dist.broadcast(first, 0)
        assert torch.equal(first, value.double()), (name, key)
dist.destroy_process_group()
"""
