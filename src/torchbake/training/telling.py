"""What a run says of itself as it begins and ends."""

from ..recipe import Recipe
from .log import Log
from .optimizer import compute_lr
from .run_folder import RunFolder
from .setup import Setup, State
from .time_plan import tell_lengths


def describe_stop(setup: Setup, state: State, run: RunFolder) -> str:
    """That a run stopped on request."""
    return (
        f"stopped at step {state.step:,} of {setup.total:,}, checkpoint written; go on with "
        f"--resume --out {run.path}"
    )


def describe_early_stop(setup: Setup, state: State) -> str:
    """That a run stopped because it no longer improves."""
    return (
        f"stopped at step {state.step:,} of {setup.total:,}, after "
        f"{setup.recipe.training.patience} evaluation(s) without improvement on the validation "
        f"images; the learning rate was scheduled for all {setup.total:,}"
    )


def describe_start(setup: Setup, state: State) -> str:
    """What is trained on what, and for how long."""
    recipe, ranks = setup.recipe, setup.ranks
    where = f"from step {state.step:,} " if state.step else ""
    parameters = sum(p.numel() for p in setup.model.parameters())
    source = setup.data.source
    counts = [f"{len(source.train):,} training"]
    if source.validation is not None:
        counts.append(f"{len(source.validation):,} validation")
    stands_in = f", the split '{source.stands_in}'," * bool(source.stands_in)
    return (
        f"{recipe.method['name']} on {recipe.data.name}: {', '.join(counts)} and "
        f"{len(source.test):,} test images{stands_in} of {len(source.classes)} "
        f"classes; {recipe.model.name}, {parameters:,} parameters; {where}to step "
        f"{setup.total:,}, {recipe.training.batch_size} images each, on {ranks.device}"
        + (f" × {ranks.world_size} ranks" if ranks.world_size > 1 else "")
    )


def tell_longer(setup: Setup, before: Recipe, state: State, log: Log) -> None:
    """Say and record that a finished run goes on, and what its learning rate does."""
    recipe = setup.recipe
    rates = [
        compute_lr(recipe.schedule, recipe.optimizer.lr, step, total)
        for step, total in ((state.step - 1, state.step), (state.step, setup.total))
    ]
    log.say(
        f"made longer, {tell_lengths(before, recipe)}: from step "
        f"{state.step:,} on the schedule is that of a run of {setup.total:,} steps; the learning "
        f"rate was {rates[0]:.4g} and is {rates[1]:.4g}"
    )
    log.keep("longer", state.step, state.images, total=setup.total)
