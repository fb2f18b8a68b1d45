"""A run's checkpoints: what it goes on from, if that belongs to it, and what it writes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from .belongings import check_belongings, make_manifest, tell_machine
from .checkpoint import (
    Found,
    Manifest,
    find_checkpoint,
    load_checkpoint,
    remove_parts,
    write_checkpoint,
)
from .run_folder import RunFolder
from .selection import Selection
from .setup import Setup, State


class Restored(NamedTuple):
    """How far a run has come, and how its checkpoints are written.

    Attributes:
        notes: lines for the log on the checkpoint that it goes on from.
    """

    state: State
    notes: list[str]
    save: Callable[[bool], None]


def find_own_checkpoint(setup: Setup, run: RunFolder) -> Found | None:
    """The checkpoint that the run goes on from; changes nothing.

    Raises:
        UserError: none of those that are there is whole, or it is not of this run.
    """
    found = find_checkpoint(run.checkpoints)
    if found is not None:
        check_belongings(found, _describe(setup)(0, False).belongs_to)
    return found


def restore(setup: Setup, run: RunFolder, found: Found | None, selection: Selection) -> Restored:
    """Go on from the checkpoint that the first rank has found; all ranks call this together."""
    ranks, settings = setup.ranks, setup.recipe.training
    describe = _describe(setup)
    step = -1 if found is None else found.manifest.step
    if ranks.world_size > 1:
        told = torch.tensor([step], device=ranks.device)
        dist.broadcast(told, 0)
        step = int(told)
    state, notes = State(), []
    if step >= 0:
        saved = load_checkpoint(run.checkpoints / f"step-{step}")
        state = setup.load_checkpoint(saved)
        selection.load_state_dict(saved["selection"])
    if found is not None:
        notes = [f"warning: {line}; going on from {found.folder.name}" for line in found.damaged]
        note = tell_machine(found.manifest.made_on, describe(0, False).made_on)
        notes += [f"warning: {note}"] if note else []
    if ranks.first:
        remove_parts(run.checkpoints)

    def save(finished: bool) -> None:
        content: dict[str, Any] = setup.checkpoint(state)
        if ranks.first:
            content["selection"] = selection.state_dict()
            manifest: Manifest = describe(state.step, finished)
            write_checkpoint(run.checkpoints, content, manifest, keep_all=settings.keep == "all")

    return Restored(state, notes, save)


def _describe(setup: Setup) -> Callable[[int, bool], Manifest]:
    ranks = setup.ranks
    return make_manifest(
        setup.recipe, setup.data.source, setup.teachers, ranks.device.type, ranks.world_size
    )
