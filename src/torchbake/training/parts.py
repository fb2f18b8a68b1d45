"""What a run is made of, and what of it a checkpoint holds."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..data.loaders import Data, TrainLoader
from ..errors import UserError
from ..methods import Batch, Method, Step, Task
from ..models import Classifier
from ..randomness import seed_for
from ..ranks import everyone
from ..recipe import Recipe
from ..sampling import ClassGroupedBatchSampler
from .distributed import Ranks
from .network import PRECISIONS, computed, load_model, make_model, memory_format, placed
from .optimizer import make_optimizer
from .recipe_files import make_method
from .run_folder import RunFolder
from .usage import ForwardCounter


@dataclass
class State:
    """Where a run is: all that is needed beside tensors to go on."""

    step: int = 0  # updates done
    images: int = 0  # seen, over all ranks
    seconds: float = 0.0  # spent in training steps
    forwards: int = 0  # images that went through a network, over all ranks
    peak_memory: int = 0  # bytes, of the first rank


@dataclass(frozen=True, eq=False)
class Parts:
    """Everything that the loop works with.

    Attributes:
        model: the network, on its device.
        wrapped: the model as training calls it, with gradients shared among the ranks.
        compute: one step's forward, `method(wrapped, batch)`, compiled if it is to be.
        average: the moving average of the model's weights, if there is to be one.
        total: updates of the whole run.
        forwards: of this rank, counted.
        teacher_images: what the networks of other runs that teach this one have seen.
    """

    data: Data
    model: Classifier
    wrapped: nn.Module
    method: Method
    compute: Callable[[Batch], Step]
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: AveragedModel | None
    sampler: ClassGroupedBatchSampler
    loader: TrainLoader
    total: int
    forwards: ForwardCounter
    teacher_images: int

    def checkpoint(self, state: State) -> dict[str, Any]:
        """All that the steps to come depend on; all ranks must ask for it."""
        method = self.method.state_dict()
        for name in self.method.rank_rows:
            method[name] = everyone(method[name])
        return {
            "state": asdict(state),
            "model": self.model.state_dict(),
            "method": method,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }

    def load_checkpoint(self, saved: dict[str, Any], ranks: Ranks) -> State:
        """Take over what `checkpoint` returned."""
        self.model.load_state_dict(saved["model"])
        for name in self.method.rank_rows:
            saved["method"][name] = saved["method"][name].chunk(ranks.world_size)[ranks.rank]
        self.method.load_state_dict(saved["method"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        return State(**saved["state"])


def make_parts(recipe: Recipe, data: Data, ranks: Ranks) -> Parts:
    """All parts of a run at its beginning.

    Raises:
        UserError: a model that cannot be had, or a batch that the ranks cannot share evenly.
    """
    torch.backends.cudnn.benchmark = True  # sizes stay, so the fastest algorithms are looked for
    training = recipe.training
    rank_batch, rest = divmod(training.batch_size, ranks.world_size)
    method = make_method(recipe.method)
    piece, uneven = divmod(rank_batch, training.accumulate)
    group = method.partners + 1
    cut = piece % group if ranks.world_size > 1 or training.accumulate > 1 else 0
    if rest or uneven or cut or piece < group:
        raise UserError(
            f"training.batch_size: {training.batch_size} images cannot be shared by "
            f"{ranks.world_size} ranks in {training.accumulate} part(s) each so that all have "
            f"equally many whole groups of {group} images (method.partners + 1)"
        )
    labels = data.source.train.labels
    if len(labels) < training.batch_size:
        raise UserError(
            f"training.batch_size: {training.batch_size} is more than the {len(labels)} training "
            "images"
        )
    model = placed(make_model(recipe, data), recipe, ranks)
    average = None
    if training.ema_decay is not None:
        rule = get_ema_multi_avg_fn(training.ema_decay)
        average = AveragedModel(model, multi_avg_fn=rule, use_buffers=True)
    counter, teacher_images = _set_up(method, model, recipe, data, ranks, piece)
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
    )
    total = training.epochs * len(sampler)
    return Parts(
        data=data,
        model=model,
        wrapped=wrapped,
        method=method,
        compute=computed(method, wrapped, training),
        optimizer=make_optimizer(recipe.optimizer, model, method),
        scaler=torch.amp.GradScaler(ranks.device.type, enabled=training.precision == "fp16"),
        average=average,
        sampler=sampler,
        loader=TrainLoader(
            data,
            sampler,
            ranks.device,
            recipe.seed,
            method.views,
            # What is mixed is mixed in full precision.
            None if recipe.data.mixup or recipe.data.cutmix else PRECISIONS[training.precision],
            memory_format(recipe),
        ),
        total=min(total, training.max_steps or total),
        forwards=counter,
        teacher_images=teacher_images,
    )


def _set_up(
    method: Method, model: Classifier, recipe: Recipe, data: Data, ranks: Ranks, batch_size: int
) -> tuple[ForwardCounter, int]:
    """Let the method make what it keeps; a counter of forwards, and what its teachers have seen."""
    counter = ForwardCounter(ranks.device)
    taught: list[int] = []

    def make_network(number: int) -> nn.Module:
        network = placed(make_model(recipe, data, number=number), recipe, ranks)
        counter.watch(network)
        return network

    def load_network(folder: str) -> nn.Module:
        run = RunFolder(Path(folder))
        network = placed(load_model(run, data), recipe, ranks).eval().requires_grad_(False)
        counter.watch(network)
        taught.append(max((record["images"] for record in run.read_metrics()), default=0))
        return network

    shape = (data.channels, data.image_size, data.image_size)
    with torch.no_grad():
        num_features = model.eval()(torch.zeros(1, *shape, device=ranks.device)).features.shape[1]
    torch.manual_seed(seed_for("method", recipe.seed))
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
    return counter, sum(taught)


# Not to spread buffers at each forward, as torch's versions call it.
_NEW = "forward_sync_buffers" in signature(DistributedDataParallel).parameters
_UNSPREAD: Any = {"forward_sync_buffers" if _NEW else "broadcast_buffers": False}
