"""How a run's network is trained."""

from dataclasses import dataclass
from typing import Literal

from ..ranges import (
    NotNegative,
    NotNegativeInt,
    Positive,
    PositiveInt,
    PositiveRate,
    PositiveShare,
    Rate,
    Share,
)
from .section import Section


@dataclass(frozen=True)
class OptimizerRecipe(Section):
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
class ScheduleRecipe(Section):
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
class TrainingRecipe(Section):
    """The length of training, its batches and devices, and what is written.

    Attributes:
        epochs: number of passes over the training set.
        epoch: what an epoch counts: as many `images` as the training set has, or each of them
            once as one of the `anchors`, to which partners are added, so that there are more.
        batch_size: number of images in an update, over all devices.
        accumulate: number of parts into which a batch is divided to save memory; images teach each
            other only within a part.
        max_steps: number of updates after which training ends; None trains all epochs.
        time_limit: minutes that the whole run may take, from opening the data to the report: its
            speed is measured before the first step, and the run and its schedule are made as long
            as fits, at most `training.epochs` and `training.max_steps`; None sets no limit.
        precision: number format of the forward pass: `float32`, with convolutions in TF32 on
            GPUs that have it, as in PyTorch; `ieee` for float32 without TF32; or `bf16` or `fp16`
            (mixed precision). Weights are always float32.
        ema_decay: decay per update of a moving average of the weights, which is evaluated and
            saved, too; None keeps no average.
        device: device to train on: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`, …
        eval_every: number of epochs between evaluations; the end of training is always evaluated.
        log_every: number of steps between records in the log.
        checkpoint_every: number of steps between checkpoints.
        on_nonfinite: what is done where a loss, a gradient or a weight is not a finite number:
            `stop` ends the run, `skip` leaves out the update of a step whose loss, gradients or
            running statistics are not finite.
        nonfinite_limit: number of updates of a run that may be left out with
            `training.on_nonfinite: skip`; one more ends it.
        rank_timeout: seconds for which a rank waits for the others before it takes one of them to
            hang; without effect on a single device.
        keep: which checkpoints stay in the run folder, as `checkpoints/step-N`: the `last` two,
            or `all` of them.
        trackers: experiment trackers that are sent the figures, too: `tensorboard`, `wandb`,
            `mlflow`, `trackio`.
        channels_last: keep images and filters in channels-last order, faster on most devices.
        compile: compile the network, the targets and the loss with torch.compile.
        cuda_graphs: record the compiled step as a CUDA graph and replay it, which speeds up small
            steps; needs `training.compile`, and does nothing on other devices.
        sync_batch_norm: let batch normalisation span all devices, which must be CUDA's; does
            nothing on a single device.
        select: which weights are kept: `last`, or `best-on-validation`, the weights with the best
            top-1 on the validation images (NLL breaks ties); this needs `data.validation`.
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
    time_limit: Positive | None = None
    precision: Literal["float32", "ieee", "bf16", "fp16"] = "float32"
    ema_decay: PositiveRate | None = None
    device: str = "auto"
    eval_every: PositiveInt = 1
    log_every: PositiveInt = 50
    checkpoint_every: PositiveInt = 500
    on_nonfinite: Literal["stop", "skip"] = "stop"
    nonfinite_limit: PositiveInt = 10
    rank_timeout: Positive = 600.0
    keep: Literal["last", "all"] = "last"
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow", "trackio"], ...] = ()
    channels_last: bool = True
    compile: bool = False
    cuda_graphs: bool = False
    sync_batch_norm: bool = False
    select: Literal["last", "best-on-validation"] = "last"
    patience: PositiveInt | None = None
    report: Literal["last", "best-on-test"] = "last"
