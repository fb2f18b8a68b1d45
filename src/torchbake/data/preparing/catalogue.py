"""Data sets as their publishers give them: the files, their checksums, and what is in them."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...errors import UserError, did_you_mean

Progress = Callable[[str, int, int], None]
"""Called now and then with what is being done, how much of it is done, and of how much."""


@dataclass(frozen=True)
class Part:
    """An archive, or what it is unpacked to.

    Attributes:
        archive: its file name; empty if it is published as plain files.
        md5: the archive's checksum, where one is known.
        folder: the folder in the archive that all of it is in, if there is one.
        unpacked: folders to find it in, unpacked; "." is the source itself.
        mark: a file of it, by which it is known to be there unpacked.
    """

    archive: str
    md5: str | None = None
    folder: str = ""
    unpacked: tuple[str, ...] = ()
    mark: str = ""


@dataclass(frozen=True)
class Published:
    """What a publisher gives.

    Attributes:
        parts: by what they are for.
        classes: their number.
        images: the number of each split, named as in the folder that is made.
    """

    parts: dict[str, Part]
    classes: int
    images: dict[str, int]


PUBLISHED = {
    # cs231n.stanford.edu; the test images have no labels, the validation images are tested on.
    "tiny-imagenet": Published(
        {
            "all": Part(
                "tiny-imagenet-200.zip",
                "90528d7ca1a48142e341f4ef8d21d0de",
                folder="tiny-imagenet-200",
                unpacked=("tiny-imagenet-200", "."),
                mark="wnids.txt",
            )
        },
        200,
        {"train": 100_000, "test": 10_000},
    ),
    # Wah et al., The Caltech-UCSD Birds-200-2011 Dataset, 2011.
    "cub200": Published(
        {
            "all": Part(
                "CUB_200_2011.tgz",
                "97eceeb196236b17998738112f37df78",
                folder="CUB_200_2011",
                unpacked=("CUB_200_2011", "."),
                mark="images.txt",
            )
        },
        200,
        {"train": 5_994, "test": 5_794},
    ),
    # Khosla et al., Novel Dataset for Fine-Grained Image Categorization, 2011.
    "dogs": Published(
        {
            "images": Part(
                "images.tar",
                "1bb1f2a596ae7057f99d7d75860002ef",
                folder="Images",
                unpacked=("Images",),
            ),
            "lists": Part(
                "lists.tar",
                "edbb9f16854ec66506b5f09b583e0656",
                unpacked=("lists", "."),
                mark="train_list.mat",
            ),
        },
        120,
        {"train": 12_000, "test": 8_580},
    ),
    # Quattoni and Torralba, Recognizing Indoor Scenes, 2009; a subset of the images is listed.
    "mit67": Published(
        {
            "images": Part(
                "indoorCVPR_09.tar", folder="Images", unpacked=("Images", "indoorCVPR_09/Images")
            ),
            "lists": Part("", unpacked=(".",), mark="TrainImages.txt"),
        },
        67,
        {"train": 5_360, "test": 1_340},
    ),
    # Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, 2015.
    "imagenet": Published(
        {
            "train": Part(
                "ILSVRC2012_img_train.tar",
                "1d675b47d978889d74fa0da5fadfb00e",
                unpacked=("ILSVRC2012_img_train", "train"),
            ),
            "val": Part(
                "ILSVRC2012_img_val.tar",
                "29b22e2961454d5413ddabcf34fc5622",
                unpacked=("ILSVRC2012_img_val", "val"),
            ),
            "devkit": Part(
                "ILSVRC2012_devkit_t12.tar.gz",
                "fa75699e90414af021442c21a62c3abf",
                folder="ILSVRC2012_devkit_t12",
                unpacked=("ILSVRC2012_devkit_t12",),
                mark="data/meta.mat",
            ),
        },
        1000,
        {"train": 1_281_167, "val": 50_000},
    ),
}


def look_up(name: str) -> Published:
    """What is known of a data set.

    Raises:
        UserError: nothing.
    """
    if name not in PUBLISHED:
        known = did_you_mean(name, PUBLISHED) or f"; known: {', '.join(PUBLISHED)}"
        raise UserError(f"unknown data set '{name}'{known}")
    return PUBLISHED[name]


def find_parts(name: str, source: Path) -> dict[str, Path]:
    """Where the parts of a data set are; archives rather than what they are unpacked to.

    Raises:
        UserError: some are not there; which names were expected.
    """
    found, missing = {}, []
    for purpose, part in look_up(name).parts.items():
        archive = [source / part.archive] if part.archive else []
        places = [path for path in archive if path.is_file()]
        folders = [source / folder for folder in part.unpacked]
        places += [path for path in folders if path.is_dir() and (path / part.mark).exists()]
        if places:
            found[purpose] = places[0]
            continue
        ways = [str(Path(folder) / part.mark) for folder in part.unpacked]
        missing.append(" or ".join([part.archive] * bool(part.archive) + ways))
    if missing:
        raise UserError(f"{name}: {source} has no {', and no '.join(missing)}")
    return found


def check_archives(name: str, found: dict[str, Path], progress: Progress) -> list[str]:
    """Compare the archives with their known checksums; the names of those compared.

    Raises:
        UserError: one differs, or cannot be read.
    """
    checked = []
    for purpose, part in look_up(name).parts.items():
        path = found[purpose]
        if part.md5 is None or not path.is_file():
            continue
        digest = hashlib.md5(usedforsecurity=False)
        done, size = 0, path.stat().st_size
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
                done += len(block)
                progress(f"checking {part.archive}: MiB", done >> 20, size >> 20)
        if digest.hexdigest() != part.md5:
            raise UserError(
                f"{path}: not as published, or incomplete: expected MD5 {part.md5}, found "
                f"{digest.hexdigest()}"
            )
        checked.append(part.archive)
    return checked
