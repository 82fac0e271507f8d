"""`glagcn report`: a run as Markdown, for the appendix of a paper."""

import csv
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from glagcn.checkpoints import ours as checkpoint
from glagcn.config.options import GROUPS, OPTIONS, Config, foreign_options, options_of
from glagcn.config.resolve import from_dict, plain_values, resolve
from glagcn.errors import UserError
from glagcn.evaluate.benchmarks import benchmark_of
from glagcn.evaluate.metrics import shown
from glagcn.files import read_json, write_text
from glagcn.tables import Table
from glagcn.train.reports import SELECTED
from glagcn.train.run_folder import RunFolder, read_lines

logger = logging.getLogger(__name__)

NOT_RECORDED = "not recorded"
OF_MACHINE = ("cpu", "cores", "threads", "memory_gb", "gpu", "cuda", "system", "date")
OF_VERSIONS = ("glagcn", "commit", "torch", "numpy", "python")


def report(path: Path, out: Path | None) -> None:
    """Log the Markdown of `report_text`, or write it to `out`.  Raises UserError."""
    text = report_text(path)
    if out:
        write_text(out, text + "\n")
        logger.info(f"wrote {out}")
    else:
        logger.info(text)


def report_text(path: Path) -> str:
    """Options, data, machine, versions, length and results of the run in the folder `path`, as Markdown.

    Without a result.json, the report says so, and how far the run has come.
    Raises UserError if the folder holds no run, or if one of its files is damaged.
    """
    folder, config = RunFolder(path), _config(path)
    where = next((place for place in (config.run.output, path) if place and (Path(place) / "result.json").exists()), "")
    result = read_json(Path(where) / "result.json") if where else {}
    try:
        parts = [
            f"# Run {path.resolve().name}",
            _facts(config, result, folder),
            "## Options",
            f"The preset is that of --dataset {config.data.dataset} --recipe {config.optim.recipe}. Options that "
            "are not listed have its values.",
            _options(config).markdown(),
            "## Results",
            *(_results(config, result, Path(where)) if result else [_progress(folder)]),
        ]
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise UserError(
            f"{path}: its config.json, result.json or tables are not of this program, or were changed ({problem}); "
            "restore them"
        ) from None
    return "\n\n".join(parts)


def _config(path: Path) -> Config:
    """The options of the run in a folder.  Raises UserError if it holds none."""
    if not (path / "config.json").is_file():
        what = "is a file" if path.is_file() else "has no config.json" if path.is_dir() else "does not exist"
        raise UserError(f"{path} is no run: it {what}; give the folder of a run, such as checkpoint/NAME")
    content = read_json(path / "config.json")
    if not isinstance(content, dict) or "dataset" not in content:
        raise UserError(f"{path / 'config.json'} holds no options of a run; give the folder of a run")
    try:
        return from_dict(content)
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(f"{path / 'config.json'} holds invalid options ({error}); restore it") from None


def _facts(config: Config, result: dict[str, Any], folder: RunFolder) -> str:
    """Data, seed, length, selection, machine and versions, as a list."""
    data, selection = config.data, config.selection
    fingerprint = result.get("data_fingerprint") or _fingerprint(folder)
    held_out = f", held out: {','.join(selection.validation or ())}" if selection.select_on == "validation" else ""
    facts = {
        "data set": ", ".join(filter(None, (data.dataset, data.keypoints, data.annotation))),
        "data fingerprint": fingerprint,
        "seed": config.optim.seed,
        "reported state": f"{SELECTED[selection.select_on]}{held_out}",
    }
    if config.run.resume:
        facts["started from"] = Path(config.run.resume).name
    if result:
        parameters = result.get("parameters")
        facts["parameters"] = NOT_RECORDED if parameters is None else f"{parameters:,}"
        facts["training"] = _length(result, "trained_steps", "trained_windows", "training_seconds")
        facts["processes"] = result.get("processes", NOT_RECORDED)
    versions = result.get("program", {}) | result.get("machine", {})
    for name, keys in (("machine", OF_MACHINE), ("versions", OF_VERSIONS)):
        known = [f"{key} {versions[key]}" for key in keys if versions.get(key) is not None]
        facts[name] = ", ".join(known) or f"{NOT_RECORDED} (the end of a run records it)"
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _fingerprint(folder: RunFolder) -> str:
    """The fingerprint of the data in the newest readable checkpoint."""
    for path in folder.states():
        with suppress(UserError):
            return checkpoint.load(path).get("data_fingerprint") or NOT_RECORDED
    return NOT_RECORDED


def _length(values: dict[str, Any], steps: str, windows: str, seconds: str) -> str:
    """Steps, windows and seconds as text; the arguments are their names in `values`."""
    parts = (steps, "{:,} steps"), (windows, "{:,} windows"), (seconds, "{:,.0f} s")
    return ", ".join(form.format(values[name]) for name, form in parts if values.get(name) is not None) or NOT_RECORDED


def _options(config: Config) -> Table:
    """The main options, and those that differ from the preset; no folders, which say nothing to others."""
    values, foreign = plain_values(config), foreign_options(config.model.kind)
    usual = plain_values(resolve({"dataset": config.data.dataset, "recipe": config.optim.recipe})[0])
    of_run = {option.key for option in options_of(GROUPS["run"])}
    silent = {"run", *foreign} | {
        key for key, option in OPTIONS.items() if option.machine or option.is_path or option.call
    }
    table = Table("option", "value", "preset")
    for key, option in OPTIONS.items():
        is_main = option.common and key not in of_run
        if key not in silent and (is_main or values[key] != usual[key]):
            table.add(option.flag, _cell(values[key]), _cell(usual[key]))
    return table


def _cell(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else "-" if value is None else str(value)


def _progress(folder: RunFolder) -> str:
    """What there is without a result: the length so far, and the last evaluation."""
    records = [record for _, record in read_lines(folder.metrics) if record]
    lines = ["There is no result: the run has not ended, or result.json was removed or written elsewhere (--output)."]
    if folder.stopped.exists():
        lines.append("A signal stopped it; the same command resumes it.")
    lines.append(f"Training so far: {_length(records[-1], 'step', 'windows', 'seconds') if records else 'no records'}.")
    if evaluations := [record for record in records if record["kind"] in ("validation", "test")]:
        last = evaluations[-1]
        lines.append(f"Last evaluation: {last['kind']} MPJPE {shown(last['mpjpe_mm'])} mm, step {last['step']}.")
    return "\n".join(lines)


def _results(config: Config, result: dict[str, Any], folder: Path) -> list[str]:
    """The metrics on the test set with their protocol, and all tables."""
    benchmark = benchmark_of(config.data.dataset)
    scalars = Table("metric", "value")
    for metric in benchmark.scalars:
        scalars.add(metric.title, f"{shown(result.get(metric.name))} {metric.unit}".rstrip())
    for title, key in (("MPJPE of the mean training pose", "mean_pose_mm"), ("MPJPE on validation", "validation_mm")):
        if result.get(key) is not None:
            scalars.add(title, f"{shown(result[key])} mm")
    times, step = result.get("test_evaluations", 1), result.get("step", NOT_RECORDED)
    notes = [
        f"Step of the state: {step}; the test set was evaluated {'once' if times == 1 else f'{times} times'}.",
        f"Predictions are {'' if result.get('flip') else 'not '}averaged with those of mirrored windows; simulated "
        f"detections: {result.get('simulated_detections', 'none')}.",
        *["Training ended early, by --patience."] * bool(result.get("ended_early")),
        *(f"{text}." for text in (*result.get("other_lengths", ()), *result.get("warnings", ()))),
    ]
    parts = [f"Protocol: {benchmark.protocol_line(result)}.", scalars.markdown(), "\n".join(notes)]
    for name, rows in result.items():
        if isinstance(rows, dict) and rows and all(isinstance(row, dict) for row in rows.values()):
            parts += [f"### {name}", _rows(name, rows).markdown()]
    for file in sorted(folder.glob("*.csv")):
        parts += [f"### {file.name}", *(table.markdown() for table in _tables(file))]
    return parts


def _rows(name: str, rows: dict[str, dict[str, Any]]) -> Table:
    """A table of {row: {column: value}}."""
    columns = dict.fromkeys(key for row in rows.values() for key in row if not isinstance(row[key], dict | list))
    return Table(
        name, *columns, rows=([title, *(_number(row.get(key)) for key in columns)] for title, row in rows.items())
    )


def _tables(file: Path) -> list[Table]:
    """The tables of a CSV file: each begins with a line without numbers, its columns."""
    tables: list[Table] = []
    for line in csv.reader(file.read_text(encoding="utf-8").splitlines()):
        if not any(map(_is_number, line)):
            tables.append(Table(*(line if "" not in line[1:] else line[: line.index("", 1)])))
        elif tables:
            tables[-1].add(*map(_number, line[: len(tables[-1].columns)]))
    return [table for table in tables if table.rows]


def _is_number(cell: str) -> bool:
    with suppress(ValueError):
        float(cell)
        return True
    return False


def _number(value: Any) -> str:
    """A cell with two decimals where it is no whole number."""
    if value is None or isinstance(value, bool | int):
        return "n/a" if value is None else str(value)
    return str(value) if not _is_number(value) or str(value).isdecimal() else shown(float(value))
