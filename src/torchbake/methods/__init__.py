"""Training objectives by name: each says how batches are drawn and what one step computes."""

from ..batch import Batch
from .bake import BAKE
from .bake_plus import BAKEPlus
from .base import Method, Step, Task, gather_rows
from .byot import BYOT
from .cross_entropy import CrossEntropy
from .cs_kd import CSKD
from .ddgsd import DDGSD
from .dlb import DLB
from .dml import DML
from .kd import KD, KDEnsemble
from .kdcl import KDCL
from .label_smoothing import LabelSmoothing
from .max_entropy import MaxEntropy
from .mixskd import MixSKD
from .one import ONE
from .ps_kd import PSKD
from .tf_kd import TfKDSelf, TfKDVirtual

METHODS: dict[str, type[Method]] = {
    "bake": BAKE,
    "bake-plus": BAKEPlus,
    "byot": BYOT,
    "cross-entropy": CrossEntropy,
    "cs-kd": CSKD,
    "ddgsd": DDGSD,
    "dlb": DLB,
    "dml": DML,
    "kd": KD,
    "kd-ensemble": KDEnsemble,
    "kdcl": KDCL,
    "label-smoothing": LabelSmoothing,
    "max-entropy": MaxEntropy,
    "mixskd": MixSKD,
    "one": ONE,
    "ps-kd": PSKD,
    "tf-kd-self": TfKDSelf,
    "tf-kd-virtual": TfKDVirtual,
}

__all__ = [
    "METHODS",
    "Batch",
    "Method",
    "Step",
    "Task",
    "gather_rows",
    *(m.__name__ for m in METHODS.values()),
]
