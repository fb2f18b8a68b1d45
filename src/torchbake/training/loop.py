"""The training loop: from a recipe to a run folder."""

import json
import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from .._trust import consent
from ..data.class_faults import describe_class_faults
from ..data.loading.open_data import show_opening
from ..data.loading.workers import explain_dead_workers
from ..errors import Stopped, UserError
from ..recipe import Recipe
from .callbacks import Callback, Progress
from .checkpoint import list_checkpoints
from .distributed import Ranks, check_alike, join_ranks
from .evaluating import evaluate_networks, list_networks
from .files import write_text
from .interrupt import watch_stop_requests
from .labels import label_waits
from .left_out import check_left_out, describe_splits, write_left_out
from .lock import RunLock
from .log import Log
from .memory import LESS_FOR_TRAINING, explain_out_of_memory
from .meters import Meters, read_peak_memory
from .network_input import adopt_network_input, describe_adopted, keep_recorded_input
from .nonfinite import FILE, check_figures, check_interval
from .optimizer import compute_lr
from .recipe_files import list_code
from .results import write_results
from .resume import find_own_checkpoint, restore
from .run_folder import RunFolder
from .run_records import dump_json
from .selection import Selection
from .setup import Setup, State, set_up
from .step import update
from .telling import describe_early_stop, describe_start, describe_stop, tell_longer
from .time_plan import describe_time_plan, plan_time
from .trackers import open_trackers


def train(
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    console: Console | None = None,
    callbacks: Sequence[Callback] = (),
) -> dict[str, float]:
    """Train as the recipe says, writing everything into `folder`.

    Under torchrun, each process is one rank. The result depends on the recipe alone, and a run
    that was cut off and resumed on the CPU ends with the very same weights.

    Args:
        callbacks: called at the end of each epoch and at each evaluation, see `Progress`.

    Returns:
        The figures of the last evaluation, or of the one that `training.select` chose (see
        `evaluate_networks`), and `step`, `images` (seen) and `seconds` (of training).

    Raises:
        UserError: see `RunFolder.check` and `set_up`; or the loss is not finite.
        Stopped: one of `interrupt.SIGNALS`; a checkpoint was written first.
    """
    consent(list_code(asdict(recipe)))
    started = time.monotonic()
    run = RunFolder(folder)
    console = console or Console()
    settings = recipe.training
    again = f"; go on with --resume --out {folder}"
    with (
        watch_stop_requests(int(os.environ.get("WORLD_SIZE", "1"))) as stop_requests,
        join_ranks(settings.device, settings.rank_timeout) as ranks,
        _explain_memory(recipe, ranks),
        explain_dead_workers(again),
        RunLock(folder) as lock,
    ):
        console = console if ranks.first else Console(quiet=True)
        if ranks.first:
            run.check(recipe, resume=resume, overwrite=overwrite)
            if folder.is_dir():
                lock.take()
        # Nothing is replaced or made before all that the recipe names is there.
        given, goes_on = recipe, resume and run.recipe.is_file()
        fresh = not (goes_on and list_checkpoints(run.checkpoints))
        if goes_on:
            recipe = keep_recorded_input(recipe, run.read_recipe().data)
        else:
            recipe = adopt_network_input(recipe)
        data_recipe = run.own_data(recipe) if resume else recipe.data
        data = show_opening(data_recipe, console)
        setup = set_up(recipe, data, ranks, fresh)
        if goes_on:
            check_left_out(run, data)
        before = run.read_recipe() if goes_on and run.grows(recipe) else None
        plan = plan_time(setup, run, started, fresh=fresh)
        if plan is not None:
            setup = replace(setup, total=plan.steps)
        found = None
        if ranks.first:
            lock.take()
            run.check(given, resume=resume, overwrite=overwrite)  # another may have made it
            found = find_own_checkpoint(setup, run) if goes_on else None
            run.open(recipe, overwrite=overwrite)
            write_left_out(run, data)
            if plan is not None:
                write_text(run.time_plan, dump_json(plan.model_dump(), indent=1) + "\n")
            if setup.weights is not None:
                write_text(run.start, json.dumps(asdict(setup.weights), indent=1) + "\n")
        check_alike(ranks, describe_splits(data))  # which also waits for the first rank's files
        selection = Selection(settings, list_networks(setup), keeps_weights=ranks.first)
        state, notes, save = restore(setup, run, found, selection)
        trackers = open_trackers(recipe, run) if ranks.first else []
        log = Log(run if ranks.first else None, console, setup.total, trackers)
        setup.watch.begin()
        if ranks.first:
            run.forget_after(state.step)
            (run.path / FILE).unlink(missing_ok=True)
        log.say(describe_start(setup, state))
        for line in notes:
            log.say(line)
        balanced = recipe.data.balance != "none" or recipe.data.class_weights is not None
        for fault in describe_class_faults(setup.data.source, balanced=balanced):
            log.say(f"warning: {fault}")
        if before is not None:
            tell_longer(setup, before, state, log)
        if plan is not None:
            log.say(describe_time_plan(plan, setup))
        if adopted := describe_adopted(given, recipe):
            log.say(adopted)
        if setup.weights is not None:
            log.say(setup.weights.describe())
        if setup.loader.note:
            log.say(setup.loader.note)

        final: dict[str, float] = {}
        with log.showing(state.step):
            meters = Meters(ranks)
            stop_requests.begin_training(ranks)
            while state.step < setup.total and not selection.is_exhausted():
                epoch, number = divmod(state.step, len(setup.sampler))
                for batch in label_waits(setup.loader.batches(epoch, start=number)):
                    lr = compute_lr(recipe.schedule, recipe.optimizer.lr, state.step, setup.total)
                    ranks.note(f"step {state.step + 1:,}")
                    update(setup, batch, lr, state.step, meters)
                    number += 1
                    state.step += 1
                    state.images += settings.batch_size
                    log.advance(state.step)

                    last = state.step == setup.total
                    stopping = stop_requests.are_agreed() and not last
                    saving = last or stopping or state.step % settings.checkpoint_every == 0
                    epoch_done = number == len(setup.sampler)
                    evaluating = last or (epoch_done and (epoch + 1) % settings.eval_every == 0)
                    if saving or evaluating or state.step % settings.log_every == 0:
                        _record_training(setup, state, lr, meters, run, log)
                    if evaluating:
                        ranks.note(f"the evaluation of step {state.step:,}")
                        final = check_figures(setup, state, evaluate_networks(setup), run)
                        log.record("eval", state.step, state.images, **final)
                        selection.consider(state.step, final)
                        if selection.is_exhausted() and not last:
                            log.say(describe_early_stop(setup, state))
                            last, stopping = True, False
                    if saving or last:
                        ranks.note(f"the checkpoint of step {state.step:,}")
                        state.peak_memory = max(state.peak_memory, read_peak_memory(ranks.device))
                        save(last)
                    if epoch_done or evaluating:
                        done = Progress(
                            state.step,
                            setup.total,
                            state.step / len(setup.sampler),
                            state.images,
                            final if evaluating else {},
                            setup.model,
                        )
                        for callback in callbacks:
                            callback(done)
                    if saving or evaluating:
                        meters.restart()  # its time is that of training alone
                    if stopping:
                        stop_requests.wait_for_all()
                        raise Stopped(describe_stop(setup, state, run))
                    if last:
                        break
                else:
                    if number < len(setup.sampler):
                        raise UserError(
                            f"the data ended after {number:,} of {len(setup.sampler):,} batches of "
                            f"epoch {epoch + 1:,}"
                        )
            final = final or check_figures(setup, state, evaluate_networks(setup), run)
        chosen = selection.list_figures() if selection.wanted else final
        if ranks.first:
            write_results(setup, run, state, selection, final, chosen)
        return {**chosen, **asdict(state)}


def _explain_memory(recipe: Recipe, ranks: Ranks) -> AbstractContextManager[None]:
    piece = recipe.training.batch_size // ranks.world_size // recipe.training.accumulate
    doing = f"{ranks.device}, training {piece} images at a time"
    return explain_out_of_memory(doing, LESS_FOR_TRAINING)


def _record_training(
    setup: Setup, state: State, lr: float, meters: Meters, run: RunFolder, log: Log
) -> None:
    """Record the steps since the last record; a checkpoint is written only after this."""
    interval = meters.close(setup.watch.look_at_all())
    state.seconds += interval.seconds
    state.forwards += setup.forwards.take() * setup.ranks.world_size
    check_interval(setup, state, interval, run, log)
    steps_left = setup.total - state.step
    left = steps_left * setup.recipe.training.batch_size * interval.seconds / interval.images
    log.record(
        "train",
        state.step,
        state.images,
        **interval.means,
        lr=lr,
        images_per_second=interval.images / interval.seconds,
        seconds_left=left,
    )
