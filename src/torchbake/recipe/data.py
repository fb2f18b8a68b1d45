"""The images of a run, and how they are augmented."""

from dataclasses import dataclass
from typing import Literal

from ..ranges import (
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
from .section import Section


@dataclass(frozen=True)
class DataRecipe(Section):
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
        on_error: what is done with an image that cannot be read: `stop` ends the command, `skip`
            looks at all images before training and leaves such ones out.
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
    on_error: Literal["stop", "skip"] = "stop"
    workers: Processes | None = None
    train_split: str | None = None
    test_split: str | None = None
    test_share: PositiveRate = 0.2
    test_share_seed: NotNegativeInt = 0
    class_folders: Literal["outermost", "innermost"] | None = None
    image_column: str | None = None
    label_column: str | None = None
