"""What there is to be shown, with the figures that others report: the rows of `evidence.py`."""

from typing import NamedTuple

CUTMIX = "data.cutmix=1:data.mix_probability=0.5"


class Wanted(NamedTuple):
    """One row: a variant of a method by a recipe, over some seeds.

    Attributes:
        name: TABLE/DATA/NETWORK/VARIANT, or REDUCED/VARIANT.
        recipe: a shipped recipe.
        variant: as `torchbake compare --methods` takes it.
        seeds: how many.
        reported: top-1 accuracy in percent that others report, if any.
    """

    name: str
    recipe: str
    variant: str
    seeds: int = 1
    reported: float | None = None

    @property
    def table(self) -> str:
        return self.name.partition("/")[0]

    @property
    def baseline(self) -> str:
        """The name of the row that it is measured against."""
        return f"{self.name.removesuffix(self.variant)}cross-entropy"


# Top-1 error in percent, from the README of `small_scale` in yxgeee/BAKE.
ERRORS = {
    "cifar100": (21.28, 20.74),
    "tiny-imagenet": (41.71, 37.07),
    "cub200": (29.74, 28.79),
    "dogs": (30.20, 27.66),
    "mit67": (39.95, 39.15),
}
# Top-1 accuracy in percent, from the README of `imagenet` there. None is reported by the code for
# Swin-T.
IMAGENET = {
    "resnet50": 78.0,
    "resnet101": 79.3,
    "resnet152": 79.6,
    "resnest50": 79.4,
    "resnest101": 80.4,
    "resnext101": 79.3,
    "resnext152": 79.7,
    "mobilenetv2": 72.0,
    "efficientnet_b0": 76.2,
    "swin_t": None,
}
# ResNet-18 on CIFAR-100, from the README of winycg/Self-KD-Lib: 200 epochs, weight decay 5e-4.
RIVALS = {
    "cross-entropy": 76.24,
    "label-smoothing": 78.72,
    "bake": 76.93,
    "bake-plus": None,
    "bake:affinity_temperature=0.1": None,
    f"cross-entropy:{CUTMIX}": 80.17,
    "mixskd": 80.32,
    "ps-kd": 79.31,
    "cs-kd": 78.66,
    "cs-kd:symmetric=true": None,
    "dlb": None,
    "ddgsd": None,
    "byot": None,
    "tf-kd-virtual": None,
    "cross-entropy:data.mixup=1": None,
    f"bake-plus:{CUTMIX}": None,
}


def _paper() -> list[Wanted]:
    reported = {
        f"{data}/{network}": round(100 - error, 2)
        for data, errors in ERRORS.items()
        for network, error in zip(("resnet18", "densenet121"), errors, strict=True)
    } | {f"imagenet/{network}": figure for network, figure in IMAGENET.items()}
    rows = []
    for name, figure in reported.items():
        paper, equal = f"{name}-bake-paper", f"{name}-bake"
        rows.append(Wanted(f"paper/{name}/bake", paper, "bake", 1, figure))
        if name == "cifar100/resnet18":  # does BAKE still win where the baseline sees as much?
            variants = ("cross-entropy", "cross-entropy:training.epochs=800")
            rows += [Wanted(f"paper/{name}/{variant}", paper, variant) for variant in variants]
        rows += [
            Wanted(f"equal/{name}/{variant}", equal, variant)
            for variant in ("cross-entropy", "bake")
        ]
    return rows


def _reduced() -> list[Wanted]:
    """What two CPU cores can do: a fifth of the classes of CIFAR-100, few images, ResNet-8."""
    recipe = "cifar100/resnet8-held-out"
    names = ["cross-entropy", "label-smoothing", "bake", "bake:partners=0", "bake-plus"]
    names += [f"cross-entropy:{CUTMIX}", "mixskd"]
    # The paper's protocol: epochs of anchors, four times the images; and as many without BAKE.
    fourfold = ["bake:training.epoch=anchors", "cross-entropy:training.epochs=160"]
    more = ["cs-kd", "dlb", "ps-kd", "bake:partners=0:affinity_temperature=100"]
    return [
        Wanted(f"reduced/{variant}", recipe, variant, 3 if variant in fourfold else 5)
        for variant in names + fourfold + more
    ]


ROWS: list[Wanted] = [
    *(
        Wanted(f"rivals/cifar100/resnet18/{variant}", "cifar100/resnet18-bake", variant, 1, figure)
        for variant, figure in RIVALS.items()
    ),
    *_paper(),
    *_reduced(),
]
