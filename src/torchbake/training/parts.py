"""What a run is made of, and what of it a checkpoint holds."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..data.loaders import Data, TrainLoader
from ..errors import UserError
from ..methods import Method, Task
from ..models import Classifier, create_model
from ..randomness import seed_for
from ..recipe import Recipe
from ..sampling import ClassGroupedBatchSampler
from .distributed import Ranks
from .optimizer import make_optimizer
from .recipe_files import make_method


@dataclass
class State:
    """Where a run is: all that is needed beside tensors to go on."""

    step: int = 0  # updates done
    images: int = 0  # seen, over all ranks
    seconds: float = 0.0  # spent in training steps


@dataclass(frozen=True, eq=False)
class Parts:
    """Everything that the loop works with.

    Attributes:
        model: the network, on its device.
        wrapped: the model as training calls it, with gradients shared among the ranks.
        average: the moving average of the model's weights, if there is to be one.
        total: updates of the whole run.
    """

    data: Data
    model: Classifier
    wrapped: nn.Module
    method: Method
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: AveragedModel | None
    sampler: ClassGroupedBatchSampler
    loader: TrainLoader
    total: int

    def checkpoint(self, state: State) -> dict[str, Any]:
        """All that the steps to come depend on."""
        return {
            "state": asdict(state),
            "model": self.model.state_dict(),
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }

    def load_checkpoint(self, saved: dict[str, Any]) -> State:
        """Take over what `checkpoint` returned."""
        self.model.load_state_dict(saved["model"])
        self.method.load_state_dict(saved["method"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        return State(**saved["state"])


def make_model(recipe: Recipe, data: Data, *, pretrained: bool = True) -> Classifier:
    """The recipe's network for this data set, freshly initialised from the recipe's seed.

    Args:
        pretrained: take timm's weights if the recipe says so.
    """
    torch.manual_seed(seed_for("model", recipe.seed))
    return create_model(
        recipe.model.name,
        len(data.source.classes),
        in_chans=data.channels,
        image_size=data.image_size,
        pretrained=recipe.model.pretrained and pretrained,
        drop_rate=recipe.model.drop_rate,
        classifier=recipe.model.classifier,
        features=recipe.model.features,
    )


def make_parts(recipe: Recipe, data: Data, ranks: Ranks) -> Parts:
    """All parts of a run at its beginning.

    Raises:
        UserError: a model that cannot be had, or a batch that the ranks cannot share evenly.
    """
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
    model = make_model(recipe, data).to(ranks.device)
    blank = torch.zeros(1, data.channels, data.image_size, data.image_size, device=ranks.device)
    with torch.no_grad():
        num_features = model.eval()(blank).features.shape[1]
    method.setup(Task(len(data.source.classes), len(labels), num_features))
    if ranks.world_size > 1 and method.state_dict():
        raise UserError(
            f"method.name: '{recipe.method['name']}' keeps state, which several ranks cannot share"
        )
    method.to(ranks.device).train()
    average = None
    if training.ema_decay is not None:
        rule = get_ema_multi_avg_fn(training.ema_decay)
        average = AveragedModel(model, multi_avg_fn=rule, use_buffers=True)
    wrapped: nn.Module = model.train()
    if ranks.world_size > 1:
        devices = [ranks.device] if ranks.device.type == "cuda" else None
        wrapped = DistributedDataParallel(model, device_ids=devices)
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
        optimizer=make_optimizer(recipe.optimizer, model, method),
        scaler=torch.amp.GradScaler(ranks.device.type, enabled=training.precision == "fp16"),
        average=average,
        sampler=sampler,
        loader=TrainLoader(data, sampler, ranks.device, recipe.seed, method.views),
        total=min(total, training.max_steps or total),
    )
