"""What there is to be shown, with the figures that others report: the rows of `evidence.py`."""

from typing import NamedTuple

from torchbake.training.named_recipes import find_named

CUTMIX = "data.cutmix=1:data.mix_probability=0.5"


class Wanted(NamedTuple):
    """One row: a variant of a method by a recipe, over some seeds.

    Attributes:
        name: TABLE/DATA/NETWORK/VARIANT, reduced/VARIANT, budgets/IMAGES/VARIANT, or
            finetune/DATA/VARIANT.
        recipe: a shipped recipe.
        variant: as `torchbake compare --methods` takes it.
        seeds: how many.
        reported: top-1 accuracy in percent that others report, if any.
        images: how many each run sees; None for as many as the recipe says.
        overrides: keys of the recipe with their values, for all variants of its table alike.
    """

    name: str
    recipe: str
    variant: str
    seeds: int = 1
    reported: float | None = None
    images: int | None = None
    overrides: tuple[tuple[str, str], ...] = ()

    @property
    def table(self) -> str:
        return self.name.partition("/")[0]

    @property
    def baseline(self) -> str:
        """The name of the row that it is measured against."""
        return f"{self.name.removesuffix(self.variant)}cross-entropy"


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
    rows = []
    for paper, named in find_named().items():
        if named.form != "bake-paper" or "reported" not in named.row:
            continue
        name = paper.removesuffix("-bake-paper")
        equal, figure = f"{name}-bake", named.reported
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


BUDGETS = {"100k": 100_000, "200k": 200_000, "400k": 400_000, "800k": 800_000, "1600k": 1_600_000}
BUDGET_VARIANTS = (
    "cross-entropy",
    "label-smoothing",
    f"cross-entropy:{CUTMIX}",
    "bake",
    "bake:partners=0",
    f"bake:partners=0:{CUTMIX}",
    "mixskd",
)


def _budgets() -> list[Wanted]:
    """When does which method win? The same runs with more and more images."""
    recipe = "cifar100/resnet8-held-out"
    return [
        Wanted(f"budgets/{budget}/{variant}", recipe, variant, 3, images=images)
        for budget, images in BUDGETS.items()
        for variant in BUDGET_VARIANTS
    ]


PHOTOS = {
    "clean": (15_000, {}),
    "wrong-labels": (15_000, {"data.label_noise": "0.2"}),
    "10-images": (5_000, {"data.images_per_class": "10"}),
}
PHOTO_VARIANTS = (
    "cross-entropy",
    "label-smoothing",
    f"cross-entropy:{CUTMIX}",
    "bake",  # with three partners of its class, as the paper's on CUB-200-2011
    "bake:partners=0",
)


def _photos() -> list[Wanted]:
    """A pretrained network fine-tuned on photographs of birds, five epochs."""
    common = {"data.image_size": "160", "model.pretrained": "false", "training.eval_every": "1000"}
    return [
        Wanted(
            f"finetune/{data}/{variant}",
            "photos/finetune",
            variant,
            3,
            images=images,
            overrides=tuple((common | changes).items()),
        )
        for data, (images, changes) in PHOTOS.items()
        for variant in PHOTO_VARIANTS
    ]


ROWS: list[Wanted] = [
    *(
        Wanted(f"rivals/cifar100/resnet18/{variant}", "cifar100/resnet18-bake", variant, 1, figure)
        for variant, figure in RIVALS.items()
    ),
    *_paper(),
    *_reduced(),
    *_budgets(),
    *_photos(),
]
