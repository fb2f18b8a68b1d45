"""The figures of one run, as names and values."""

from statistics import median
from typing import Any

from ...training.run_folder import RunFolder
from ..compare.tables import SCALINGS

Record = dict[str, Any]


def list_figures(run: RunFolder, records: list[Record]) -> list[tuple[str, str]]:
    """Names and values of what a run has recorded, finished or not."""
    evaluated = [record for record in records if record["kind"] == "eval"]
    trained = [record for record in records if record["kind"] == "train"]
    result: Record = {}
    if run.result.is_file():
        result = run.read_result()
    figures = []
    if evaluated:
        last = evaluated[-1]
        figures.append(("Images seen", f"{last['images']:,} in {last['step']:,} steps"))
        if result.get("stopped_early"):
            figures.append(("Ended early", "no improvement on the validation images"))
        if "selected" in result:
            chosen = result["selected"]
            which = f"step {chosen['step']:,}, chosen on the validation images"
            figures += _list_evaluation(chosen, which)
        else:
            figures += _list_evaluation(last, "last evaluation")
            best = max(record["top1"] for record in evaluated)
            title = "Best top-1 of any evaluation (chosen on the test set)"
            figures.append((title, f"{best:.2f}%"))
    if trained:
        rate = median(record["images_per_second"] for record in trained)
        figures.append(("Throughput, median", f"{rate:,.0f} images/s"))
    if result:
        figures += [
            ("Training time, without evaluation", f"{result['seconds']:,.1f} s"),
            ("Peak memory", f"{result['peak_memory'] / 2**20:,.0f} MiB"),
            ("Forward passes per image", f"{result['forwards'] / max(result['images'], 1):.2f}"),
            ("Trained parameters", f"{result['trained_parameters']:,}"),
        ]
    return figures


def _list_class_means(record: Record) -> list[tuple[str, str]]:
    if "balanced_accuracy" not in record:  # recorded by an earlier version
        return []
    return [
        ("Test balanced accuracy, the mean recall", f"{record['balanced_accuracy']:.2f}%"),
        ("Test macro-F1, the mean F1", f"{record['macro_f1']:.2f}%"),
    ]


def _list_evaluation(record: Record, which: str) -> list[tuple[str, str]]:
    """The figures of one evaluation."""
    figures = [
        (f"Test top-1, {which}", f"{record['top1']:.2f}%"),
        ("Test top-5", f"{record['top5']:.2f}%"),
        *_list_class_means(record),
        ("Test NLL", f"{record['nll']:.4f} nats"),
        ("Test ECE, 15 bins", f"{record['ece']:.2f}%"),
    ]
    if "nll_scaled" in record:  # recorded by this version or a later one
        fitted = SCALINGS["validation" if "temperature" in record else "halves"]
        value = f"T = {record['temperature']:.3f}, " if "temperature" in record else ""
        figures += [
            ("Test NLL after temperature scaling", f"{record['nll_scaled']:.4f} nats"),
            ("Test ECE after temperature scaling", f"{record['ece_scaled']:.2f}%"),
            ("Temperature", f"{value}fitted {fitted}"),
        ]
    if "validation_top1" in record:
        figures.append(("Validation top-1", f"{record['validation_top1']:.2f}%"))
    if "ema_top1" in record:
        figures.append(("Test top-1 of the averaged weights", f"{record['ema_top1']:.2f}%"))
    return figures
