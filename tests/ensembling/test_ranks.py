"""Ensembling across real processes: the targets are those of one process with all images."""

import pytest
import torch
from helpers.processes import run_python
from helpers.reference import clustered, reference_targets

from torchbake import BAKELoss
from torchbake.ensembling.plan import prefer_own_rows

OWN_ROWS = {"solver": "fixed_point"}
SETTINGS = {
    "own rows": OWN_ROWS,
    "own rows, sharp": {"affinity_temperature": 0.1, "omega": 0.8, **OWN_ROWS},
    "all rows": {},
    "all rows, sharp and far": {"affinity_temperature": 0.02, "omega": 0.99},
    "all rows, directly": {"solver": "direct"},
}


@pytest.mark.parametrize(
    "counts", [[12], [5, 7], [8, 0, 4], [3, 4, 1, 4]], ids=lambda counts: f"{len(counts)} ranks"
)
def test_targets_and_losses_equal_those_of_one_process(tmp_path, counts):
    logits, features, labels = clustered(12)
    torch.save((logits, features, labels, counts, SETTINGS), tmp_path / "batch.pt")
    run_python(
        """
        import torch, torch.distributed as dist
        from torchbake import BAKELoss, bake_targets
        dist.init_process_group("gloo")
        rank, everyone = dist.get_rank(), dist.group.WORLD
        logits, features, labels, counts, settings = torch.load("batch.pt", weights_only=True)
        assert dist.get_world_size() == len(counts)

        def own(rows):
            return rows.split(counts)[rank]

        results = {}
        for name, setting in settings.items():
            targets = bake_targets(own(logits), own(features), group=everyone, **setting)
            results[name] = targets
        for kind in (torch.float16, torch.bfloat16):
            results[str(kind)] = bake_targets(
                own(logits),
                1e6 * own(features),  # too large for half precision
                group=everyone,
                gather_dtype=kind,
                solver="fixed_point",
            )
        even = torch.arange(12).chunk(len(counts))[rank]
        results["even"] = bake_targets(
            logits[even], features[even], group=everyone, equal_counts=True
        )
        own_logits = own(logits).clone().requires_grad_()
        loss = BAKELoss(group=everyone)(own_logits, own(labels), own(features))
        (results["gradient"],) = torch.autograd.grad(len(own_logits) * loss, own_logits)
        assert loss.isfinite()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            results["autocast"] = bake_targets(
                own(logits), own(features), group=everyone, solver="fixed_point"
            )
        nothing = bake_targets(logits[:0], features[:0], group=everyone, solver="fixed_point")
        assert nothing.shape == (0, 10)
        torch.save(results, f"results{rank}.pt")
        del everyone  # a group that outlives its end may abort the process at exit
        dist.destroy_process_group()
        """,
        tmp_path,
        ranks=len(counts),
    )
    parts = [torch.load(tmp_path / f"results{r}.pt", weights_only=True) for r in range(len(counts))]
    found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    for name, setting in SETTINGS.items():
        setting = {key: value for key, value in setting.items() if key != "solver"}
        expected = reference_targets(logits, features, **setting)
        torch.testing.assert_close(found[name].double(), expected, rtol=0, atol=1e-6)
    expected = reference_targets(logits, features)
    for name in ("even", "autocast"):
        torch.testing.assert_close(found[name].double(), expected, rtol=0, atol=1e-6)
    for name, tolerance in (("torch.float16", 3e-5), ("torch.bfloat16", 3e-4)):
        torch.testing.assert_close(found[name].double(), expected, rtol=0, atol=tolerance)
    logits.requires_grad_()
    loss = BAKELoss()(logits, labels, features)
    (gradient,) = torch.autograd.grad(12 * loss, logits)
    torch.testing.assert_close(found["gradient"], gradient, rtol=0, atol=1e-5)


def test_ranks_exchange_after_each_product_only_where_there_are_many_images():
    assert not prefer_own_rows(256, 128, 512, 100, 8)
    assert prefer_own_rows(64 * 256, 256, 2048, 1000, 8)
    assert not prefer_own_rows(32 * 256, 256, 2048, 1000, 10**5)
    assert prefer_own_rows(128 * 256, 256, 2048, 1000, 10**5)  # too large to hold
