"""`glagcn runs` and `glagcn compare`: training runs in a table, and their results side by side.

A run is a folder with config.json, as training writes it.  A result is a folder with result.json: a run that has
finished, or the --output of an evaluation.
"""

import base64
import csv
import html
import io
import re
import socket
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from glagcn.config.options import MAKING, OPTIONS
from glagcn.config.resolve import from_dict, from_values, plain_values
from glagcn.errors import UserError
from glagcn.evaluate.benchmarks import SEQUENCE_CSV
from glagcn.evaluate.metrics import METRICS, MPJPE, Metric
from glagcn.files import read_json, write_text
from glagcn.tables import Table
from glagcn.train.run_folder import read_lines

DEPTHS = ("", "*/", "*/*/", "*/*/*/")  # where runs are looked for below a folder: a study has them in NAME/runs/
LISTED = ("mpjpe_mm", "p_mpjpe_mm", "pck", "auc")  # metrics in the table of runs
DRAWN_FRAMES, MOST_FRAMES = 3, 4000  # skeletons on the page, and the frames in which they are looked for
NO_TIME = 1e10  # seconds; larger numbers are no date
LEVEL, RESAMPLES = 0.95, 9999  # of the bootstrap
# What must be equal in result.json for errors to be comparable: {entry: its name in the warning}.
SAME_TEST = {
    "data_fingerprint": "data fingerprint", "dataset": "data set", "annotation": "3D annotation",
    "keypoints": "test 2D", "simulated_detections": "simulated detections", "frames": "test frames",
    "skeleton": "skeleton", "root": "root", "protocol": "protocol",
}  # fmt: skip
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.45 sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #222 }}
table {{ border-collapse: collapse; display: block; overflow-x: auto }}
th, td {{ padding: 3px 10px; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }}
th:first-child, td:first-child {{ text-align: left }}
img {{ max-width: 100% }}
.warning {{ background: #fde2e1; border-left: 6px solid #c62828; padding: 8px 12px; font-weight: bold }}
</style></head><body>
{body}
</body></html>
"""


@dataclass(frozen=True)
class FoundRun:
    """What a run folder or a folder of results holds."""

    name: str
    path: Path
    options: dict[str, Any]  # resolved; empty for results whose run is not there
    records: list[dict[str, Any]]  # of metrics.jsonl
    result: dict[str, Any]  # of result.json; empty without one

    @property
    def state(self) -> str:
        """Whether it is running, was stopped, or has finished."""
        holder = ""
        with suppress(OSError):
            holder = self.path.resolve().with_name(f".{self.path.resolve().name}.lock").read_text(errors="replace")
        if process := re.match(r"process (\d+) on (\S+)", holder):
            if process[2] != socket.gethostname():
                return f"running on {process[2]}"  # as far as its lock file tells
            if psutil.pid_exists(int(process[1])):
                return "running"
        trained = max((record["step"] for record in self.records if record["kind"] == "train"), default=0)
        return "stopped" if not self.result or trained > _number(self.result.get("trained_steps")) else "finished"

    @property
    def is_scored(self) -> bool:
        """Whether it has an error on the test set."""
        return not np.isnan(_number(self.result.get(MPJPE.name)))

    @property
    def validation_mm(self) -> float:
        """The lowest error on held-out training sequences; NaN without one."""
        errors = [_number(record.get(MPJPE.name)) for record in self.records if record["kind"] == "validation"]
        return min((error for error in errors if error == error), default=np.nan)

    @property
    def when(self) -> float:
        """The time of its newest record, or else of its options, in seconds since 1970."""
        newest = self.last("time")
        return newest if 0 < newest < NO_TIME else (self.path / "config.json").stat().st_mtime

    def last(self, name: str) -> float:
        """The newest value of `name` in metrics.jsonl; NaN without one."""
        return next((_number(record[name]) for record in reversed(self.records) if name in record), np.nan)

    @cached_property
    def parts(self) -> dict[str, dict[str, dict[str, float]]]:
        """{"action" or "sequence": {name: {metric: value}}} of the test set, where known.

        Those of sequences of MPI-INF-3DHP are in the official table beside result.json.
        """
        found = {}
        for level in ("action", "sequence"):
            rows = self.result.get(f"{level}s")
            named = {name: _metrics(row) for name, row in rows.items()} if isinstance(rows, dict) else {}
            found[level] = {name: values for name, values in named.items() if values}
        if not found["sequence"]:
            found["sequence"] = _official_sequences(self.path / SEQUENCE_CSV)
        return found


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else np.nan


def _metrics(row: Any) -> dict[str, float]:
    """The metrics of a row that have a value."""
    values = {metric.name: _number(row.get(metric.name)) for metric in METRICS} if isinstance(row, dict) else {}
    return {name: value for name, value in values.items() if value == value}


def _official_sequences(path: Path) -> dict[str, dict[str, float]]:
    """MPJPE, PCK and AUC of each sequence in the official CSV of MPI-INF-3DHP; empty without the file."""
    blocks = {"": ("mpjpe_mm", "Average"), "PCK": ("pck", "Total"), "AUC": ("auc", "Total")}
    found: dict[str, dict[str, float]] = {}
    with suppress(OSError, ValueError, IndexError):
        metric, column = "", 0
        for line in list(csv.reader(path.read_text(encoding="utf-8").splitlines()))[1:]:
            if line[0] in blocks:
                metric, heading = blocks[line[0]]
                column = line.index(heading)
            elif (value := float(line[column])) == value:
                found.setdefault(line[0], {})[metric] = value
    return found


def _read_object(path: Path) -> dict[str, Any]:
    """The content of a JSON file.  Raises UserError if it is not an object."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} is not as this program writes it; restore or remove it")
    return content


def read_folder(folder: Path, name: str = "") -> FoundRun:
    """Read a folder of a run or of results.  Raises UserError that names what is missing or damaged."""
    config, result = folder / "config.json", folder / "result.json"
    content = _read_object(config) if config.exists() else None
    if content is None and not result.exists():
        raise UserError(f"{folder} holds neither a run (config.json) nor results (result.json)")
    try:
        moved = Path(content["output"]) / "result.json" if content is not None and content.get("output") else result
        scores = _read_object(moved if moved.exists() else result) if moved.exists() or result.exists() else {}
        origin = Path(scores.get("checkpoint") or "").parent / "config.json"
        if content is None and origin.exists():  # of an evaluation: the options of the run it is of
            content = _read_object(origin)
        options = {} if content is None else plain_values(from_dict(content))
    except UserError as error:
        raise UserError(str(error) if str(folder) in str(error) else f"{folder}: {error}") from None
    except (TypeError, ValueError, LookupError, AttributeError):
        raise UserError(
            f"{folder}: config.json or result.json is not as this program writes it; restore or remove it"
        ) from None
    records = [record for _, record in read_lines(folder / "metrics.jsonl") if record]
    return FoundRun(name or folder.resolve().name, folder, options, records, scores)


def find_runs(folder: Path) -> tuple[list[FoundRun], list[str]]:
    """The runs in a folder and up to three folders below, by name, and what is wrong with those that are damaged.

    Raises UserError if there is none that can be read.
    """
    paths = sorted({path.parent for depth in DEPTHS for path in folder.glob(f"{depth}config.json")})
    if not paths:
        problem = "no run in it or up to three folders below" if folder.is_dir() else "no such folder"
        raise UserError(f"{folder}: {problem}; give the folder of runs (-c of training), or the --out of a study")
    names = ["" if path == folder else path.relative_to(folder).as_posix() for path in paths]
    runs, problems = _readable(zip(paths, names, strict=True))
    if not runs:
        raise UserError("\n".join(problems))
    return runs, problems


def _readable(named: Iterable[tuple[Path, str]]) -> tuple[list[FoundRun], list[str]]:
    """The runs in folders (folder, name), and the problems of those that cannot be read."""
    runs, problems = [], []
    for folder, name in named:
        try:
            runs.append(read_folder(folder, name))
        except UserError as error:
            problems.append(str(error))
    return runs, problems


def runs_table(folder: Path) -> str:
    """A row for each run in a folder, the newest last, what they have in common, and which are damaged, as text."""
    runs, problems = find_runs(folder)
    runs.sort(key=lambda run: run.when)
    metrics = [metric for metric in METRICS if metric.name in LISTED]
    texts = [{key: _flag_text(key, run.options[key]) for key in _differing(runs)} for run in runs]
    usual = {key: Counter(text[key] for text in texts).most_common(1)[0][0] for key in texts[0]}
    others = [", ".join(text[key] for key in text if text[key] != usual[key]) or "-" for text in texts]
    width = max(map(len, [*others, "what differs"]))
    table = Table(
        "run", "state", "windows", "validation", *(metric.title for metric in metrics), "seconds", "when",
        "what differs".ljust(width),
    )  # fmt: skip
    for run, other in zip(runs, others, strict=True):
        table.add(
            run.name, run.state, _shown(run.last("windows"), ",.0f"), _shown(run.validation_mm),
            *(_shown(_number(run.result.get(metric.name))) for metric in metrics), _shown(run.last("seconds"), ",.0f"),
            f"{datetime.fromtimestamp(run.when):%Y-%m-%d %H:%M}", other.ljust(width),
        )  # fmt: skip
    lines = [table.text(left=2), "", "Errors in mm: the lowest MPJPE on validation, and the metrics on the test set."]
    lines += [f"Where a run does not say otherwise: {', '.join(usual.values())}."] if usual else []
    lines += ["One run: nothing to compare it with."] * (len(runs) == 1)
    return "\n".join([*lines, *_left_out(problems)])


def _flag_text(key: str, value: Any) -> str:
    """An option as on a command line."""
    if value is None or isinstance(value, bool):
        return f"{'' if value else 'no '}{OPTIONS[key].flag}"
    return f"{OPTIONS[key].flag} {option_text(value)}"


def _left_out(problems: list[str]) -> list[str]:
    return [f"Left out: {problem}" for problem in problems]


def compare(folders: Sequence[Path], csv_file: Path | None, html_file: Path | None) -> str:
    """Compare results with those of the first folder.  Returns the tables as text.

    folders    of runs or results; one alone stands for all finished runs in it.
    csv_file   gets all metrics;  html_file  a page with the tables and the curves.
    Raises UserError for fewer than two results, or a file that cannot be written.
    """
    runs, problems = _to_compare(folders)
    warnings = [*_other_tests(runs), *_left_out(problems)]
    options, (differences, notes) = _options(runs), paired_differences(runs)
    if not options.rows:
        notes.insert(0, "No option differs." if all(run.options for run in runs) else "The options are not all known.")
    notes.append(
        f"Differences are from {runs[0].name}. Intervals are over test sequences or actions: other seeds may differ by "
        "more (`glagcn study` trains several)."
    )
    summary = {"Options that differ": options, "Paired differences": differences}
    summary = {title: table for title, table in summary.items() if table.rows}
    brief: dict[str, Table] = {}  # for a terminal: the sequences of Human3.6M are hundreds
    whole: dict[str, Table] = {}
    for metric in METRICS:
        unit, found = f", {metric.unit}" if metric.unit else "", {}
        for level in ("action", "sequence"):
            if table := _side_by_side(runs, level, metric):
                found[f"{metric.title}{unit}, by {level}"] = table
        brief |= dict(list(found.items())[:1])
        whole |= found
    written = []
    if csv_file:
        written.append(write_text(csv_file, _all_metrics(runs).csv()))
    if html_file:
        written.append(write_text(html_file, _page(runs, warnings, summary, notes, whole)))
    texts = [f"{title}\n{table.text(left=1)}" for title, table in (brief | summary).items()]
    return "\n\n".join([*warnings, *texts, *notes, *(f"Written: {path}" for path in written)])


def _to_compare(folders: Sequence[Path]) -> tuple[list[FoundRun], list[str]]:
    """The results to compare, with different names, and why others are left out.

    Raises UserError for fewer than two.
    """
    first = folders[0]
    if len(folders) > 1:
        names = [folder.resolve().name for folder in folders]
        names = [name if names.count(name) == 1 else str(path) for name, path in zip(names, folders, strict=True)]
        names = [name if names.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names, 1)]
        runs, problems = _readable(zip(folders, names, strict=True))
        problems += [
            f"{run.path} has no result{'' if run.result else ' yet; the command that started the run goes on with it'}"
            for run in runs
            if not run.is_scored
        ]
    elif any((first / name).exists() for name in ("config.json", "result.json")):
        raise UserError(f"{first} alone cannot be compared; give two or more folders of runs or results")
    else:
        runs, problems = find_runs(first)
    runs = [run for run in runs if run.is_scored]
    if len(runs) < 2:
        found = "\n".join([f"comparing needs two results, and there {'is one' if runs else 'is none'}", *problems])
        raise UserError(found if len(folders) > 1 else f"{first}: {found}")
    return runs, problems


def _other_tests(runs: list[FoundRun]) -> list[str]:
    """A warning if the results are not of the same test."""
    found = []
    for key, title in SAME_TEST.items():
        names: dict[str, list[str]] = {}
        for run in runs:
            names.setdefault(option_text(run.result.get(key)), []).append(run.name)
        if len(names) > 1:
            parts = (f"{value} ({', '.join(own)})" for value, own in names.items())
            found.append(f"{title} {' / '.join(parts)}")
    return [f"WARNING: NOT THE SAME TEST, errors cannot be compared: {'; '.join(found)}"] if found else []


def _differing(runs: list[FoundRun]) -> list[str]:
    """The options in which the runs differ."""
    known = [run.options for run in runs if run.options]
    return [key for key in MAKING if any(options[key] != known[0][key] for options in known)]


def option_text(value: Any) -> str:
    """The value of an option as on a command line; "-" for None."""
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _options(runs: list[FoundRun]) -> Table:
    rows = ([OPTIONS[key].flag, *(option_text(run.options.get(key)) for run in runs)] for key in _differing(runs))
    return Table("option", *(run.name for run in runs), rows=rows)


def _side_by_side(runs: list[FoundRun], level: str, metric: Metric) -> Table | None:
    """A metric by action or sequence, a column for each run and the difference from the first; None if not known."""
    parts = [run.parts[level] for run in runs]
    names = [name for name in dict.fromkeys(name for part in parts for name in part)
             if any(metric.name in part.get(name, {}) for part in parts)]  # fmt: skip
    columns = (column for run in runs[1:] for column in (run.name, "difference"))
    table = Table(level, runs[0].name, *columns)
    lines = [(name, [part.get(name, {}).get(metric.name, np.nan) for part in parts]) for name in names]
    whole = [_number(run.result.get(metric.name)) for run in runs]
    if not names and (
        level == "action" or any(metric.name in row for run in runs for row in run.parts["action"].values())
    ):
        return None
    if not np.isnan(whole).all():
        lines.append(("whole test set", whole))
    for name, (first, *others) in lines:
        cells = [cell for other in others for cell in (_shown(other), _shown(other - first, "+.2f"))]
        table.add(name, _shown(first), *cells)
    return table if lines else None


def _shown(value: float, form: str = ".2f") -> str:
    return "-" if np.isnan(value) else f"{value:{form}}"


def paired_differences(runs: list[FoundRun]) -> tuple[Table, list[str]]:
    """The mean difference of every metric from the first run over common sequences, with its interval, and notes.

    A metric that is not known by sequence is compared by action.
    """
    table = Table("run", "metric", "pairs", "lower in", "mean difference", "95 % interval")
    notes = []
    for run in runs[1:]:
        single = []
        for metric in METRICS:
            for level in ("sequence", "action"):
                first, other = runs[0].parts[level], run.parts[level]
                values = [(row.get(metric.name), other.get(name, {}).get(metric.name)) for name, row in first.items()]
                differences = [b - a for a, b in values if a is not None and b is not None]
                if differences:
                    low, high = interval(differences)
                    limits = "-" if np.isnan(low) else f"{low:+.2f} to {high:+.2f}"
                    pairs = f"{len(differences)} {level}{'s' * (len(differences) > 1)}"
                    lower = sum(difference < 0 for difference in differences)
                    table.add(run.name, metric.title, pairs, lower, f"{np.mean(differences):+.2f}", limits)
                    single += [metric.title] * (len(differences) == 1)
                    break
        if single:
            notes.append(f"{run.name}: one pair of values, so there is no interval ({', '.join(single)}).")
    if not table.rows:
        notes.append("No paired differences: the results have no sequence or action in common.")
    return table, notes


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """The bootstrap 95 % interval (BCa) of the mean of paired differences, always with the same resamples.

    NaN for a single one.
    """
    if len(differences) < 2:
        return np.nan, np.nan
    if np.ptp(differences) < 1e-9:  # every resample has the same mean
        return float(np.mean(differences)), float(np.mean(differences))
    from scipy.stats import bootstrap  # takes a second to import

    found = bootstrap(
        (differences,), np.mean, confidence_level=LEVEL, n_resamples=RESAMPLES, random_state=np.random.default_rng(0)
    ).confidence_interval
    return float(found.low), float(found.high)


def _all_metrics(runs: list[FoundRun]) -> Table:
    """A row for each option that differs, and for each metric of the whole test set, of an action or of a sequence."""
    table = Table("level", "name", "metric", *(run.name for run in runs))
    for flag, *values in _options(runs).rows:
        table.add("option", flag, "", *values)
    for level in ("all", "action", "sequence"):
        parts = [{"all": _metrics(run.result)} if level == "all" else run.parts[level] for run in runs]
        for name in dict.fromkeys(name for part in parts for name in part):
            for metric in METRICS:
                values = [part.get(name, {}).get(metric.name, "") for part in parts]
                if any(value != "" for value in values):
                    table.add(level, name, metric.name, *values)
    return table


def _page(
    runs: list[FoundRun], warnings: list[str], summary: dict[str, Table], notes: list[str], details: dict[str, Table]
) -> str:
    """A page of HTML that needs no other file: the tables, and the pictures as PNG inside it."""
    names = [html.escape(run.name) for run in runs]
    title = f"{', '.join(names[:-1])} and {names[-1]}"
    body = [f"<h1>{title}</h1>", *(f'<p class="warning">{html.escape(text)}</p>' for text in warnings)]
    body += [_table(*titled) for titled in summary.items()]
    body += [f"<p>{html.escape(note)}</p>" for note in notes]
    if picture := _curves(runs):
        body.append(f'<h2>While training</h2>\n<img alt="errors by training windows" src="{picture}">')
    else:
        body.append("<p>No curves: the folders have no evaluations in metrics.jsonl.</p>")
    try:
        alt = "true poses, and those of every result over them"
        body.append(f'<h2>Where they differ most</h2>\n<img alt="{alt}" src="{_skeletons(runs)}">')
    except UserError as error:
        body.append(f"<p>{html.escape(f'No skeletons: {error}')}</p>")
    body += [_table(*titled) for titled in details.items()]
    return PAGE.format(title=title, body="\n".join(body))


def _table(title: str, table: Table) -> str:
    """A table of HTML below its title."""
    rows = [f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>" for row in table.rows]
    head = "".join(f"<th>{html.escape(column)}</th>" for column in table.columns)
    return f"<h2>{html.escape(title)}</h2>\n<table><tr>{head}</tr>\n{''.join(rows)}</table>"


def _curves(runs: list[FoundRun]) -> str:
    """The errors while training, one line for each run, as the address of a picture; empty if none has any."""
    from glagcn.study.results import Evaluation, Run, curves_figure

    drawn = []
    for run in runs:
        points = []
        for record in run.records:
            windows, seconds, error = (_number(record.get(key)) for key in ("windows", "seconds", MPJPE.name))
            if record["kind"] in ("validation", "test") and not np.isnan([windows, seconds, error]).any():
                points.append(Evaluation(int(windows), seconds, record["kind"], error))
        if points:
            drawn.append(Run(run.name, run.options.get("seed", 0), tuple(points), {}))
    splits = " and ".join(sorted({point.split for run in drawn for point in run.curve}))
    figure = curves_figure("", splits, [run.configuration for run in drawn], drawn, "windows")
    return _picture(figure) if figure else ""


def _picture(figure: Any) -> str:
    """A matplotlib figure as an address that holds the whole picture."""
    stream = io.BytesIO()
    figure.savefig(stream, dpi=110, format="png")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _skeletons(runs: list[FoundRun]) -> str:
    """The frames of different sequences in which the results differ most, as the address of a picture.

    The models predict up to 4,000 evenly spaced frames of the test set anew.  Raises UserError if checkpoints or data
    are not there, or the results are not of the same test.
    """
    from glagcn import dist  # these import torch and take seconds
    from glagcn.checkpoints.load import load
    from glagcn.config.open_data import open_data
    from glagcn.evaluate.evaluate import place_test_set, predict_frames, select_test
    from glagcn.evaluate.figures import poses_figure
    from glagcn.model.cores import full_precision

    if _other_tests(runs):
        raise UserError("the results are not of the same test")
    predicted = []
    for run in runs:
        if not run.options:
            raise UserError(f"the run of {run.path} is not there")
        as_scored = {key: run.result[key] for key in ("keypoints", "annotation") if key in run.result}
        config, best = from_values(run.options | as_scored), run.path / "best.pt"
        loaded = load(best if best.exists() else Path(run.result.get("checkpoint") or best))
        path = loaded.content and loaded.content.get("data_path")
        cache = open_data(config.data, Path(path) if path else None)
        if cache.fingerprint != run.result.get("data_fingerprint"):
            raise UserError(f"{cache.path} has other data than the results of {run.path}")
        split, frames = select_test(config, cache)
        frames = frames[np.linspace(0, len(frames) - 1, min(MOST_FRAMES, len(frames))).round().astype(int)]
        model = loaded.model.to(dist.device())
        with full_precision():
            store = place_test_set(cache, model, split, frames).store
            predicted.append(predict_frames(model, store, frames, flip=config.data.test_flip, zero_root=True))
    target = split.millimetres[frames]
    target = target - target[:, store.skeleton.root, None]
    apart = np.max([np.linalg.norm(poses - predicted[0], axis=-1).mean(axis=-1) for poses in predicted[1:]], axis=0)
    sequences = np.searchsorted(split.starts, frames, side="right") - 1
    chosen: list[int] = []
    for number in np.argsort(-apart):
        if len(chosen) < DRAWN_FRAMES and sequences[number] not in sequences[chosen]:
            chosen.append(int(number))
    titles = []
    for number in chosen:
        errors = [np.linalg.norm(poses[number] - target[number], axis=-1).mean() for poses in predicted]
        frame = frames[number] - split.starts[sequences[number]]
        name = split.sequences[sequences[number]].name
        titles.append(f"{name}, frame {frame}\nerrors {', '.join(f'{error:.0f}' for error in errors)} mm")
    poses = {run.name: found[chosen] for run, found in zip(runs, predicted, strict=True)}
    return _picture(poses_figure(titles, target[chosen], poses, store.skeleton))
