"""Intervals and tests for means of few numbers, by SciPy."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LEVEL = 0.95


class Interval(NamedTuple):
    """A mean with its 95 % interval; NaN as limits where there is only one number."""

    mean: float
    low: float
    high: float


def over_seeds(values: Sequence[float]) -> Interval:
    """The mean over seeds, with Student's interval: a bootstrap of two or three numbers would be far too narrow."""
    from scipy import stats  # takes a second to import

    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, np.nan, np.nan)
    low, high = stats.t.interval(LEVEL, len(values) - 1, mean, max(float(stats.sem(values)), 1e-300))
    return Interval(mean, float(low), float(high))


def paired_p(first: Sequence[float], second: Sequence[float]) -> float:
    """The p-value of the paired t-test that two lists have the same mean; NaN for fewer than two pairs."""
    from scipy import stats

    differences = np.subtract(first, second)
    if len(differences) < 2 or np.ptp(differences) == 0:
        return np.nan
    return float(stats.ttest_rel(first, second).pvalue)
