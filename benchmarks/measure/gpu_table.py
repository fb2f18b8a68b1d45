"""What benchmarks.gpu wrote, as Markdown."""

from typing import Any

Rows = list[dict[str, Any]]


def format_report(report: dict[str, Any]) -> str:
    """A page of all parts, those that failed included."""
    card, environment = report["card"], report["environment"]
    memory = f", {card['memory'] / 2**30:.0f} GiB" if "memory" in card else ""
    sections = [
        f"# {card['name']}{memory}",
        f"`{environment['command']}`: torch {environment['packages']['torch']}, Python "
        f"{environment['python']}, {environment['processor']}; commit {environment['commit']}, "
        f"{environment['started'][:10]}.",
    ]
    for part in report["parts"]:
        lines = [f"## {part['part']}", ""]
        if part["problem"]:
            lines += [f"**Failed**: {part['problem']}", ""]
        if "tests" in part:
            lines += _format_tests(part["tests"])
        for start, format_rows in _FORMATS.items():
            if part["part"].startswith(start) and "rows" in part:
                lines += format_rows(part["rows"])
        sections.append("\n".join(lines).rstrip())
    return "\n\n".join(sections) + "\n"


def _format_tests(tests: dict[str, Any]) -> list[str]:
    counts = f"{tests['passed']} passed, {len(tests['failed'])} failed, {tests['skipped']} skipped."
    return [counts, *(f"- {name}" for name in tests["failed"])]


def _format_overhead(rows: Rows) -> list[str]:
    lines = ["| loss | ms a step | over cross-entropy (quartiles) |", "|---|--:|--:|"]
    for row in rows[1:]:
        low, middle, high = row["ratio"]
        share = f"{middle:.4f} ({low:.4f} to {high:.4f})"
        lines.append(f"| {row['loss']} | {1000 * row['seconds']:.2f} | {share} |")
    return lines


def _format_targets(rows: Rows) -> list[str]:
    head = "| D | C | published, ms | ours, ms | published, MiB | ours, MiB | error of ours |"
    lines = [head, "|--:|--:|--:|--:|--:|--:|--:|"]
    for row in rows:
        times, memory = row["target_seconds"], row["target_bytes"]
        cells = [f"{row['d']}", f"{row['c']:,}"]
        cells += [f"{1000 * times[name]:.3f}" for name in ("published", "ours")]
        peaks = [memory[name] for name in ("published", "ours")]
        cells += ["" if peak is None else f"{peak / 2**20:.1f}" for peak in peaks]
        lines.append(f"| {' | '.join(cells)} | {row['error']['ours']:.0e} |")
    return lines


def _format_speed(rows: Rows) -> list[str]:
    lines = [
        "| method | images/s | share of the peak | hours of 200 epochs, extrapolated |",
        "|---|--:|--:|--:|",
    ]
    for row in rows[1:]:
        share = row["share_of_peak"]
        told = "" if share is None else f"{share:.0%}"
        lines.append(
            f"| {row['method']} | {row['images_per_second']:,.0f} | {told} "
            f"| {row['hours_of_200_epochs']:.2f} |"
        )
    return lines


def _format_auto(rows: Rows) -> list[str]:
    lines = ["| T_a | N | C | fixed point, ms | direct, ms | picked |", "|--:|--:|--:|--:|--:|---|"]
    for row in rows:
        times = row["seconds"]
        cells = [f"{row['affinity_temperature']:g}", f"{row['n']}", f"{row['c']:,}"]
        cells += [f"{1000 * times[name]:.3f}" for name in ("fixed_point", "direct")]
        lines.append(f"| {' | '.join(cells)} | {row['picked']} |")
    return lines


_FORMATS = {
    "overhead": _format_overhead,
    "target": _format_targets,
    "speed": _format_speed,
    "auto": _format_auto,
}
