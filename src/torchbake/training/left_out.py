"""The images that a run leaves out, kept in its folder; and which ones are left."""

import hashlib
from pathlib import Path
from typing import Any

from ..data.loading.open_data import Data
from ..errors import UserError, shorten
from .files import write_text
from .run_folder import RunFolder
from .run_records import dump_json, read_json

FILE = "skipped.json"
"""In the run folder: what `data.on_error: skip` left out, by split, number, name, kind, reason."""


def check_left_out(run: RunFolder, data: Data) -> None:
    """Check that a run that goes on leaves out the images that it left out when it began.

    Raises:
        UserError: other ones can be read now, so that the batches to come would be others.
    """
    path = run.path / FILE
    before = (
        {_name(image) for image in read_json(path, list[dict[str, Any]])}
        if path.is_file()
        else set()
    )
    now = {_name(image._asdict()) for image in data.left_out}
    if differing := sorted(before ^ now):
        split, number, name = differing[0]
        word = "can be read" if differing[0] in before else "cannot be read any more"
        raise UserError(
            f"{path}: this run began with other images: {split} image "
            f"{shorten(name, 200) or number} {word}, and {len(differing) - 1} others changed"
        )


def write_left_out(run: RunFolder, data: Data) -> None:
    """Write the list into the run folder, if any image is left out."""
    path: Path = run.path / FILE
    if data.left_out and not path.is_file():
        records = [image._asdict() for image in data.left_out]
        write_text(path, dump_json(records, indent=1) + "\n")


def describe_splits(data: Data) -> dict[str, str]:
    """How many images each split has, and a digest of their labels, in words."""
    source = data.source
    splits = {"training": source.train, "test": source.test, "validation": source.validation}
    found = {}
    for name, split in splits.items():
        if split is not None:
            digest = hashlib.sha256(split.labels.numpy().tobytes()).hexdigest()[:12]
            found[f"{name} images"] = f"{len(split):,} (labels {digest})"
    return found


def _name(image: dict[str, object]) -> tuple[str, int, str]:
    return str(image.get("split")), int(str(image.get("number"))), str(image.get("name"))
