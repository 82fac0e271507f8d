"""The tables of a study: study.csv, summary.csv and summary.md."""

import csv
import io
import statistics
from dataclasses import dataclass

from glagcn.study.file import Study
from glagcn.study.results import Run, Statistics, common_budgets, statistics_of

EVALUATION_COLUMNS = ("configuration", "seed", "windows", "seconds", "split", "mpjpe_mm")


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
    rows = [
        (run.configuration, run.seed, point.windows, point.seconds, point.split, point.mpjpe_mm)
        for run in runs
        for point in run.evaluations
    ]
    return _csv([EVALUATION_COLUMNS, *rows])


def summary_csv(rows: list[Row]) -> str:
    """summary.csv: mean and sample standard deviation over seeds; the deviation is empty for one seed."""
    budgets = list(rows[0].budgets) if rows else []
    names = [*(f"at_{budget}_windows" for budget in budgets), "at_end", "test"]
    errors = [column for name in names for column in (f"{name}_mm", f"{name}_mm_deviation")]
    lines: list[tuple] = [("configuration", "n", *errors, "windows", "seconds", "windows_per_second")]
    for row in rows:
        cells = [cell for found in _errors(row) for cell in (f"{found.mean:.4f}", _deviation(found, "", 4))]
        times = (round(row.windows), f"{row.seconds:.1f}", f"{row.windows_per_second:.1f}")
        lines.append((row.configuration, row.end.n, *cells, *times))
    return _csv(lines)


def summary_md(study: Study, rows: list[Row], notes: list[str]) -> str:
    """summary.md: title, notes (a paragraph each) and a Markdown table of the summary."""
    budgets = list(rows[0].budgets) if rows else []
    head = ["configuration", "n", *(f"{budget:,} windows" for budget in budgets)]
    head += ["end", "test", "windows/s", "seconds"]
    table = [head]
    for row in rows:
        cells = [f"{found.mean:.2f}" + _deviation(found, " ± ", 2) for found in _errors(row)]
        times = [f"{row.windows_per_second:,.0f}", f"{row.seconds:,.0f}"]
        table.append([row.configuration.replace("|", "\\|"), str(row.end.n), *cells, *times])
    about = (
        f"MPJPE in mm over n seeds, mean ± sample standard deviation: {study.split} error after a number of training "
        "windows and at the end, then the test error of the selected checkpoint. Seconds exclude evaluations."
    )
    return "\n\n".join([f"# {study.title}", about, *notes, _aligned(table)]) + "\n"


def _errors(row: Row) -> list[Statistics]:
    return [*row.budgets.values(), row.end, row.test]


def _deviation(found: Statistics, sign: str, digits: int) -> str:
    return "" if found.deviation is None else f"{sign}{found.deviation:.{digits}f}"


def _aligned(table: list[list[str]]) -> str:
    """A Markdown table with aligned columns: the first to the left, the others to the right."""
    widths = [max(3, *(len(line[column]) for line in table)) for column in range(len(table[0]))]
    rule = [("-" * widths[0]), *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [
        [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        for line in table
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], rule, *lines[1:]])


def _csv(rows: list[tuple]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
