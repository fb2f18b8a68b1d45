"""Better image classifiers by letting the images of a batch teach each other (BAKE).

Public names are imported when they are first used, so that `import torchbake` and the command
line's help do not wait for torch.
"""

from typing import TYPE_CHECKING

from ._lazy import export_lazily
from ._version import __version__ as __version__

if TYPE_CHECKING:
    from .api.compare import compare as compare
    from .api.runs import Run as Run
    from .api.train import train as train
    from .ensembling.dense import affinities as affinities
    from .ensembling.dense import propagate as propagate
    from .ensembling.targets import bake_targets as bake_targets
    from .inference.load import load as load
    from .losses.bake import BAKELoss as BAKELoss
    from .losses.distillation import distillation_loss as distillation_loss
    from .losses.multi_label import MultiLabelBAKELoss as MultiLabelBAKELoss
    from .models.with_features import with_features as with_features
    from .sampling.class_groups import ClassGroupedBatchSampler as ClassGroupedBatchSampler
    from .sampling.resumable import ResumableDataLoader as ResumableDataLoader

_HOMES = {
    "BAKELoss": "losses.bake",
    "ClassGroupedBatchSampler": "sampling.class_groups",
    "MultiLabelBAKELoss": "losses.multi_label",
    "ResumableDataLoader": "sampling.resumable",
    "Run": "api.runs",
    "affinities": "ensembling.dense",
    "bake_targets": "ensembling.targets",
    "compare": "api.compare",
    "distillation_loss": "losses.distillation",
    "load": "inference.load",
    "propagate": "ensembling.dense",
    "train": "api.train",
    "with_features": "models.with_features",
}
__getattr__, _names = export_lazily(__name__, _HOMES)
__all__ = ["__version__", *_names]


def __dir__() -> list[str]:
    return __all__
