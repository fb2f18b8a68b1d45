"""What a training run is made of: typed, frozen, and checked before anything starts.

A recipe is the whole experiment. Its YAML form lists only what differs from another recipe (see
`recipe_files`); `torchbake train RECIPE --print-recipe` shows all of it.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from .ranges import (
    NotNegative,
    NotNegativeInt,
    Positive,
    PositiveInt,
    PositiveRate,
    PositiveShare,
    Rate,
    Share,
)

_FORBID_UNKNOWN = {"extra": "forbid"}


@dataclass(frozen=True)
class DataRecipe:
    """Where images come from and how they are augmented.

    Attributes:
        name: `digits`, `cifar10`, `cifar100`, `imagefolder:PATH`, `parquet:GLOB` or `hf:NAME`.
        folder: where downloads are kept.
        image_size: height and width in pixels; None for the images' own.
        channels: 3, or 1 for greyscale; None: 1 for `digits`, else 3.
        crop: `pad` (shifted by up to `padding` pixels), `resized` (a random part, resized) or
            `none`.
        padding: pixels of zeros around the image for `crop: pad`.
        min_scale: of the area, for `crop: resized`.
        flip: mirror half of the images.
        cutout: side in pixels of a square set to the mean; 0 for none.
        crop_pct: share of the height and width of a test image that is looked at: its shorter side
            becomes image_size / crop_pct pixels, of which the middle is taken. 0.875 makes 256 of
            224. None: 0.875 for `crop: resized`, else 1.
        color_jitter: training images' brightness, contrast and saturation are multiplied by factors
            between 1 − this and 1 + this, in a random order; 0 for none.
        lighting: standard deviation of the noise along the principal components of ImageNet's
            colours (AlexNet's; 0.1 is usual), for 3 channels; 0 for none.
        mixup, cutmix: α of the Beta distribution that shares are drawn from (see `data.mixing`); 0
            for none. 0.2 and 1 in their papers on ImageNet. With both, either for each batch.
        mix_probability: of a batch being mixed, where one of these is set.
        classes: names of the classes to keep, numbered in this order; None for all.
        images_per_class: training images kept of each class, the first in a fixed random order;
            None for all.
        label_noise: share of the training labels that become another class, each alike.
        label_noise_seed: of which ones, and of what they become.
        labels: a CSV file of training images that are another class than the data says, or are to
            be left out, as `torchbake audit` writes it; applied last.
        mean, std: of each channel, on the scale from 0 to 1; None: measured on the training
            images if they are in memory, else ImageNet's.
        in_memory: decode all images once; None: if they are of one size and fit.
        cache: keep what was decoded for the next run, see `data.loading.cache.find_cache_folder`.
        workers: processes that decode images; None: one a core that may be used, at most 16.
        train_split, test_split: names of a Hugging Face data set's or a folder's splits; None
            for the usual ones.
        image_column, label_column: of a table; None if there is only one candidate.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID_UNKNOWN

    name: str = "digits"
    folder: str = "data"
    image_size: PositiveInt | None = None
    channels: Literal[1, 3] | None = None
    crop: Literal["none", "pad", "resized"] = "none"
    padding: NotNegativeInt = 4
    min_scale: PositiveShare = 0.08
    flip: bool = False
    cutout: NotNegativeInt = 0
    crop_pct: PositiveShare | None = None
    color_jitter: Share = 0.0
    lighting: NotNegative = 0.0
    mixup: NotNegative = 0.0
    cutmix: NotNegative = 0.0
    mix_probability: Share = 1.0
    classes: tuple[str, ...] | None = None
    images_per_class: PositiveInt | None = None
    label_noise: Rate = 0.0
    label_noise_seed: NotNegativeInt = 0
    labels: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[Positive, ...] | None = None
    in_memory: bool | None = None
    cache: bool = True
    workers: NotNegativeInt | None = None
    train_split: str | None = None
    test_split: str | None = None
    image_column: str | None = None
    label_column: str | None = None


@dataclass(frozen=True)
class ModelRecipe:
    """The network (see `models.create_model`)."""

    # Layers of an nn.Sequential have numbers for names.
    __pydantic_config__: ClassVar[dict[str, Any]] = {
        **_FORBID_UNKNOWN,
        "coerce_numbers_to_str": True,
    }

    name: str = "small_cnn"
    pretrained: bool = False
    drop_rate: Rate = 0.0
    classifier: str | None = None
    features: str | None = None


@dataclass(frozen=True)
class OptimizerRecipe:
    """SGD or AdamW.

    Attributes:
        lr: the learning rate after warm-up, for a whole batch.
        decay_norm_and_bias: apply `weight_decay` to biases and normalisation weights, too.
        clip_grad_norm: the largest norm of the gradient; None for no limit.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID_UNKNOWN

    name: Literal["sgd", "adamw"] = "sgd"
    lr: Positive = 0.1
    momentum: Rate = 0.9
    nesterov: bool = True
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    weight_decay: NotNegative = 5e-4
    decay_norm_and_bias: bool = False
    clip_grad_norm: Positive | None = None


@dataclass(frozen=True)
class ScheduleRecipe:
    """The learning rate as a function of the step (see `training.optimizer.compute_lr`).

    Attributes:
        warmup_steps: steps of linear rise at the start.
        warmup: the same as a fraction of the run; one of the two.
        warmup_start: the first rate as a fraction of `lr`.
        milestones: for `step`: where the rate is multiplied by `gamma`, as fractions of the run.
        final: the last rate as a fraction of `lr`, for `cosine` and `one-cycle`.
        peak: for `one-cycle`: where the rate is highest, as a fraction of the run.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID_UNKNOWN

    name: Literal["constant", "step", "cosine", "one-cycle"] = "cosine"
    warmup_steps: NotNegativeInt = 0
    warmup: Rate = 0.0
    warmup_start: Share = 0.1
    milestones: tuple[PositiveRate, ...] = (0.5, 0.75)
    gamma: PositiveRate = 0.1
    final: Share = 0.0
    peak: PositiveRate = 0.3


@dataclass(frozen=True)
class TrainingRecipe:
    """How long, on what, and what is written.

    Attributes:
        epochs: how often the training set is gone through.
        epoch: what an epoch counts (see `ClassGroupedBatchSampler`): `images`, or `anchors`, of
            which each brings its partners, so that an epoch has more images.
        batch_size: images an update, over all ranks.
        accumulate: parts into which a batch is divided to save memory; images teach each other
            within a part.
        max_steps: stop after so many updates; None for all epochs. The schedule ends there, too.
        precision: of the forward pass; weights are float32.
        ema_decay: of an average of the weights that is evaluated beside them; None for none.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`, …
        eval_every: epochs between evaluations; the last step is always evaluated.
        log_every: steps between log records.
        checkpoint_every: steps between checkpoints.
        tensorboard: write TensorBoard event files beside metrics.jsonl.
        channels_last: keep images and filters in channels-last order; faster on most devices.
        compile: compile the network, the method's targets and its loss by torch.compile.
        cuda_graphs: with `compile`, record the forward and backward pass once and replay it, which
            asks next to nothing of the host; for small steps. Without effect on other devices.
        sync_batch_norm: batch normalisation over the images of all ranks, for CUDA devices; without
            effect on a single process.
        report: whose figures stand for the run in comparisons: the `last` evaluation's, or those
            of the `best-on-test`, which is chosen on the test set, as published tables often do.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID_UNKNOWN

    epochs: PositiveInt = 100
    epoch: Literal["images", "anchors"] = "images"
    batch_size: PositiveInt = 128
    accumulate: PositiveInt = 1
    max_steps: PositiveInt | None = None
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    ema_decay: PositiveRate | None = None
    device: str = "auto"
    eval_every: PositiveInt = 1
    log_every: PositiveInt = 50
    checkpoint_every: PositiveInt = 500
    tensorboard: bool = False
    channels_last: bool = True
    compile: bool = False
    cuda_graphs: bool = False
    sync_batch_norm: bool = False
    report: Literal["last", "best-on-test"] = "last"


@dataclass(frozen=True)
class Recipe:
    """An experiment.

    Attributes:
        description: what to expect from it, for people.
        method: `name`, as in `torchbake list methods`, and that method's own settings.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID_UNKNOWN

    description: str = ""
    seed: NotNegativeInt = 0
    data: DataRecipe = field(default_factory=DataRecipe)
    model: ModelRecipe = field(default_factory=ModelRecipe)
    method: dict[str, Any] = field(default_factory=lambda: {"name": "bake"})
    optimizer: OptimizerRecipe = field(default_factory=OptimizerRecipe)
    schedule: ScheduleRecipe = field(default_factory=ScheduleRecipe)
    training: TrainingRecipe = field(default_factory=TrainingRecipe)
