"""What the runs of a study found, read from their folders, and how it spreads over the seeds."""

import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glagcn.errors import UserError

SPLITS = ("validation", "test")
MOST_BUDGETS = 5
NEAR = 0.03  # evaluations come after whole batches: "after as many windows" means within this share of them


@dataclass(frozen=True)
class EvaluationPoint:
    """One evaluation during training: after how many windows and seconds of training, on what, and the error in mm."""

    windows: int
    seconds: float
    split: str
    mpjpe_mm: float


@dataclass(frozen=True)
class Run:
    """A finished run.

    evaluations  all of them, in their order.
    test_mm      the error of the chosen checkpoint on the test set.
    """

    configuration: str
    seed: int
    evaluations: tuple[EvaluationPoint, ...]
    test_mm: float

    @property
    def split(self) -> str:
        """What its curve is of: validation where there is any, else test."""
        return "validation" if any(point.split == "validation" for point in self.evaluations) else "test"

    @property
    def curve(self) -> list[EvaluationPoint]:
        """The evaluations on that split."""
        return [point for point in self.evaluations if point.split == self.split]

    def at(self, windows: int) -> EvaluationPoint | None:
        """The evaluation of the curve after about as many windows; None where there is none."""
        nearest = min(self.curve, key=lambda point: abs(point.windows - windows))
        return nearest if abs(nearest.windows - windows) <= NEAR * windows else None


@dataclass(frozen=True)
class Spread:
    """A value over seeds: how many, the mean, and the sample standard deviation, None for one seed."""

    n: int
    mean: float
    deviation: float | None


@dataclass(frozen=True)
class CurvePoint:
    """The error in mm over seeds after as many windows: the mean, the lowest, the highest; seconds are the mean."""

    windows: int
    seconds: float
    mean: float
    low: float
    high: float


def spread(values: Iterable[float]) -> Spread:
    """The spread of at least one value."""
    found = list(values)
    return Spread(len(found), statistics.fmean(found), statistics.stdev(found) if len(found) > 1 else None)


def read_run(folder: Path, configuration: str, seed: int) -> Run:
    """A finished run, from metrics.jsonl and result.json.  Raises UserError naming the file that lacks something."""
    records, result = folder / "metrics.jsonl", folder / "result.json"
    try:
        lines = [json.loads(line) for line in records.read_text().splitlines()]
        test_mm = json.loads(result.read_text())["mpjpe_mm"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"cannot read the result of {folder} ({error}); remove that folder to run it again") from None
    evaluations = tuple(_evaluation(records, line) for line in lines if line.get("kind") in SPLITS)
    if not evaluations:
        raise UserError(f"{records} holds no evaluation; remove {folder} to run it again")
    return Run(configuration, seed, evaluations, test_mm)


def _evaluation(records: Path, line: dict[str, Any]) -> EvaluationPoint:
    lacking = [name for name in ("windows", "seconds", "mpjpe_mm") if line.get(name) is None]
    if lacking:
        raise UserError(
            f"{records}: an evaluation does not say {', '.join(lacking)}, as runs of earlier versions do not; "
            f"remove {records.parent} to run it again"
        )
    return EvaluationPoint(line["windows"], line["seconds"], line["kind"], line["mpjpe_mm"])


def common_budgets(runs: list[Run]) -> list[int]:
    """At most five numbers of windows after which every run was evaluated: all of them, or each about twice the one
    before.  Without the end of the runs, if that is the same for all.
    """
    sparsest = min(runs, key=lambda run: len(run.curve))
    common = [point.windows for point in sparsest.curve if all(run.at(point.windows) for run in runs)]
    if common and all(run.at(common[-1]) == run.curve[-1] for run in runs):
        common.pop()
    if len(common) <= MOST_BUDGETS:
        return common
    places = {len(common) >> halvings for halvings in range(MOST_BUDGETS)} - {0}
    return [common[place - 1] for place in sorted(places)]


def mean_curve(runs: list[Run]) -> list[CurvePoint]:
    """One configuration's error over its seeds, wherever all of them were evaluated after the same windows."""
    by_windows = [{point.windows: point for point in run.curve} for run in runs]
    points = []
    for windows in sorted(set.intersection(*(set(found) for found in by_windows))):
        here = [found[windows] for found in by_windows]
        errors = [point.mpjpe_mm for point in here]
        seconds = statistics.fmean(point.seconds for point in here)
        points.append(CurvePoint(windows, seconds, statistics.fmean(errors), min(errors), max(errors)))
    return points
