"""Intervals and tests for means of few numbers, by SciPy."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LEVEL, RESAMPLES = 0.95, 9999


class Interval(NamedTuple):
    """A mean with its 95 % interval; NaN as limits where there is only one number."""

    mean: float
    low: float
    high: float

    def text(self, form: str = ".2f") -> str:
        """Such as "-1.20 [-2.10, -0.30]"; the mean alone without limits."""
        limits = "" if np.isnan(self.low) else f" [{self.low:{form}}, {self.high:{form}}]"
        return f"{self.mean:{form}}{limits}"


def over_seeds(values: Sequence[float]) -> Interval:
    """The mean over seeds, with Student's interval: a bootstrap of two or three numbers would be far too narrow."""
    from scipy import stats  # takes a second to import

    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, np.nan, np.nan)
    low, high = stats.t.interval(LEVEL, len(values) - 1, mean, max(float(stats.sem(values)), 1e-300))
    return Interval(mean, float(low), float(high))


def over_sequences(values: Sequence[float]) -> Interval:
    """The mean over test sequences, with the bootstrap interval (BCa) of 9,999 resamples of the sequences, always the
    same ones."""
    from scipy import stats

    mean = float(np.mean(values))
    if len(values) < 2 or np.ptp(values) == 0:
        limits = (np.nan, np.nan) if len(values) < 2 else (mean, mean)
        return Interval(mean, *limits)
    found = stats.bootstrap(
        (values,), np.mean, confidence_level=LEVEL, n_resamples=RESAMPLES, vectorized=True, method="BCa",
        random_state=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return Interval(mean, float(found.low), float(found.high))


def paired_p(first: Sequence[float], second: Sequence[float]) -> float:
    """The p-value of the paired t-test that two lists have the same mean; NaN for fewer than two pairs."""
    from scipy import stats

    differences = np.subtract(first, second)
    if len(differences) < 2 or np.ptp(differences) == 0:
        return np.nan
    return float(stats.ttest_rel(first, second).pvalue)
