"""What a training run is made of: typed, frozen, and checked before anything starts."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from .ranges import (
    Angle,
    CropShare,
    Holdout,
    Magnitude,
    NotNegative,
    NotNegativeInt,
    Pixels,
    Positive,
    PositiveInt,
    PositivePixels,
    PositiveRate,
    PositiveShare,
    Processes,
    Rate,
    Seed,
    Share,
)


class _Section:
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}


@dataclass(frozen=True)
class DataRecipe(_Section):
    """The images, and how training images are augmented.

    Attributes:
        name: data set: `digits`, `cifar10`, `cifar100`, `imagefolder:PATH`, `table:FILE`,
            `parquet:GLOB`, `hf:NAME`, or `module:function` for a function of yours.
        folder: folder in which downloaded data sets are kept.
        image_size: height and width of the network's input in pixels; None keeps the images'.
        channels: 3 for colour or 1 for greyscale; None takes 1 for `digits`, else 3.
        crop: how training images are cropped: `pad` shifts each by up to `data.padding` pixels,
            `resized` cuts out a random part and resizes it, `none` leaves the image whole.
        padding: width in pixels of the black border for `crop: pad`.
        min_scale: smallest part cut out for `crop: resized`, as a fraction of the image's area.
        flip: mirror a random half of the training images from left to right.
        cutout: side in pixels of a square set to the mean colour; 0 switches it off.
        crop_pct: fraction of a test image's height and width that the network sees: its
            centre, after resizing to `image_size / crop_pct`; for `crop: resized`, None takes
            what pretrained weights expect, else 0.875; for other crops 1.
        color_jitter: brightness, contrast and saturation of a training image are multiplied by
            random factors from 1 minus this to 1 plus this; 0 switches it off.
        rotation: largest angle in degrees by which a training image is turned, to either side.
        auto_augment: further changes of training images: `trivial` for one random operation
            (TrivialAugment), `rand` for `data.rand_augment_operations` of them of one strength
            (RandAugment); `none` for none.
        rand_augment_operations: number of operations of RandAugment.
        rand_augment_magnitude: strength of RandAugment's operations, from 0 to 30.
        random_erasing: probability that a random rectangle of a training image is set to the mean
            colour.
        lighting: standard deviation of AlexNet's colour noise; 0 switches it off, 0.1 is usual.
        mixup: α of Mixup, which blends pairs of images; 0 switches it off, 0.2 is its paper's on
            ImageNet. Together with `data.cutmix`, each batch gets one of the two at random.
        cutmix: α of CutMix, which pastes a rectangle of one image into another; 0 switches it
            off, 1 is its paper's.
        mix_probability: probability that a batch is mixed, where Mixup or CutMix is on.
        classes: names of the classes to keep, numbered in this order; None keeps all.
        images_per_class: number of training images to keep of each class; None keeps all.
        label_noise: fraction of the training labels that are replaced by a random other class.
        label_noise_seed: random seed for the choice of these labels and of their new classes.
        labels: CSV file of corrected labels and images to leave out, as `torchbake audit` writes
            it, applied last; None uses the data set's labels.
        validation: images on which a temperature is fitted and, with `training.select`, an epoch
            chosen: a fraction of the training images of each class, such as 0.1, which are then
            not trained on; or the name of a split of the data set, true for the usual one (`val`,
            `valid`, `validation` or `dev`) beside the test split; None uses none.
        validation_seed: random seed for the choice of a fraction of the training images.
        mean, std: mean and standard deviation of each channel for normalisation, on the scale from
            0 to 1; None takes those that pretrained weights expect, else measures them if the
            images are in memory, else takes ImageNet's.
        interpolation: how images are resized; None takes what pretrained weights expect, else
            bilinear.
        in_memory: decode all images once and keep them; None does so if they have one size and fit.
        cache: keep decoded images for the next run, in TORCHBAKE_CACHE or ~/.cache/torchbake.
        workers: number of processes that decode images; 0 decodes in the training process, None
            takes one for each available core, at most 16.
        train_split, test_split: name of the split to train or test on, for folders and Hugging
            Face data sets; None takes the usual names.
        test_share: fraction of each class that is held out for testing, for folders and tables
            without a test split; files of equal bytes stay together.
        test_share_seed: random seed for the choice of these images.
        class_folders: which folders are the classes, if folders hold folders: the `outermost` or
            the `innermost`; None takes the innermost if no outermost one holds images and their
            names differ.
        image_column, label_column: column of a table that holds the images or the labels; None
            finds it if there is only one candidate.
    """

    name: str = "digits"
    folder: str = "data"
    image_size: PositivePixels | None = None
    channels: Literal[1, 3] | None = None
    crop: Literal["none", "pad", "resized"] = "none"
    padding: Pixels = 4
    min_scale: PositiveShare = 0.08
    flip: bool = False
    cutout: Pixels = 0
    crop_pct: CropShare | None = None
    color_jitter: Share = 0.0
    rotation: Angle = 0.0
    auto_augment: Literal["none", "trivial", "rand"] = "none"
    rand_augment_operations: PositiveInt = 2
    rand_augment_magnitude: Magnitude = 9
    random_erasing: Share = 0.0
    lighting: NotNegative = 0.0
    mixup: NotNegative = 0.0
    cutmix: NotNegative = 0.0
    mix_probability: Share = 1.0
    classes: tuple[str, ...] | None = None
    images_per_class: PositiveInt | None = None
    label_noise: Rate = 0.0
    label_noise_seed: Seed = 0
    labels: str | None = None
    validation: Holdout = None
    validation_seed: Seed = 0
    mean: tuple[Share, ...] | None = None
    std: tuple[Positive, ...] | None = None
    interpolation: Literal["bilinear", "bicubic"] | None = None
    in_memory: bool | None = None
    cache: bool = True
    workers: Processes | None = None
    train_split: str | None = None
    test_split: str | None = None
    test_share: PositiveRate = 0.2
    test_share_seed: NotNegativeInt = 0
    class_folders: Literal["outermost", "innermost"] | None = None
    image_column: str | None = None
    label_column: str | None = None


@dataclass(frozen=True)
class ModelRecipe(_Section):
    """The network (see `models.create_model`).

    Attributes:
        name: network: a name in `torchbake list models`, a timm model of the Hugging Face hub as
            `hf-hub:NAME`, or `module:callable` of your own code.
        pretrained: start from the weights that timm offers, instead of random ones.
        weights: start from the weights of this file, `.safetensors` or `.pth`, as far as they fit:
            timm's, those of a run, or of a backbone trained without labels.
        drop_rate: probability of dropout before the classifier, for timm's networks.
        freeze: names of layers that keep their weights, with all that is within them, such as
            `blocks.0` or `layer[12]`; `*` is all but the classifier. Batch normalisation in them
            stays in evaluation mode.
        arguments: further arguments of timm's network, or of your callable, by name. Each may
            also stand beside the other keys: `model.drop_path_rate` is short for
            `model.arguments.drop_path_rate`.
        classifier: name of the last layer, whose input serves as features; None finds it. Only a
            network of your own needs this or `model.features`.
        features: name of the layer whose output serves as features, instead of
            `model.classifier`; maps and tokens are averaged.
    """

    # Layers of an nn.Sequential have numbers for names.
    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "coerce_numbers_to_str": True,
    }

    name: str = "small_cnn"
    pretrained: bool = False
    weights: str | None = None
    drop_rate: Rate = 0.0
    freeze: tuple[str, ...] = ()
    arguments: dict[str, Any] | None = None
    classifier: str | None = None
    features: str | None = None


@dataclass(frozen=True)
class OptimizerRecipe(_Section):
    """The optimizer.

    Attributes:
        name: optimizer: `sgd` (with momentum) or `adamw`.
        lr: learning rate after warm-up, for a whole batch over all devices.
        head_lr: learning rate of the classifier and of what the method itself trains, instead of
            `optimizer.lr`; the schedule applies to both.
        layer_decay: factor by which the learning rate falls from each layer of timm's network to
            the one before it, such as 0.75; None gives all layers the same.
        momentum: momentum of SGD; without effect on AdamW.
        nesterov: use Nesterov momentum; without effect on AdamW.
        betas: decay rates of AdamW's averages of the gradient and of its square; without effect
            on SGD.
        weight_decay: weight decay, in AdamW decoupled from the gradient.
        decay_norm_and_bias: also decay biases and the weights of normalisation layers.
        clip_grad_norm: largest norm of the gradient; None sets no limit.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    lr: Positive = 0.1
    head_lr: Positive | None = None
    layer_decay: PositiveShare | None = None
    momentum: Rate = 0.9
    nesterov: bool = True
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    weight_decay: NotNegative = 5e-4
    decay_norm_and_bias: bool = False
    clip_grad_norm: Positive | None = None


@dataclass(frozen=True)
class ScheduleRecipe(_Section):
    """The learning rate over the run (see `training.optimizer.compute_lr`).

    Attributes:
        name: schedule: `constant`; `step`, which falls at milestones; `cosine`; or `one-cycle`,
            which rises and falls.
        warmup_steps: number of steps at the start in which the learning rate rises linearly.
        warmup: length of this warm-up as a fraction of the run, instead of its number of steps.
        warmup_start: first learning rate, as a fraction of `optimizer.lr`, for a warm-up and for
            `one-cycle`.
        milestones: points of the run, as fractions of it, at which `step` multiplies the rate by
            `schedule.gamma`.
        gamma: factor of the learning rate at each milestone, for `step`.
        final: last learning rate, as a fraction of `optimizer.lr`, for `cosine` and `one-cycle`.
        peak: point of the run, as a fraction of it, at which the rate is highest, for `one-cycle`.
    """

    name: Literal["constant", "step", "cosine", "one-cycle"] = "cosine"
    warmup_steps: NotNegativeInt = 0
    warmup: Rate = 0.0
    warmup_start: Share = 0.1
    milestones: tuple[PositiveRate, ...] = (0.5, 0.75)
    gamma: PositiveRate = 0.1
    final: Share = 0.0
    peak: PositiveRate = 0.3


@dataclass(frozen=True)
class TrainingRecipe(_Section):
    """The length of training, its batches and devices, and what is written.

    Attributes:
        epochs: number of passes over the training set.
        epoch: what an epoch counts: as many `images` as the training set has, or each of them
            once as one of the `anchors`, to which partners are added, so that there are more.
        batch_size: number of images in an update, over all devices.
        accumulate: number of parts into which a batch is divided to save memory; images teach each
            other only within a part.
        max_steps: number of updates after which training ends; None trains all epochs.
        precision: number format of the forward pass: `float32`, with convolutions in TF32 on
            GPUs that have it, as in PyTorch; `ieee` for float32 without TF32; or `bf16` or `fp16`
            (mixed precision). Weights are always float32.
        ema_decay: decay per update of a moving average of the weights, which is evaluated and
            saved, too; None keeps no average.
        device: device to train on: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`, …
        eval_every: number of epochs between evaluations; the end of training is always evaluated.
        log_every: number of steps between records in the log.
        checkpoint_every: number of steps between checkpoints.
        keep: which checkpoints stay in the run folder: the `last`, or `all` of them, as
            `checkpoints/step-N.pt`.
        tensorboard: also write event files for TensorBoard.
        channels_last: keep images and filters in channels-last order, faster on most devices.
        compile: compile the network, the targets and the loss with torch.compile.
        cuda_graphs: record the compiled step as a CUDA graph and replay it, which speeds up small
            steps; needs `training.compile`, and does nothing on other devices.
        sync_batch_norm: let batch normalisation span all devices, which must be CUDA's; does
            nothing on a single device.
        select: which weights are kept: those of the `last` step, or of the evaluation that is
            `best-on-validation`, by top-1 and then by NLL; needs `data.validation`.
        patience: number of evaluations without improvement on the validation images after which
            training ends; None trains to the end. Needs `data.validation`.
        report: which evaluation stands for the run in comparisons: the `last`, or the
            `best-on-test`, which is chosen on the test set, as in many published tables.
    """

    epochs: PositiveInt = 100
    epoch: Literal["images", "anchors"] = "images"
    batch_size: PositiveInt = 128
    accumulate: PositiveInt = 1
    max_steps: PositiveInt | None = None
    precision: Literal["float32", "ieee", "bf16", "fp16"] = "float32"
    ema_decay: PositiveRate | None = None
    device: str = "auto"
    eval_every: PositiveInt = 1
    log_every: PositiveInt = 50
    checkpoint_every: PositiveInt = 500
    keep: Literal["last", "all"] = "last"
    tensorboard: bool = False
    channels_last: bool = True
    compile: bool = False
    cuda_graphs: bool = False
    sync_batch_norm: bool = False
    select: Literal["last", "best-on-validation"] = "last"
    patience: PositiveInt | None = None
    report: Literal["last", "best-on-test"] = "last"


@dataclass(frozen=True)
class Recipe(_Section):
    """The whole experiment.

    Attributes:
        description: one sentence on what the recipe trains.
        seed: random seed for the initial weights, the batches and the augmentation.
        method: `name`, as in `torchbake list methods` or `module:Class` for a class of yours, and
            the settings of that method.
    """

    description: str = ""
    seed: Seed = 0
    data: DataRecipe = field(default_factory=DataRecipe)
    model: ModelRecipe = field(default_factory=ModelRecipe)
    method: dict[str, Any] = field(default_factory=lambda: {"name": "bake"})
    optimizer: OptimizerRecipe = field(default_factory=OptimizerRecipe)
    schedule: ScheduleRecipe = field(default_factory=ScheduleRecipe)
    training: TrainingRecipe = field(default_factory=TrainingRecipe)
