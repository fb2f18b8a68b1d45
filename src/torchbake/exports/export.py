"""A finished run as files that others load, checked against the run on its test images."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import torch
from rich.console import Console

from .._shapes import Float, Tensor
from ..analysis.outputs import Outputs, compute_outputs
from ..errors import UserError
from ..inference.programs import load_onnx, load_torch
from ..training.files import check_writable, write_text
from ..training.opened_run import OpenedRun, open_run
from ..training.weights_file import Description, load_described, read_description
from .agreement import Agreement, compare_probabilities, run_on_pictures, run_on_transformed
from .card import write_card
from .options import FILES, Options
from .preprocess import Preprocess
from .programs import Logits, Probabilities, describe_signature, write_onnx, write_torch
from .timm_folder import load_timm, write_timm


def export_run(
    folder: Path,
    out: Path,
    options: Options,
    *,
    data_name: str | None = None,
    overwrite: bool = False,
    console: Console,
) -> Agreement:
    """Write an export of the finished run in `folder`, with its model card and `agreement.json`.

    The export is loaded again and run on the test images, as is the run itself in float32.

    Args:
        out: the folder to write; it appears when the export has been checked.
        data_name: data set to check on, in place of the run's.
        overwrite: replace `out` if it is an export.

    Raises:
        UserError: no finished run, a network that has no such form, a folder that is there, or an
            export that predicts another class than the run for an image. float16 rounds, so that
            `half` is reported and not refused.
    """
    _check_place(out, overwrite)
    opened = _in_float32(
        open_run(folder, ema=options.ema, data_name=data_name, device_name="cpu", console=console)
    )
    weights = opened.run.find_weights(ema=options.ema)
    description = replace(read_description(weights, opened.recipe), precision="float32")
    test = opened.data.source.test
    outputs = compute_outputs(opened, test, torch.arange(len(test)), console)
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        with console.status(f"exporting to {options.form}"):
            _write(part, weights, description, options)
        with console.status("running the export on the test images"):
            agreement = _compare(part, opened, outputs, description, options)
        if agreement.disagreeing and not options.half:
            raise UserError(
                f"{out}: not written: {agreement.describe()}; the first that differ are number "
                + ", ".join(map(str, agreement.disagreeing))
            )
        _write_agreement(part, agreement, opened, options)
        write_card(part, opened, outputs, description, options, agreement)
        if out.exists():
            shutil.rmtree(out)
        part.replace(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return agreement


def _check_place(out: Path, overwrite: bool) -> None:
    check_writable(out.parent)
    if not out.exists():
        return
    if not overwrite:
        raise UserError(f"{out} exists: replace it with --overwrite, or choose another --out")
    if not (out / "agreement.json").is_file():
        raise UserError(f"{out} exists and is no export; choose another --out")


def _in_float32(opened: OpenedRun) -> OpenedRun:
    training = replace(opened.recipe.training, precision="float32")
    return opened._replace(recipe=replace(opened.recipe, training=training))


def _write(folder: Path, weights: Path, description: Description, options: Options) -> None:
    network = load_described(weights, description).network
    dtype = torch.float16 if options.half else torch.float32
    if options.form == "timm":
        write_timm(folder, network, description, dtype)
        return
    seen = description.preprocessing
    logits = Logits(network, dtype)
    module: Logits | Probabilities = logits
    if options.with_preprocessing:
        module = Probabilities(Preprocess(seen), logits, description.temperature or 1.0)
    signature = describe_signature(module, seen.channels, seen.image_size)
    write = write_onnx if options.form == "onnx" else write_torch
    write(folder / FILES[options.form], module, signature, description.to_metadata())


def _compare(
    folder: Path, opened: OpenedRun, outputs: Outputs, description: Description, options: Options
) -> Agreement:
    """Run the export on the test images, from pictures on where it takes such."""
    test = opened.data.source.test
    temperature = description.temperature or 1.0

    def scale(logits: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        return (logits / temperature).softmax(dim=1)

    got: Iterator[Tensor]
    if options.form == "timm":
        program, transform = load_timm(folder)
        got = map(scale, run_on_transformed(program, test, transform))
    else:
        load = load_onnx if options.form == "onnx" else load_torch
        program, _ = load(folder / FILES[options.form])
        if options.with_preprocessing:
            got = run_on_pictures(program, test)
        else:
            batches = opened.data.plain_batches(test, outputs.indices, 64, opened.device)
            got = (scale(program(batch.images)) for batch in batches)
    return compare_probabilities(map(scale, outputs.logits.split(1024)), got)


def _write_agreement(
    folder: Path, agreement: Agreement, opened: OpenedRun, options: Options
) -> None:
    packages = ["torch", {"timm": "timm", "onnx": "onnxruntime", "torch": "torch"}[options.form]]
    record = {
        "run": str(opened.run.path),
        "data": opened.data.recipe.name,
        **asdict(options),
        **asdict(agreement),
        "packages": {name: version(name) for name in packages},
    }
    text = json.dumps(record, indent=1).encode("utf-8", "replace").decode()
    write_text(folder / "agreement.json", text + "\n")
