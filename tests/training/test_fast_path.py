"""Compiled steps, in processes whose signatures are not checked, which the compiler cannot take."""

import os
import subprocess
import sys

from helpers.processes import run_python

RUNS = """
    import json
    from pathlib import Path

    import pytest
    import torch
    from rich.console import Console
    from safetensors.torch import load_file

    from torchbake.training import loop
    from torchbake.training.recipe_files import load_recipe

    def run(name, *overrides, **options):
        steps = [("training.epochs", "25"), ("training.log_every", "1")]
        recipe = load_recipe("digits/bake", [*steps, *overrides])
        final = loop.train(recipe, Path(name), console=Console(quiet=True), **options)
        records = [json.loads(line) for line in (Path(name) / "metrics.jsonl").open()]
        return [r["loss"] for r in records if r["kind"] == "train"], final

    compiled = ("training.compile", "true")
    graphs = ("training.cuda_graphs", "true")
"""


def test_the_fast_path_learns_as_the_slow_one_does(tmp_path):
    run_python(
        RUNS
        + """
    slower = ("optimizer.lr", "0.01")  # at 0.1 rounding alone sets runs apart within 20 steps
    slow, plain = run("slow", slower, ("training.channels_last", "false"))
    fast, final = run("fast", slower, compiled)
    assert len(slow) == len(fast) == 100
    assert fast == pytest.approx(slow, rel=1e-3)
    assert final["forwards"] == plain["forwards"] == 6400
    counters = torch._dynamo.utils.counters
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
    # Without CUDA there is nothing to record, and all goes on as it did.
    assert run("graphs", slower, compiled, graphs)[0] == pytest.approx(fast, rel=1e-5)
""",
        tmp_path,
    )


def test_a_compiled_run_that_was_cut_off_ends_with_the_same_weights(tmp_path):
    run_python(
        RUNS
        + """
    run("whole", compiled)
    update = loop.update

    def cut_off(setup, batch, lr, number, meters):
        if number == 60:
            raise RuntimeError("crash")
        update(setup, batch, lr, number, meters)

    every = ("training.checkpoint_every", "25")
    loop.update = cut_off
    with pytest.raises(RuntimeError, match="crash"):
        run("cut", compiled, every)
    loop.update = update
    run("cut", compiled, every, resume=True)
    whole, cut = (load_file(f"{name}/model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
""",
        tmp_path,
    )


def test_without_a_compiler_one_line_says_so(tmp_path):
    command = [sys.executable, "-m", "torchbake", "train", "--training.compile", "true"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "CXX": "/no/compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "i")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2
    assert "training.compile: cannot compile here" in done.stderr
    assert "Traceback" not in done.stderr
