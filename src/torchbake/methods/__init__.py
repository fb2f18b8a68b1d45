"""Training objectives by name: each says how batches are drawn and what one step computes."""

from typing import TYPE_CHECKING

from .._lazy import LazyClasses, export_lazily

if TYPE_CHECKING:
    from ..batch import Batch as Batch
    from .bake import BAKE as BAKE
    from .bake_plus import BAKEPlus as BAKEPlus
    from .bake_variants import BAKEVariants as BAKEVariants
    from .base import Method as Method
    from .base import Step as Step
    from .base import Task as Task
    from .byot import BYOT as BYOT
    from .cross_entropy import CrossEntropy as CrossEntropy
    from .cs_kd import CSKD as CSKD
    from .ddgsd import DDGSD as DDGSD
    from .dlb import DLB as DLB
    from .dml import DML as DML
    from .kd import KD as KD
    from .kd import KDEnsemble as KDEnsemble
    from .kdcl import KDCL as KDCL
    from .label_smoothing import LabelSmoothing as LabelSmoothing
    from .max_entropy import MaxEntropy as MaxEntropy
    from .mixskd import MixSKD as MixSKD
    from .one import ONE as ONE
    from .ps_kd import PSKD as PSKD
    from .tf_kd import TfKDSelf as TfKDSelf
    from .tf_kd import TfKDVirtual as TfKDVirtual

_CLASSES = {
    "bake": "bake:BAKE",
    "bake-plus": "bake_plus:BAKEPlus",
    "bake-variants": "bake_variants:BAKEVariants",
    "byot": "byot:BYOT",
    "cross-entropy": "cross_entropy:CrossEntropy",
    "cs-kd": "cs_kd:CSKD",
    "ddgsd": "ddgsd:DDGSD",
    "dlb": "dlb:DLB",
    "dml": "dml:DML",
    "kd": "kd:KD",
    "kd-ensemble": "kd:KDEnsemble",
    "kdcl": "kdcl:KDCL",
    "label-smoothing": "label_smoothing:LabelSmoothing",
    "max-entropy": "max_entropy:MaxEntropy",
    "mixskd": "mixskd:MixSKD",
    "one": "one:ONE",
    "ps-kd": "ps_kd:PSKD",
    "tf-kd-self": "tf_kd:TfKDSelf",
    "tf-kd-virtual": "tf_kd:TfKDVirtual",
}
METHODS: LazyClasses["Method"] = LazyClasses(__name__, _CLASSES)

_HOMES = {"Batch": "base", "Method": "base", "Step": "base", "Task": "base", "gather_rows": "base"}
for _home in _CLASSES.values():
    _module, _, _class = _home.partition(":")
    _HOMES[_class] = _module
__getattr__, _names = export_lazily(__name__, _HOMES)
__all__ = ["METHODS", *_names]


def __dir__() -> list[str]:
    return __all__
