"""Everything that a run works with, made from its recipe, and its state in a checkpoint."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from .._digests import check_weights
from ..batch import Batch
from ..data.loading.open_data import Data
from ..data.loading.train_loader import TrainLoader
from ..errors import UserError
from ..methods import Method, Step, Task
from ..methods.base import gather_rows
from ..models.classifier import Classifier
from ..models.weights import LoadedWeights
from ..randomness import derive_seed
from ..recipe import Recipe
from ..sampling.class_groups import ClassGroupedBatchSampler
from .average import WeightAverage
from .class_weights import choose_class_weights
from .distributed import Ranks, allow_tf32
from .finite import Watch
from .guard import Guard
from .meters import ForwardCounter
from .network import compile_step, load_model, make_model, place_model, start_from_weights
from .optimizer import make_optimizer
from .recipe_files import make_method
from .run_folder import RunFolder


@dataclass
class State:
    """How far a run has come: what is needed beside the tensors to continue it."""

    step: int = 0  # updates done
    images: int = 0  # seen, over all ranks
    seconds: float = 0.0  # spent in training steps
    forwards: int = 0  # images that went through a network, over all ranks
    peak_memory: int = 0  # bytes, of the first rank
    left_out: int = 0  # updates that were not made (training.on_nonfinite)


@dataclass(frozen=True, eq=False)
class Setup:
    """Everything that the loop works with.

    Attributes:
        recipe, ranks: what is trained, and on which processes.
        model: the network, on its device.
        wrapped: the model as training calls it, with gradients shared among the ranks.
        compute: one step's forward, `method(wrapped, batch)`, compiled if it is to be.
        average: the moving average of the model's weights, if there is to be one.
        watch: what must stay finite.
        guard: leaves out updates that are not, if it is to.
        total: updates of the whole run.
        forwards: of this rank, counted.
        teacher_images: what the networks of other runs that teach this one have seen.
        teachers: the checksums of these networks' weights, by their run folders.
        weights: what the network took from the file that `model.weights` names.
    """

    recipe: Recipe
    ranks: Ranks
    data: Data
    model: Classifier
    wrapped: nn.Module
    method: Method
    compute: Callable[[Batch], Step]
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: WeightAverage | None
    watch: Watch
    guard: Guard | None
    sampler: ClassGroupedBatchSampler
    loader: TrainLoader
    total: int
    forwards: ForwardCounter
    teacher_images: int
    teachers: dict[str, str]
    weights: LoadedWeights | None = None

    def checkpoint(self, state: State) -> dict[str, Any]:
        """Everything that later steps depend on, as it is now, not a copy.

        All ranks must call this together.
        """
        method = self.method.state_dict()
        for name in self.method.rank_rows:
            method[name] = gather_rows(method[name])
        return {
            "state": asdict(state),
            "model": self.model.state_dict(),
            "method": method,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }

    def load_checkpoint(self, saved: dict[str, Any]) -> State:
        """Restore what `checkpoint` returned."""
        self.model.load_state_dict(saved["model"])
        for name in self.method.rank_rows:
            saved["method"][name] = saved["method"][name].chunk(self.ranks.world_size)[
                self.ranks.rank
            ]
        self.method.load_state_dict(saved["method"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        return State(**saved["state"])


def set_up(recipe: Recipe, data: Data, ranks: Ranks, fresh: bool = True) -> Setup:
    """Make everything that a run works with, as it is before the first step.

    Args:
        fresh: start from pretrained weights if the recipe asks for them; a run that goes on takes
            all weights from its checkpoint.

    Raises:
        UserError: a model that cannot be made, or a batch that the ranks cannot share evenly.
    """
    training = recipe.training
    allow_tf32(training.precision)
    rank_batch, rest = divmod(training.batch_size, ranks.world_size)
    method = make_method(recipe.method)
    piece, uneven = divmod(rank_batch, training.accumulate)
    group = method.partners + 1
    cut = piece % group if ranks.world_size > 1 or training.accumulate > 1 else 0
    if rest or uneven or cut or piece < group:
        raise UserError(
            f"training.batch_size: {training.batch_size} images cannot be divided among "
            f"{ranks.world_size} ranks in {training.accumulate} part(s) each so that all have "
            f"the same number of whole groups of {group} images (method.partners + 1)"
        )
    labels = data.source.train.labels
    if len(labels) < training.batch_size:
        raise UserError(
            f"training.batch_size: {training.batch_size} is more than the {len(labels)} training "
            "images"
        )
    model = make_model(recipe, data, pretrained=fresh)
    weights = start_from_weights(model, recipe, data) if fresh else None
    model = place_model(model, recipe, ranks)
    average = None
    if training.ema_decay is not None:
        average = WeightAverage(model, training.ema_decay)
    counter, teacher_images, teachers = _set_up_method(
        method, model, recipe, data, ranks, piece, fresh
    )
    wrapped: nn.Module = model.train()
    if ranks.world_size > 1:
        devices = [ranks.device] if ranks.device.type == "cuda" else None
        # The first rank's statistics of normalisation count, whenever they are used. Spreading
        # them at each forward would change them under a step that has several.
        wrapped = DistributedDataParallel(model, device_ids=devices, **_UNSPREAD)
    sampler = ClassGroupedBatchSampler(
        labels,
        rank_batch,
        partners=method.partners,
        epoch=training.epoch,
        seed=recipe.seed,
        rank=ranks.rank,
        world_size=ranks.world_size,
        # Batches of one size: a last one of few images would disturb normalisation layers.
        drop_last=True,
        balanced=recipe.data.balance == "sampling",
    )
    total = training.epochs * len(sampler)
    optimizer = make_optimizer(recipe.optimizer, model, method)
    scaler = torch.amp.GradScaler(ranks.device.type, enabled=training.precision == "fp16")
    guard = None
    if training.on_nonfinite == "skip":
        guard = Guard((model, method), optimizer, scaler, ranks)
    return Setup(
        recipe=recipe,
        ranks=ranks,
        data=data,
        model=model,
        wrapped=wrapped,
        method=method,
        compute=compile_step(method, wrapped, training),
        optimizer=optimizer,
        scaler=scaler,
        average=average,
        watch=Watch(model, method, None if average is None else average.network, optimizer),
        guard=guard,
        sampler=sampler,
        loader=TrainLoader(data, sampler, ranks.device, recipe.seed, method.views),
        total=min(total, training.max_steps or total),
        forwards=counter,
        teacher_images=teacher_images,
        teachers=teachers,
        weights=weights,
    )


def _set_up_method(
    method: Method,
    model: Classifier,
    recipe: Recipe,
    data: Data,
    ranks: Ranks,
    batch_size: int,
    fresh: bool,
) -> tuple[ForwardCounter, int, dict[str, str]]:
    """Let the method make what it keeps.

    Returns:
        A counter of forwards, the images that its teachers have seen, and their checksums.
    """
    counter = ForwardCounter(ranks.device)
    taught: list[int] = []
    teachers: dict[str, str] = {}

    def make_network(number: int) -> nn.Module:
        made = make_model(recipe, data, pretrained=fresh, number=number)
        if fresh:
            start_from_weights(made, recipe, data)
        network = place_model(made, recipe, ranks)
        counter.watch(network)
        return network

    def load_network(folder: str) -> nn.Module:
        run = RunFolder(Path(folder))
        network = place_model(load_model(run, data), recipe, ranks).eval().requires_grad_(False)
        counter.watch(network)
        teachers[folder] = check_weights(run.find_weights())
        taught.append(max((record["images"] for record in run.read_metrics()), default=0))
        return network

    shape = (data.channels, data.image_size, data.image_size)
    with torch.no_grad():
        num_features = model.eval()(torch.zeros(1, *shape, device=ranks.device)).features.shape[1]
    torch.manual_seed(derive_seed("method", recipe.seed))
    method.class_weights = choose_class_weights(data.source, recipe.data)
    method.setup(
        Task(
            num_classes=len(data.source.classes),
            num_images=len(data.source.train),
            num_features=num_features,
            image_shape=shape,
            batch_size=batch_size,
            network=model,
            make_network=make_network,
            load_network=load_network,
        )
    )
    counter.watch(model)
    method.to(ranks.device).train()
    return counter, sum(taught), teachers


# Not to spread buffers at each forward, as torch's versions call it.
_NEW = "forward_sync_buffers" in signature(DistributedDataParallel).parameters
_UNSPREAD: Any = {"forward_sync_buffers" if _NEW else "broadcast_buffers": False}
