"""BAKE as a task of timm's training scripts, and class groups in its loaders. Needs timm ≥ 1.0.27.

Of timm's `train.py` a few lines change (docs/integrations/timm.md).
"""

import copy
from typing import Any

import torch
from timm.data.loader import MultiEpochsDataLoader, PrefetchLoader
from timm.task import ClassificationTask
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler
from torch.utils.data.distributed import DistributedSampler

from .._shapes import Float, Tensor
from ..errors import UserError
from ..losses.bake import BAKELoss
from ..losses.multi_label import MultiLabelBAKELoss
from ..models.classifier import Output
from ..models.with_features import FeatureModel, with_features
from ..sampling.class_groups import ClassGroupedBatchSampler


class BAKETask(ClassificationTask):
    """Trains one of timm's models by BAKE, in place of `timm.task.ClassificationTask`.

    >>> task = BAKETask(model, BAKELoss(group=torch.distributed.group.WORLD), device=device)
    >>> task(images, labels)["loss"].backward()

    Checkpoints, the moving average of the weights and evaluation are timm's own: weights keep
    their names, and the model gives plain logits in evaluation.

    Args:
        model: gives logits (n, c); the input of its last linear layer serves as features.
        criterion: `BAKELoss` or `MultiLabelBAKELoss`; by default `BAKELoss` across all ranks.
        layer: the layer whose input serves as features instead, as in `named_modules()`.
        device, dtype, verbose: as of timm's tasks.

    Raises:
        UserError: no layer was found (see `with_features`), or another criterion.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: nn.Module | None = None,
        *,
        layer: str | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        verbose: bool = True,
    ) -> None:
        if criterion is None:
            criterion = BAKELoss(group=torch.distributed.group.WORLD)
        if not isinstance(criterion, BAKELoss | MultiLabelBAKELoss):
            raise UserError(
                "criterion must be a BAKELoss or a MultiLabelBAKELoss, got "
                f"{type(criterion).__name__}"
            )
        if not isinstance(model, FeatureModel):
            model = with_features(model, layer)
        super().__init__(model, criterion, device=device, dtype=dtype, verbose=verbose)

    def forward(self, input: Float[Tensor, "n ch h w"], target: Tensor) -> dict[str, Tensor]:
        """The loss, the logits as `output`, and the summands of the loss.

        Args:
            input: (n, ch, h, w) images.
            target: class numbers (n,), or probabilities (n, c) as of timm's Mixup; for
                `MultiLabelBAKELoss` labels (n, c).
        """
        output = self.trainable_module(input)
        if not isinstance(output, Output):
            raise UserError("BAKETask trains: call train() on its model first")
        criterion: Any = self.criterion
        terms = criterion.terms(output.logits, target, output.features)
        loss = terms["cross_entropy"] + terms["distillation"]
        return {"loss": loss, "output": output.logits, **terms}

    def create_evaluator(self, **options: Any) -> Any:
        """timm's evaluator for labels of the criterion's kind."""
        if isinstance(self.criterion, MultiLabelBAKELoss):
            from timm.task import MultiLabelClassificationEvaluator

            return MultiLabelClassificationEvaluator(device=self.device, **options)
        return super().create_evaluator(**options)  # type: ignore[no-untyped-call]


def group_batches(
    loader: DataLoader[Any] | PrefetchLoader, batch_sampler: ClassGroupedBatchSampler
) -> DataLoader[Any] | PrefetchLoader:
    """A training loader of timm's `create_loader` that draws its batches by `batch_sampler`.

    >>> sampler = ClassGroupedBatchSampler(labels, batch_size, partners=3, drop_last=True)
    >>> loader_train = group_batches(create_loader(dataset, …, is_training=True), sampler)

    `create_loader` takes no batch sampler. All else stays: transforms, workers, the function that
    puts images together, and timm's prefetching.

    Raises:
        UserError: the loader draws otherwise than by a plain shuffle, as with `--aug-repeats` or
            scheduled image sizes, or from a stream.
    """
    if isinstance(loader, PrefetchLoader):
        grouped: Any = copy.copy(loader)
        grouped.loader = group_batches(loader.loader, batch_sampler)
        return grouped
    plain = type(loader) in (DataLoader, MultiEpochsDataLoader)
    drawn: Any = getattr(loader, "batch_sampler", None)
    drawn = getattr(drawn, "sampler", None) if type(drawn) is not BatchSampler else drawn
    shuffled = type(getattr(drawn, "sampler", None)) in (RandomSampler, DistributedSampler)
    if not plain or not shuffled or isinstance(loader.dataset, IterableDataset):
        raise UserError(
            "class groups take the place of a plain shuffle: expected a loader of create_loader "
            "with is_training=True, of a dataset that is no stream, without num_aug_repeats and "
            "input_size_choices"
        )
    return type(loader)(
        loader.dataset,
        batch_sampler=batch_sampler,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        worker_init_fn=loader.worker_init_fn,
        persistent_workers=loader.persistent_workers,
    )
