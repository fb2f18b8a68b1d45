"""BAKE in the Trainer of Hugging Face. Needs transformers ≥ 4.57 and accelerate.

For a loop of your own with Accelerate, see docs/integrations/huggingface.md.
"""

from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import Trainer

from .._shapes import Tensor
from ..errors import UserError
from ..losses.bake import BAKELoss
from ..models.classifier import NO_DATA_PARALLEL
from ..models.find_classifier import find_classifier
from ..models.with_features import FeatureModel
from ..sampling.class_groups import ClassGroupedBatchSampler
from ..sampling.resumable import ResumableDataLoader


class BAKETrainer(Trainer):
    """transformers' Trainer for classifiers of images, texts or sounds, by BAKE.

    >>> trainer = BAKETrainer(model, args, train_dataset=dataset, partners=3)
    >>> trainer.train()

    Evaluation, checkpoints and logs are the Trainer's own. Training batches are class groups,
    divided among the ranks by the sampler; the loader is not prepared by Accelerate, which would
    divide them once more. A run resumed from a checkpoint draws what it would have drawn.

    Args:
        args, options: as of `Trainer`.
        criterion: `BAKELoss` or `MultiLabelBAKELoss`; by default `BAKELoss` across all ranks.
        partners: others of its class beside each example (see `ClassGroupedBatchSampler`); 0
            shuffles all.
        epoch: what an epoch counts, `"images"` or `"anchors"`.
        labels: (n,) class numbers of the training examples, as `ClassGroupedBatchSampler` takes
            them; by default the column `labels` or `label` of the dataset, or its attribute
            `labels` or `targets`. Not needed without partners.
        layer: the layer whose input serves as features, if it is not found (see `with_features`).

    Raises:
        UserError: no labels or no layer found, several GPUs in one process, or an argument of
            `Trainer` that would have no effect.
    """

    loss_is_scaled_for_ga = False  # it is the mean of each batch

    def __init__(
        self,
        *args: Any,
        criterion: nn.Module | None = None,
        partners: int = 1,
        epoch: str = "images",
        labels: Any = None,
        layer: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.model_accepts_loss_kwargs = False  # older versions look here
        if self.args.n_gpu > 1:
            raise UserError(NO_DATA_PARALLEL)
        if self.compute_loss_func is not None or self.args.label_smoothing_factor:
            raise UserError(
                "compute_loss_func and label_smoothing_factor have no effect on BAKE's loss: leave "
                "them out"
            )
        # Only here is there a process group.
        self.criterion = criterion or BAKELoss(group=torch.distributed.group.WORLD)
        self.partners = partners
        self.epoch_kind = epoch
        self.labels = labels
        self.layer = layer
        self._features: FeatureModel | None = None

    def get_train_dataloader(self) -> ResumableDataLoader:
        """Class groups of the training examples."""
        dataset: Any = self.train_dataset
        if dataset is None:
            raise UserError("training needs a train_dataset")
        # Looked for before columns are removed.
        labels = self._find_labels(dataset)
        seed = self.args.data_seed if self.args.data_seed is not None else self.args.seed
        sampler = ClassGroupedBatchSampler(
            labels,
            self._train_batch_size,
            partners=self.partners,
            epoch=self.epoch_kind,  # type: ignore[arg-type]
            seed=seed,
            rank=self.args.process_index,
            world_size=self.args.world_size,
            drop_last=self.args.dataloader_drop_last,
        )
        collate = self.data_collator
        if hasattr(dataset, "column_names"):
            dataset = self._remove_unused_columns(dataset, description="training")
        else:
            collate = self._get_collator_with_removed_columns(collate, description="training")
        return ResumableDataLoader(
            dataset,
            sampler,
            collate_fn=collate,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            persistent_workers=self.args.dataloader_persistent_workers,
            prefetch_factor=self.args.dataloader_prefetch_factor,
        )

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """BAKE's loss in training, the model's own in evaluation."""
        if not model.training:
            return super().compute_loss(model, inputs, return_outputs)
        if "labels" not in inputs:
            raise UserError(f"the batch has no 'labels', only {', '.join(map(repr, inputs))}")
        others = {name: value for name, value in inputs.items() if name != "labels"}
        own = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        if self._features is None or self._features.network is not own:
            self._features = FeatureModel(own, self.layer or find_classifier(own))
        features, outputs = self._features.watch(partial(model, **others))
        logits = self._features.check_logits(outputs)
        loss = self.criterion(logits, inputs["labels"], features)
        return (loss, outputs) if return_outputs else loss

    def _find_labels(self, dataset: Any) -> Any:
        if self.labels is not None:
            return self.labels
        for name in ("labels", "label", "targets"):
            if name in (getattr(dataset, "column_names", None) or ()):
                return dataset[name][:]
            if hasattr(dataset, name):
                return getattr(dataset, name)
        if self.partners == 0:
            return [0] * len(dataset)
        raise UserError(
            "class groups need the labels of the training examples: pass labels=, or partners=0 "
            "to shuffle all"
        )
