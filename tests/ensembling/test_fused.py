"""The Triton kernel, in Triton's interpreter, beside the ordinary form."""

from pathlib import Path

import pytest
import torch
from helpers.processes import run_python
from helpers.reference import clustered

from torchbake import bake_targets


def test_the_kernel_gives_the_targets_of_the_closed_form(tmp_path):
    pytest.importorskip("triton")
    run_python(
        f"""
        import os, random, sys
        os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        import torch
        from helpers.reference import clustered, reference_targets
        from torchbake import bake_targets
        from torchbake.ensembling import fused
        from torchbake.ensembling.plan import plan_steps

        runs, solve = 0, fused.solve_fused

        def counted(*arguments):
            global runs
            runs += 1
            return solve(*arguments)

        fused.solve_fused = counted
        chance = random.Random(0)
        for turn in range(24):
            n = (2, 128, 129, 300, 1025)[turn] if turn < 5 else chance.randint(2, 160)
            classes, dimensions = chance.randint(1, 70), chance.randint(1, 90)
            kind = (torch.float32, torch.bfloat16, torch.float16)[turn % 3]
            setting = {{
                "omega": chance.choice([0.1, 0.5, 0.7]),
                "affinity_temperature": chance.choice([0.5, 1.0, 2.0]),
            }}
            logits, features, _ = clustered(n, classes, dimensions, seed=turn)
            logits, features = logits.to(kind), features.to(kind)
            features[0] = 0
            before = runs
            found = bake_targets(logits, features, solver="triton", **setting)
            assert (runs > before) == (n <= 1024 and not plan_steps(n, **setting).plain), n
            expected = reference_targets(logits, features, **setting)
            torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)
            assert found.dtype == torch.float32 and (found >= 0).all()

        assert runs > 12
        for setting in ({{"affinity_temperature": 0.1}}, {{"omega": 0.99}}):  # not for the kernel
            before = runs
            logits, features, _ = clustered(20)
            found = bake_targets(logits, features, solver="triton", **setting)
            expected = reference_targets(logits, features, **setting)
            torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)
            assert runs == before
        """,
        tmp_path,
    )


def test_without_a_card_it_is_the_ordinary_form():
    logits, features, _ = clustered(40)
    assert torch.equal(
        bake_targets(logits, features, solver="triton"), bake_targets(logits, features)
    )
