"""The results of a study: the finished runs, and the tables and figures of their mean and deviation over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from glagcn.errors import UserError
from glagcn.evaluate.metrics import METRICS, MPJPE, PCK
from glagcn.files import read_json, write_atomically, write_text
from glagcn.tables import Table
from glagcn.train.run_folder import read_lines

MOST_BUDGETS = 5
NEAR = 0.03  # relative tolerance for the same number of windows: evaluations come after whole batches
AXES = {"windows": "training windows", "seconds": "seconds of training"}
WIDE = {"x": 10, "y": 3}  # an axis is logarithmic if max / min is above this
STYLES = ("-", "--", ":", "-.")  # the next style when the ten colours are used up
COLOURS = 10
LEVEL = 0.95  # of Student's intervals
SHOWN = tuple(metric for metric in METRICS if metric.name in (MPJPE.name, "p_mpjpe_mm", PCK.name))


class Evaluation(NamedTuple):
    """One evaluation during training: training windows and seconds so far, split, and error in mm."""

    windows: int
    seconds: float
    split: str
    mpjpe_mm: float


@dataclass(frozen=True)
class Run:
    """A finished run: all its evaluations, in order, and the test metrics of the selected checkpoint, by name."""

    configuration: str
    seed: int
    evaluations: tuple[Evaluation, ...]
    test: Mapping[str, float]

    @property
    def test_mm(self) -> float:
        """The test error, MPJPE."""
        return self.test[MPJPE.name]

    @property
    def errors(self) -> str:
        """The lowest error of its curve, and the metrics on the test set."""
        best = min(self.curve, key=lambda point: point.mpjpe_mm)
        test = ", ".join(metric.text(self.test[metric.name]) for metric in SHOWN if metric.name in self.test)
        validated = f"validation {MPJPE.text(best.mpjpe_mm)}, " if best.split == "validation" else ""
        return f"{validated}test {test}"

    @property
    def curve(self) -> list[Evaluation]:
        """The evaluations on held-out training sequences if there are such, else those on the test set."""
        validated = [point for point in self.evaluations if point.split == "validation"]
        return validated or list(self.evaluations)

    def at(self, windows: int) -> Evaluation | None:
        """The evaluation of the curve after about `windows` windows; None if there is none."""
        nearest = min(self.curve, key=lambda point: abs(point.windows - windows))
        return nearest if abs(nearest.windows - windows) <= NEAR * windows else None


def read_run(folder: Path, configuration: str, seed: int) -> Run:
    """Read a finished run from metrics.jsonl and result.json.  Raises UserError naming an incomplete file."""
    records, advice = folder / "metrics.jsonl", f"remove {folder} to run it again"
    found = (record for _, record in read_lines(records))
    lines = [record for record in found if record and record["kind"] in ("validation", "test")]
    if not lines:
        raise UserError(f"{records} holds no evaluation; {advice}")
    try:
        points = (Evaluation(line["windows"], line["seconds"], line["kind"], line["mpjpe_mm"]) for line in lines)
        result = read_json(folder / "result.json")
        known = {metric.name for metric in METRICS if isinstance(result.get(metric.name), int | float)} | {MPJPE.name}
        return Run(configuration, seed, tuple(points), {name: result[name] for name in known})
    except (LookupError, TypeError):
        raise UserError(f"{records} or result.json beside it lacks windows, seconds or mpjpe_mm; {advice}") from None


def write_report(
    folder: Path, title: str, split: str, names: Sequence[str], runs: list[Run], notes: Sequence[str]
) -> str:
    """Write study.csv, summary.csv, summary.md and the figures into `folder`.  Returns the summary.

    split  of the curves.
    names  the configurations, in the order of the rows; those without a finished run are left out.
    Raises UserError if a file cannot be written.
    """
    evaluations = Table("configuration", "seed", "windows", "seconds", "split", "mpjpe_mm")
    for run in runs:
        for point in run.evaluations:
            evaluations.add(run.configuration, run.seed, *point)
    full, short = summaries(names, runs)
    about = (
        f"MPJPE in mm over n seeds, mean ± sample standard deviation: {split} error after a number of training "
        "windows and at the end, then the test error of the selected checkpoint, with Student's 95 % interval of its "
        "mean. Seconds exclude evaluations."
    )
    parts = [f"# {title}", about, *notes, short.markdown(), *paired(names, runs)]
    summary = "\n\n".join(parts) + "\n"
    for name, text in (("study.csv", evaluations.csv()), ("summary.csv", full.csv()), ("summary.md", summary)):
        write_text(folder / name, text)
    for against in AXES:
        target = folder / f"error_by_{against}.png"
        if figure := curves_figure(title, split, names, runs, against):
            write_atomically(target, partial(figure.savefig, dpi=120, format="png"))
        else:
            target.unlink(missing_ok=True)
    return summary


def summaries(names: Sequence[str], runs: list[Run]) -> tuple[Table, Table]:
    """A row for each configuration with a finished run, for programs and for readers.

    Mean and sample standard deviation over seeds; the deviation is empty for one seed.  All errors in mm.
    """
    budgets = common_budgets(runs)
    keys = [*(f"at_{budget}_windows" for budget in budgets), "at_end", "test"]
    columns = [column for key in keys for column in (f"{key}_mm", f"{key}_mm_deviation")]
    others = [metric for metric in SHOWN[1:] if runs and all(metric.name in run.test for run in runs)]
    columns += ["test_mm_low", "test_mm_high", *(f"test_{metric.name}" for metric in others)]
    full = Table("configuration", "n", *columns, "windows", "seconds", "windows_per_second")
    headings = [*(f"{budget:,} windows" for budget in budgets), "end", "test", "95 %"]
    short = Table("configuration", "n", *headings, *(metric.title for metric in others), "windows/s", "seconds")
    for name, own in _by_name(names, runs).items():
        ends = [run.curve[-1] for run in own]
        errors = [[point.mpjpe_mm for run in own if (point := run.at(budget))] for budget in budgets]
        errors += [[point.mpjpe_mm for point in ends], [run.test_mm for run in own]]
        windows, seconds = fmean(point.windows for point in ends), fmean(point.seconds for point in ends)
        speed = windows / max(seconds, 1e-9)
        limits = student([run.test_mm for run in own]) if len(own) > 1 else ()
        means = [fmean(run.test[metric.name] for run in own) for metric in others]
        cells = [cell for found in errors for cell in (f"{fmean(found):.4f}", _deviation(found, "{:.4f}"))]
        cells += [f"{limit:.4f}" for limit in limits] or ["", ""]
        cells += [f"{value:.4f}" for value in means]
        full.add(name, len(own), *cells, round(windows), f"{seconds:.1f}", f"{speed:.1f}")
        cells = [f"{fmean(found):.2f}" + _deviation(found, " ± {:.2f}") for found in errors]
        cells += ["{:.2f} to {:.2f}".format(*limits) if limits else "", *(f"{value:.2f}" for value in means)]
        short.add(name, len(own), *cells, f"{speed:,.0f}", f"{seconds:,.0f}")
    return full, short


def paired(names: Sequence[str], runs: list[Run]) -> list[str]:
    """The test errors of all configurations compared with those of the first, seed by seed, as parts of a summary."""
    (first, reference), *others = _by_name(names, runs).items() or [("", [])]
    pairs = {}
    for name, own in others:
        by_seed = {run.seed: run.test_mm for run in own}
        pairs[name] = [(by_seed[run.seed], run.test_mm) for run in reference if run.seed in by_seed]
    if reference and max([len(reference), *map(len, pairs.values())]) < 2:
        return ["One seed: no intervals and no test over seeds. Give several, such as seeds = [0, 1, 2]."]
    table = Table(f"compared with {first}", "n", "difference, mm", "95 %", "p")
    for name, found in pairs.items():
        if len(found) > 1:
            differences, p = [own - first_mm for own, first_mm in found], paired_p(*zip(*found, strict=True))
            low, high = student(differences)
            table.add(name, len(found), f"{fmean(differences):+.2f}", f"{low:+.2f} to {high:+.2f}", f"{p:.2g}")
    about = (
        "Test errors with the same seeds, which train on the same windows in the same order: mean difference, and p of "
        "the paired t-test, not corrected for the number of comparisons."
    )
    return [about, table.markdown()] if table.rows else []


def student(values: Sequence[float]) -> tuple[float, float]:
    """Student's 95 % interval of the mean of two or more numbers; a bootstrap of few would be far too narrow."""
    from scipy import stats  # takes a second to import

    error = max(float(stats.sem(values)), 1e-300)
    low, high = stats.t.interval(LEVEL, len(values) - 1, fmean(values), error)
    return float(low), float(high)


def paired_p(first: Sequence[float], second: Sequence[float]) -> float:
    """The p of the paired t-test of two or more pairs; NaN if all differences are equal."""
    from scipy import stats

    return float(stats.ttest_rel(first, second).pvalue) if np.ptp(np.subtract(first, second)) else np.nan


def common_budgets(runs: list[Run]) -> list[int]:
    """At most five numbers of windows after which every run was evaluated: all of them, or a subset in which each is
    about twice the previous one.  Excludes the end of the runs if it is the same for all.
    """
    if not runs:
        return []
    sparsest = min(runs, key=lambda run: len(run.curve))
    common = [point.windows for point in sparsest.curve if all(run.at(point.windows) for run in runs)]
    if common and all(run.at(common[-1]) == run.curve[-1] for run in runs):
        common.pop()
    if len(common) <= MOST_BUDGETS:
        return common
    positions = {len(common) >> halvings for halvings in range(MOST_BUDGETS)} - {0}
    return [common[position - 1] for position in sorted(positions)]


@rc_context({"text.parse_math": False})  # show a $ in a name as it is
def curves_figure(title: str, split: str, names: Sequence[str], runs: list[Run], against: str) -> Figure | None:
    """The mean error over seeds of each configuration, with its range shaded; None if there is no curve.

    against  the horizontal axis, "windows" or "seconds".
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    values: dict[str, list[float]] = {"x": [], "y": []}
    lines, labels, by_name = [], [], _by_name(names, runs)
    has_seeds = any(len(own) > 1 for own in by_name.values())
    for name, own in by_name.items():
        curve = mean_curve(own)
        if not curve["windows"]:
            continue
        where, mean = curve[against], curve["mean"]
        round_, colour = divmod(names.index(name), COLOURS)
        style: dict[str, Any] = {"color": f"C{colour}", "linestyle": STYLES[round_ % len(STYLES)]}
        lines += axes.plot(where, mean, marker="." if len(mean) < 30 else None, **style)
        axes.fill_between(where, curve["low"], curve["high"], color=style["color"], alpha=0.15, linewidth=0)
        labels.append(f"{name} (n={len(own)})" if has_seeds else name)
        values["x"] += where
        values["y"] += mean
    if not lines:
        return None
    for letter, found in values.items():
        if min(found) > 0 and max(found) > WIDE[letter] * min(found):
            axes.set(**{f"{letter}scale": "log"})
            axis = getattr(axes, f"{letter}axis")
            axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
            axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
            axis.set_minor_formatter(NullFormatter())
    axes.set(xlabel=AXES[against], ylabel=f"{split} MPJPE, mm", title=title)
    axes.grid(alpha=0.3)
    # Explicit lines and labels: an automatic legend skips labels that start with _.
    figure.legend(lines, labels, loc="outside lower center", ncols=3)
    return figure


def mean_curve(runs: list[Run]) -> dict[str, list[float]]:
    """The error of one configuration over its seeds, at all numbers of windows at which every seed was evaluated.

    {"windows", "seconds", "mean", "low", "high"}: the seconds are a mean over the seeds, too; the errors are in mm.
    """
    by_windows = [{point.windows: point for point in run.curve} for run in runs]
    common = sorted(set.intersection(*map(set, by_windows)))
    points = [[found[windows] for found in by_windows] for windows in common]
    errors = [[point.mpjpe_mm for point in seeds] for seeds in points]
    seconds = [fmean(point.seconds for point in seeds) for seeds in points]
    mean, low, high = ([over(values) for values in errors] for over in (fmean, min, max))
    return {"windows": list(common), "seconds": seconds, "mean": mean, "low": low, "high": high}


def _by_name(names: Sequence[str], runs: list[Run]) -> dict[str, list[Run]]:
    found = {name: [run for run in runs if run.configuration == name] for name in names}
    return {name: own for name, own in found.items() if own}


def _deviation(values: list[float], form: str) -> str:
    return form.format(stdev(values)) if len(values) > 1 else ""
