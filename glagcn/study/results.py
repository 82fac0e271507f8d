"""The results of a study's runs: read them, and write tables and figures of mean and deviation over seeds."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from glagcn.errors import UserError
from glagcn.files import is_number, read_json, write_atomically
from glagcn.study.file import Study
from glagcn.tables import Table
from glagcn.train.run_folder import count_lines, read_records

SPLITS = ("validation", "test")
NEEDED = ("windows", "seconds", "mpjpe_mm")  # of a line of metrics.jsonl
MOST_BUDGETS = 5
NEAR = 0.03  # relative tolerance for the same number of windows: evaluations come after whole batches

AXES = {"windows": "training windows", "seconds": "seconds of training"}
WIDE = {"x": 10, "y": 3}  # an axis is logarithmic if max / min is above this
STYLES = ("-", "--", ":", "-.")  # the next style when the ten colours are used up
COLOURS = 10


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


@dataclass(frozen=True)
class Row:
    """One configuration over its finished seeds.  All errors in mm.

    budgets  {windows: error after this number of training windows}, on the split of the curves.
    end      error at the end of training, on the split of the curves.
    test     test error of the selected checkpoint.
    windows  mean training windows at the end;  seconds  mean training seconds.
    """

    configuration: str
    budgets: dict[int, Statistics]
    end: Statistics
    test: Statistics
    windows: float
    seconds: float

    @property
    def errors(self) -> list[Statistics]:
        """All errors, in the order of the columns."""
        return [*self.budgets.values(), self.end, self.test]

    @property
    def windows_per_second(self) -> float:
        """Training speed, without evaluations."""
        return self.windows / max(self.seconds, 1e-9)


def rows_of(study: Study, runs: list[Run]) -> list[Row]:
    """One row for each configuration with a finished run, in the order of the study file."""
    budgets = common_budgets(runs) if runs else []
    rows = []
    for configuration in study.configurations:
        own = [run for run in runs if run.configuration == configuration.name]
        if own:
            rows.append(_row(configuration.name, own, budgets))
    return rows


def _row(name: str, runs: list[Run], budgets: list[int]) -> Row:
    ends = [run.curve[-1] for run in runs]
    return Row(
        name,
        {budget: statistics_of(at.mpjpe_mm for run in runs if (at := run.at(budget))) for budget in budgets},
        statistics_of(point.mpjpe_mm for point in ends),
        statistics_of(run.test_mm for run in runs),
        statistics.fmean(point.windows for point in ends),
        statistics.fmean(point.seconds for point in ends),
    )


def evaluations_csv(runs: list[Run]) -> str:
    """study.csv: every evaluation of every finished run."""
    table = Table("configuration", "seed", "windows", "seconds", "split", "mpjpe_mm")
    for run in runs:
        for point in run.evaluations:
            table.add(run.configuration, run.seed, point.windows, point.seconds, point.split, point.mpjpe_mm)
    return table.csv()


def summary_csv(rows: list[Row]) -> str:
    """summary.csv: mean and sample standard deviation over seeds; the deviation is empty for one seed."""
    names = [*(f"at_{budget}_windows" for budget in (rows[0].budgets if rows else ())), "at_end", "test"]
    errors = [column for name in names for column in (f"{name}_mm", f"{name}_mm_deviation")]
    table = Table("configuration", "n", *errors, "windows", "seconds", "windows_per_second")
    for row in rows:
        cells = [cell for found in row.errors for cell in (f"{found.mean:.4f}", _deviation(found, "", 4))]
        times = (round(row.windows), f"{row.seconds:.1f}", f"{row.windows_per_second:.1f}")
        table.add(row.configuration, row.end.n, *cells, *times)
    return table.csv()


def summary_md(study: Study, rows: list[Row], notes: list[str]) -> str:
    """summary.md: title, notes (a paragraph each) and a Markdown table of the summary."""
    budgets = [f"{budget:,} windows" for budget in (rows[0].budgets if rows else ())]
    table = Table("configuration", "n", *budgets, "end", "test", "windows/s", "seconds")
    for row in rows:
        cells = [f"{found.mean:.2f}" + _deviation(found, " ± ", 2) for found in row.errors]
        table.add(row.configuration, row.end.n, *cells, f"{row.windows_per_second:,.0f}", f"{row.seconds:,.0f}")
    about = (
        f"MPJPE in mm over n seeds, mean ± sample standard deviation: {study.split} error after a number of training "
        "windows and at the end, then the test error of the selected checkpoint. Seconds exclude evaluations."
    )
    return "\n\n".join([f"# {study.title}", about, *notes, table.markdown()]) + "\n"


def _deviation(found: Statistics, sign: str, digits: int) -> str:
    return "" if found.deviation is None else f"{sign}{found.deviation:.{digits}f}"


def draw_curves(study: Study, runs: list[Run], against: str, target: Path) -> None:
    """Draw the mean error over seeds of each configuration, with its range shaded, to the PNG file `target`.

    Removes an old `target` if there is no curve to draw.
    against  the horizontal axis, "windows" or "seconds".
    Raises UserError if it cannot be written.
    """
    figure = curves_figure(study, runs, against)
    if figure is None:
        target.unlink(missing_ok=True)
        return
    write_atomically(target, lambda file: figure.savefig(file, dpi=120, format="png"))


@rc_context({"text.parse_math": False})  # show a $ in a name as it is
def curves_figure(study: Study, runs: list[Run], against: str) -> Figure | None:
    """The figure of `draw_curves`; None if there is no curve."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    values: dict[str, list[float]] = {"x": [], "y": []}
    lines, labels = [], []
    for number, configuration in enumerate(study.configurations):
        own = [run for run in runs if run.configuration == configuration.name]
        if own and (points := mean_curve(own)):
            lines.append(_draw_line(axes, points, against, number))
            labels.append(f"{configuration.name} (n={len(own)})")
            values["x"] += [getattr(point, against) for point in points]
            values["y"] += [point.mean for point in points]
    if not lines:
        return None
    for name, found in values.items():
        if min(found) > 0 and max(found) > WIDE[name] * min(found):
            _make_logarithmic(axes, name)
    axes.set(xlabel=AXES[against], ylabel=f"{study.split} MPJPE, mm", title=study.title)
    axes.grid(alpha=0.3)
    # Explicit lines and labels: an automatic legend skips labels that start with _.
    figure.legend(lines, labels, loc="outside lower center", ncols=3)
    return figure


def _make_logarithmic(axes, name: str) -> None:
    """Make an axis, "x" or "y", logarithmic, with plain numbers as tick labels."""
    axes.set(**{f"{name}scale": "log"})
    axis = getattr(axes, f"{name}axis")
    axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.set_minor_formatter(NullFormatter())


def _draw_line(axes, points: list[CurvePoint], against: str, number: int) -> Line2D:
    where = [getattr(point, against) for point in points]
    style = {"color": f"C{number % COLOURS}", "linestyle": STYLES[number // COLOURS % len(STYLES)]}
    marker = "." if len(points) < 30 else None
    (line,) = axes.plot(where, [point.mean for point in points], marker=marker, **style)
    low, high = [point.low for point in points], [point.high for point in points]
    axes.fill_between(where, low, high, color=style["color"], alpha=0.15, linewidth=0)
    return line
