"""Schedules and variants are captured in one graph, which serves all of the run."""

import sys
from pathlib import Path

from helpers.processes import run

PROGRAM = """
from copy import deepcopy
import torch
from helpers.method_contract import SETTINGS, Tried
from torch._dynamo.testing import CompileCounter
from torchbake.methods import Batch
from torchbake.recipe import TrainingRecipe
from torchbake.training.network import compile_step

all_variants = SETTINGS["bake-variants"]
compile_with = torch.compile
for name, settings in [
    ("bake-plus", {}),
    ("bake-variants", {"omega_warmup": 0.5, "weight_warmup": 0.3}),
    ("bake-variants", all_variants),
    ("ps-kd", {}),
]:
    SETTINGS[name] = settings
    plain = Tried(name)
    fast = deepcopy(plain)
    counter = CompileCounter()
    torch.compile = lambda f, mode: compile_with(f, backend=counter, fullgraph=True)
    torch.compiler.reset()
    step = compile_step(fast.method, fast.network, TrainingRecipe(compile=True))
    for number in range(4):
        images = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(number))
        labels = (torch.arange(12) // 4 + number) % 10
        indices = (torch.arange(12) + 4 * number) % 20
        batch = Batch(images, labels, indices, progress=number / 4)
        expected = plain.method(plain.network, batch)
        torch.testing.assert_close(step(batch).loss, expected.loss, rtol=1e-5, atol=1e-6)
    assert counter.frame_count == 1, (name, counter.frame_count)
"""


def test_one_graph_serves_all_of_a_schedule(tmp_path):
    """In a process whose signatures are not checked, which the compiler cannot take."""
    tests = Path(__file__).parents[1]
    run([sys.executable, "-W", "ignore", "-c", PROGRAM], tmp_path, PYTHONPATH=str(tests))
