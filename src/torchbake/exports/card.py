"""The model card of an export: its README.md, in the format of the Hugging Face hub."""

import html
from pathlib import Path
from typing import Any

import jinja2
import yaml

from ..analysis.outputs import Outputs
from ..analysis.pages.diagnosis import count_confusions
from ..evaluation import Metrics
from ..training.files import write_text
from ..training.opened_run import OpenedRun
from ..training.weights_file import Description
from .agreement import Agreement
from .options import Options

PAIRS = 5  # pairs of confused classes that are listed
LIBRARIES = {"timm": "timm", "onnx": "onnx", "torch": "pytorch"}
"""What the hub calls the library that loads each form."""


def write_card(
    folder: Path,
    opened: OpenedRun,
    outputs: Outputs,
    description: Description,
    options: Options,
    agreement: Agreement,
) -> None:
    """Write README.md: how to load the export, its figures on the test images, and its recipe.

    Args:
        outputs: of the run's network for its test images.
    """
    seen, recipe = description.preprocessing, opened.recipe
    name = opened.run.path.resolve().name
    plain = _measure(outputs, 1.0)
    scaled = None if description.temperature is None else _measure(outputs, description.temperature)
    result = opened.run.read_result()
    identity = seen.mean == (0.0,) * seen.channels and seen.std == (1.0,) * seen.channels
    text = _template().render(
        front_matter=_make_front_matter(name, plain["top1"], opened, options),
        title=_cell(name),
        model=description.model,
        parameters=f"{result['parameters']:,}",
        size=seen.image_size,
        method=recipe.method["name"],
        usage=_template(f"{_choose_usage(options)}.md").render(
            mode="RGB" if seen.channels == 3 else "L",
            grey=seen.channels == 1,
            temperature=description.temperature,
        ),
        colours="RGB" if seen.channels == 3 else "grey levels",
        resize_to=seen.resize_to,
        interpolation=seen.interpolation,
        normalised=""
        if identity
        else f" and normalised by mean {_join(seen.mean)} and standard deviation {_join(seen.std)}",
        images=f"{agreement.images:,}",
        data=_cell(opened.data.recipe.name),
        top1=f"{plain['top1']:.2f}",
        top5=f"{plain['top5']:.2f}",
        nll=f"{plain['nll']:.3f}",
        ece=f"{plain['ece']:.2f}",
        ece_scaled="" if scaled is None else f"{scaled['ece']:.2f}",
        seed=recipe.seed,
        seen=f"{result['images']:,}",
        steps=f"{result['step']:,}",
        calibration="No temperature was fitted: confidences are as trained."
        if description.temperature is None
        else f"Probabilities are softmax(logits / {description.temperature:.4g}), a temperature "
        "fitted on images that were held out of training.",
        agreement=f"Checked by running this export on these images: {agreement.describe()}."
        + " Weights are in float16." * options.half,
        confusions=[
            {
                "label": _cell(description.classes[confusion.label]),
                "predicted": _cell(description.classes[confusion.predicted]),
                "images": f"{confusion.images:,}",
                "share": f"{100 * confusion.share:.0f}",
            }
            for confusion in count_confusions(outputs.logits, outputs.labels, PAIRS, 1)
        ],
        recipe=opened.run.recipe.read_text(encoding="utf-8"),
        environment=_describe_machine(opened),
        license=options.license,
    )
    write_text(folder / "README.md", text.encode("utf-8", "replace").decode())


def _measure(outputs: Outputs, temperature: float) -> dict[str, float]:
    metrics = Metrics(outputs.logits.device)
    for logits, labels in zip(outputs.logits.split(1024), outputs.labels.split(1024), strict=True):
        metrics.add(logits / temperature, labels)
    return metrics.result()


def _template(name: str = "card.md") -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("torchbake.exports"),
        autoescape=False,  # Markdown; what comes from outside goes through _cell
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(name)


def _choose_usage(options: Options) -> str:
    if options.form == "timm":
        return "use_timm"
    return f"use_{options.form}_pictures" if options.with_preprocessing else "use_torchbake"


def _make_front_matter(name: str, top1: float, opened: OpenedRun, options: Options) -> str:
    """The metadata that the hub reads."""
    data: dict[str, Any] = {"name": opened.data.recipe.name, "type": opened.data.recipe.name}
    metric = {"type": "accuracy", "value": round(top1, 2), "name": "Top-1 accuracy, %"}
    task = {"type": "image-classification", "name": "Image classification"}
    values: dict[str, Any] = {
        **({} if options.license is None else {"license": options.license}),
        "library_name": LIBRARIES[options.form],
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "torchbake", opened.recipe.method["name"]],
        "metrics": ["accuracy"],
        "model-index": [
            {"name": name, "results": [{"task": task, "dataset": data, "metrics": [metric]}]}
        ],
    }
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _describe_machine(opened: OpenedRun) -> str:
    """On what and with which versions the run was trained."""
    if not opened.run.environment.is_file():
        return ""
    known = opened.run.read_environment()
    place = ", ".join(known["gpus"]) or f"{known['processor']}, {known['cores']} cores"
    packages = known["packages"]
    return (
        f"Trained on {place}, with torchbake {known['torchbake']}, torch {packages['torch']} and "
        f"Python {known['python']}, in {known['started'][:10]}."
    )


def _join(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _cell(text: str) -> str:
    """Any text as a cell of a Markdown table: in one line, without markup."""
    shown = "".join(c if c.isprintable() else "�" for c in text)
    for mark in "\\`*_[]|":
        shown = shown.replace(mark, f"\\{mark}")
    return html.escape(shown, quote=False)
