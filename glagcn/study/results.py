"""Reads the results of a study's runs, and computes mean and standard deviation over seeds."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glagcn.errors import UserError
from glagcn.files import is_number, read_json
from glagcn.runs.records import count_lines, read_records

SPLITS = ("validation", "test")
NEEDED = ("windows", "seconds", "mpjpe_mm")  # of a line of metrics.jsonl
MOST_BUDGETS = 5
NEAR = 0.03  # relative tolerance for the same number of windows: evaluations come after whole batches


@dataclass(frozen=True)
class EvaluationPoint:
    """One evaluation during training: training windows and seconds so far, split, and error in mm."""

    windows: int
    seconds: float
    split: str
    mpjpe_mm: float


@dataclass(frozen=True)
class Run:
    """A finished run.

    evaluations  all evaluations, in order.
    test_mm      the test error of the selected checkpoint.
    """

    configuration: str
    seed: int
    evaluations: tuple[EvaluationPoint, ...]
    test_mm: float

    @property
    def split(self) -> str:
        """The split of its curve: "validation" if there are such evaluations, else "test"."""
        return "validation" if any(point.split == "validation" for point in self.evaluations) else "test"

    @property
    def curve(self) -> list[EvaluationPoint]:
        """The evaluations on `split`."""
        return [point for point in self.evaluations if point.split == self.split]

    def at(self, windows: int) -> EvaluationPoint | None:
        """The evaluation of the curve after about `windows` windows; None if there is none."""
        nearest = min(self.curve, key=lambda point: abs(point.windows - windows))
        return nearest if abs(nearest.windows - windows) <= NEAR * windows else None


@dataclass(frozen=True)
class Statistics:
    """A value over n seeds: mean, and sample standard deviation (None for one seed)."""

    n: int
    mean: float
    deviation: float | None


@dataclass(frozen=True)
class CurvePoint:
    """The error in mm over seeds after `windows` windows: mean, lowest, highest; `seconds` is the mean."""

    windows: int
    seconds: float
    mean: float
    low: float
    high: float


def statistics_of(values: Iterable[float]) -> Statistics:
    """The statistics of at least one value."""
    found = list(values)
    return Statistics(len(found), statistics.fmean(found), statistics.stdev(found) if len(found) > 1 else None)


def read_run(folder: Path, configuration: str, seed: int) -> Run:
    """Read a finished run from metrics.jsonl and result.json.  Raises UserError naming an incomplete file."""
    records, result = folder / "metrics.jsonl", folder / "result.json"
    try:
        found = read_json(result)
        test_mm: Any = found.get("mpjpe_mm") if isinstance(found, dict) else None
        if not is_number(test_mm):
            raise UserError(f"{result} has the mpjpe_mm {test_mm!r:.80}")  # noqa: TRY301
        lines = read_records(records)
        if len(lines) != count_lines(records):
            raise UserError(f"{records} has damaged lines")  # noqa: TRY301
    except UserError as error:
        raise UserError(f"cannot read the result of {folder} ({error}); remove that folder to run it again") from None
    evaluations = tuple(_evaluation(records, line) for line in lines if line["kind"] in SPLITS)
    if not evaluations:
        raise UserError(f"{records} holds no evaluation; remove {folder} to run it again")
    return Run(configuration, seed, evaluations, test_mm)


def _evaluation(records: Path, line: dict[str, Any]) -> EvaluationPoint:
    lacking = [name for name in NEEDED if line.get(name) is None]
    if lacking:
        raise UserError(
            f"{records}: an evaluation lacks {', '.join(lacking)}, as in runs of older versions; "
            f"remove {records.parent} to run it again"
        )
    if not isinstance(line["windows"], int) or not all(is_number(line[name]) and line[name] >= 0 for name in NEEDED):
        raise UserError(f"{records}: an evaluation has impossible numbers; remove {records.parent} to run it again")
    return EvaluationPoint(line["windows"], line["seconds"], line["kind"], line["mpjpe_mm"])


def common_budgets(runs: list[Run]) -> list[int]:
    """At most five numbers of windows after which every run was evaluated: all of them, or a subset in which each is
    about twice the previous one.  Excludes the end of the runs if it is the same for all.
    """
    sparsest = min(runs, key=lambda run: len(run.curve))
    common = [point.windows for point in sparsest.curve if all(run.at(point.windows) for run in runs)]
    if common and all(run.at(common[-1]) == run.curve[-1] for run in runs):
        common.pop()
    if len(common) <= MOST_BUDGETS:
        return common
    positions = {len(common) >> halvings for halvings in range(MOST_BUDGETS)} - {0}
    return [common[position - 1] for position in sorted(positions)]


def mean_curve(runs: list[Run]) -> list[CurvePoint]:
    """The error of one configuration over its seeds, at all numbers of windows at which every seed was evaluated."""
    by_windows = [{point.windows: point for point in run.curve} for run in runs]
    points = []
    for windows in sorted(set.intersection(*(set(found) for found in by_windows))):
        here = [found[windows] for found in by_windows]
        errors = [point.mpjpe_mm for point in here]
        seconds = statistics.fmean(point.seconds for point in here)
        points.append(CurvePoint(windows, seconds, statistics.fmean(errors), min(errors), max(errors)))
    return points
