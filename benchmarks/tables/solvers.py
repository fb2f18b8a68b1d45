"""Tables of the figures about solvers, ranks and cost."""

from collections.abc import Callable
from typing import Any

Rows = list[dict[str, Any]]


def _ensembling(rows: Rows) -> str:
    lines = [
        "| N | D | C | target, published → ours, ms | | with loss and gradient, published → ours "
        "→ compiled, ms | | memory, MiB | error of ours | by |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        memory = " → ".join(f"{value / 2**20:,.0f}" for value in row["loss_bytes"].values())
        cells = []
        for figure in ("target_seconds", "loss_seconds"):
            times = row[figure]
            cells.append(" → ".join(_milliseconds(value) for value in times.values()))
            cells.append(f"{times['published'] / times['ours']:.2f}×")
        lines.append(
            f"| {row['n']} | {row['d']} | {row['c']} | {' | '.join(cells)} | {memory} | "
            f"{row['error']['ours']:.0e} | {row['solver']} |"
        )
    return "\n".join(lines)


def _auto(rows: Rows) -> str:
    lines = [
        "| T_a | N | C | fixed point, ms | direct, ms | picked | of the faster's time |",
        "|--:|--:|--:|--:|--:|---|--:|",
    ]
    for row in rows:
        times = row["seconds"]
        lost = times[row["picked"]] / min(times.values())
        lines.append(
            f"| {row['affinity_temperature']} | {row['n']} | {row['c']} | "
            f"{_milliseconds(times['fixed_point'])} | {_milliseconds(times['direct'])} | "
            f"{row['picked'].replace('_', ' ')} | {lost:.2f} |"
        )
    return "\n".join(lines)


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:,.2f}" if seconds < 0.01 else f"{1e3 * seconds:,.0f}"


def _overhead(rows: Rows) -> str:
    settings, *losses = rows
    lines = [
        f"| {settings['model']}, {settings['image_size']}×{settings['image_size']}, "
        f"batch {settings['batch_size']} | ms a step | over cross-entropy (quartiles) | "
        "its loss alone adds |",
        "|---|--:|--:|--:|",
    ]
    for row in losses:
        low, middle, high = (100 * (ratio - 1) for ratio in row["ratio"])
        share = "" if row is losses[0] else f"{middle:+.1f} % ({low:+.1f} to {high:+.1f})"
        added = row["added_seconds"]
        cost = f"{1e3 * added:.2f} ms, {100 * added / losses[0]['seconds']:.2f} %"
        lines.append(
            f"| {row['loss']} | {1e3 * row['seconds']:.1f} | {share} | "
            f"{'' if row is losses[0] else cost} |"
        )
    return "\n".join([*lines, "", f"{settings['steps']} steps of each, in turns."])


def _solvers(rows: Rows) -> str:
    lines = [
        "| N | ω | T_a | products | left by stopping (bound 5e-7): clustered, worst | "
        "fixed point: clustered, worst | direct: clustered, worst | within |",
        "|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        cells = [
            f"{row['clustered'][figure]:.0e}, {row['worst'][figure]:.0e}"
            for figure in ("truncation", "fixed_point", "direct")
        ]
        kind = "" if row["chebyshev"] else " (plain)"
        lines.append(
            f"| {row['n']} | {row['omega']} | {row['affinity_temperature']} | "
            f"{row['products']}{kind} | {' | '.join(cells)} | "
            f"{'float64' if row['float64'] else 'float32'} |"
        )
    return "\n".join(lines)


def _precision(rows: Rows) -> str:
    lines = [
        "| N | T_a | TF32: F̂ F̂ᵀ alone, all products | bfloat16: F̂ F̂ᵀ alone, all products |",
        "|--:|--:|--:|--:|",
    ]
    for row in rows:
        cells = [
            f"{row[kind]['affinity']:.0e}, {row[kind]['all']:.0e}" for kind in ("TF32", "bfloat16")
        ]
        lines.append(f"| {row['n']} | {row['affinity_temperature']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _passes(rows: Rows) -> str:
    lines = ["| | passes over N×C matrices | by operation |", "|---|--:|---|"]
    for row in rows:
        counts = ", ".join(f"{name} {count}" for name, count in row["by_operation"].items())
        lines.append(f"| {row['loss']} | {row['passes']} | {counts} |")
    return "\n".join(lines)


def _ranks(rows: Rows) -> str:
    lines = [
        "| ranks | D | C | own rows: KiB received, predicted → measured | auto: KiB | "
        "published, auto, own rows: ms |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        received, seconds = row["bytes_received"], row["seconds"]
        times = ", ".join(_milliseconds(seconds[way]) for way in ("published", "auto", "own rows"))
        lines.append(
            f"| {row['ranks']} | {row['d']} | {row['c']} | {row['bytes_predicted'] / 1024:,.0f} → "
            f"{received['own rows'] / 1024:,.0f} | {received['auto'] / 1024:,.0f} | {times} |"
        )
    return "\n".join([*lines, "", f"{rows[0]['n']} images a rank."])


def _ranks_predicted(rows: Rows) -> str:
    lines = [
        "| ranks | messages | MiB received | GFLOP | published GFLOP | MiB held | "
        "published MiB held |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        held, published = row["bytes_held"] / 2**20, row["bytes_held_published"] / 2**20
        lines.append(
            f"| {row['ranks']:,} | {row['messages']} | {row['bytes_received'] / 2**20:,.0f} | "
            f"{row['flops'] / 1e9:,.1f} | {row['flops_published'] / 1e9:,.1f} | "
            f"{held:,.0f} | {published:,.0f} |"
        )
    first = rows[0]
    return "\n".join(
        [
            *lines,
            "",
            f"Each rank's, with {first['n']} images, D = {first['d']:,}, C = {first['c']:,}, "
            f"{rows[-1]['products']} products, float32.",
        ]
    )


SOLVER_TABLES: dict[str, Callable[[Rows], str]] = {
    "auto": _auto,
    "ensembling": _ensembling,
    "ensembling_cpu": _ensembling,
    "overhead": _overhead,
    "passes": _passes,
    "precision": _precision,
    "ranks": _ranks,
    "ranks_predicted": _ranks_predicted,
    "solvers": _solvers,
}
