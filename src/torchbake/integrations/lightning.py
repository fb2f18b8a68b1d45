"""BAKE in Lightning's Trainer. Needs lightning ≥ 2.4.

Your own LightningModule computes the loss; see docs/integrations/lightning.md.
"""

from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer

from ..errors import UserError
from ..losses.bake import BAKELoss
from ..losses.multi_label import MultiLabelBAKELoss
from ..randomness import derive_seed


class BAKECallback(Callback):
    """What Lightning needs for class groups, several ranks and exact resuming.

    >>> trainer = Trainer(callbacks=[BAKECallback()], use_distributed_sampler=False)

    * It says in one line that `use_distributed_sampler=False` was forgotten.
    * It lets the images of all ranks teach each other: losses without a `group` get that of all
      ranks, which did not exist yet when the LightningModule made them.
    * It seeds torch's random numbers at each step, so that dropout and the like are the same in a
      run that was resumed in mid-epoch. The batches are, if `train_dataloader` returns a
      `ResumableDataLoader`.

    Args:
        seed: of the random numbers of the steps.
        across_ranks: let the images of all ranks teach each other.
    """

    def __init__(self, seed: int = 0, *, across_ranks: bool = True) -> None:
        self.seed = seed
        self.across_ranks = across_ranks

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Raise UserError if Lightning would replace the sampler, and give losses their group."""
        if stage != "fit" or trainer.world_size == 1:
            return
        if trainer._accelerator_connector.use_distributed_sampler:
            raise UserError(
                "Lightning would replace the batch sampler by its own, which keeps no class "
                "groups: pass Trainer(use_distributed_sampler=False)"
            )
        for module in pl_module.modules() if self.across_ranks else ():
            if isinstance(module, BAKELoss | MultiLabelBAKELoss) and module.group is None:
                module.group = dist.group.WORLD

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed the step."""
        step = trainer.global_step, batch_idx, trainer.global_rank
        torch.manual_seed(derive_seed("step", self.seed, *step))
