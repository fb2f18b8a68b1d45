"""Figures over several seeds: means, standard errors, paired differences."""

import math
import statistics
from typing import Any

Record = dict[str, Any]


def average(records: list[Record], name: str) -> tuple[float, float]:
    """Mean and standard error over the seeds; no error (NaN) of one."""
    values = [record[name] for record in records]
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return statistics.fmean(values), error


def average_if_known(records: list[Record], name: str) -> tuple[float, float] | None:
    """The same, or None where a record lacks the figure."""
    return average(records, name) if all(name in record for record in records) else None


def compare_pairs(pairs: list[tuple[float, float]]) -> tuple[float, float] | None:
    """Mean difference, and the p-value of a paired t-test (two-sided)."""
    if len(pairs) < 2:
        return None
    from scipy.stats import ttest_rel

    differences = [own - base for own, base in pairs]
    mean = statistics.fmean(differences)
    if statistics.pstdev(differences) == 0:
        return mean, 1.0 if mean == 0 else 0.0
    return mean, float(ttest_rel(*zip(*pairs, strict=True)).pvalue)
