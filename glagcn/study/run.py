"""`glagcn study FILE`: train several configurations with the same seeds, and compare them.

    title = "Where the weights start"
    seeds = [0, 1, 2]
    common = "--dataset demo --epochs 2"

    [configurations]
    published = "--recipe published"
    "no dropout" = "--dropout 0"

    [grid]                              # every combination of these, for each of the configurations if there are any
    lr = [0.004, 0.008]
    dropout = {from = 0, to = 0.2, step = 0.1}          # or {from = 1e-3, to = 1e-1, count = 3, log = true}

The values are flags of `glagcn train`.  The flags of a configuration override the common flags.  Every run is a
process of its own, forked from one that has imported everything: it starts without the seconds that imports take, and
with no state of another run.  The same command starts what is not finished, and reports what is.
"""

import contextlib
import importlib
import json
import logging
import math
import multiprocessing
import multiprocessing.connection
import os
import re
import shlex
import signal
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from glagcn import dist
from glagcn.config.open_data import fingerprint_now, prepare_cache
from glagcn.config.options import GROUPS, OPTIONS, Config, RenderConfig, options_of
from glagcn.config.parse import flag_words, parse_flags
from glagcn.config.resolve import plain_values, resolve, to_dict
from glagcn.errors import UserError
from glagcn.files import make_folder, read_json, write_errors, write_text
from glagcn.machine import cores

if TYPE_CHECKING:
    from glagcn.study.results import Run

logger = logging.getLogger(__name__)

KEYS = ("title", "seeds", "common", "configurations", "grid")
RANGE = "{from = 0, to = 0.2, step = 0.1} or {from = 1e-3, to = 1e-1, count = 3, log = true}"
MOST_RUNS = 1000
NAME = re.compile(r"(?=.*\w)[^,\s]([^,]{0,98}[^,\s])?")
# What a run imports, some of it only when it comes to it.
IMPORTED = (
    "glagcn.cli",
    "glagcn.commands.train",
    "glagcn.evaluate.figures",
    "torch.utils.tensorboard",
    "matplotlib.pyplot",
)
POLL_INTERVAL_S = 0.1
TERMINATE_TIMEOUT_S = 10.0
STOPPING = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Configuration:
    """A row of the table: its flags, the common ones first, and the values of these flags, by option."""

    name: str
    arguments: tuple[str, ...]
    given: dict[str, Any]

    @property
    def folder(self) -> str:
        """The start of the names of its run folders."""
        return re.sub(r"[^\w.-]+", "_", self.name).strip("_.")


@dataclass(frozen=True)
class Study:
    """A valid study file."""

    title: str
    seeds: tuple[int, ...]
    configurations: tuple[Configuration, ...]
    select_on: str  # of all configurations
    other_windows: tuple[str, ...]  # flags in which they differ and the training windows depend on; usually empty


def read_study(path: Path) -> Study:
    """Read and check a study file.  Raises UserError naming file, key and what to do."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; give a study file (TOML)") from None
    except (ValueError, RecursionError) as error:  # from TOML or UTF-8
        advice = "put names with spaces, and all flags, in quotes, and use every name once"
        raise UserError(f"{path} is not TOML: {error}; {advice}") from None
    if unknown := content.keys() - set(KEYS):
        raise UserError(f"{path}: unknown key {min(unknown)}: must be one of {', '.join(KEYS)}")
    try:
        return _study(path, content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _study(path: Path, content: dict[str, Any]) -> Study:
    title, seeds = content.get("title", path.stem), content.get("seeds", [0])
    seeds = _range("seeds", seeds) if isinstance(seeds, dict) else seeds
    if not isinstance(title, str):
        raise UserError(f"invalid title {title!r}: must be text in quotes")
    integers = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not integers or not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"invalid seeds {seeds!r}: must be different integers from 0 up, such as [0, 1, 2]")
    common, given = _flags("common", content.get("common", ""))
    configurations: list[Configuration] = []
    resolved: list[Config] = []
    for name, text in _named(content.get("configurations", {}), content.get("grid", {}), len(seeds)).items():
        if not NAME.fullmatch(name):
            raise UserError(
                f"invalid configurations.{name!r}: must be 1 to 100 characters, without commas and without spaces "
                "around it, so that --only NAME,... can select it"
            )
        own, values = _flags(f"configurations.{name}", text)
        found = Configuration(name, common + own, given | values)
        for other in configurations:
            if other.folder.lower() == found.folder.lower():  # also on file systems that ignore case
                raise UserError(f"{other.name!r} and {name!r} would share a run folder; rename one of them")
        configurations.append(found)
        try:
            resolved.append(resolve(found.given | {"seed": max(seeds)})[0])
        except UserError as error:
            raise UserError(f"configurations.{name} (after common): {error}") from None
    windows = _differences(resolved)
    return Study(title, tuple(seeds), tuple(configurations), resolved[0].selection.select_on, windows)


def _named(table: Any, grid: Any, seeds: int) -> dict[str, Any]:
    """{name: flags} of the configurations in the table, combined with every point of the grid."""
    if not isinstance(table, dict) or not isinstance(grid, dict) or (not table and not grid):
        raise UserError(
            'no configurations; add [configurations] and below it lines NAME = "FLAGS", or [grid] and lines FLAG = '
            "[VALUES]"
        )
    axes = {key: _range(f"grid.{key}", value) for key, value in grid.items()}
    count = math.prod(map(len, axes.values())) * max(1, len(table)) * seeds
    if count > MOST_RUNS:
        sizes = {key: len(values) for key, values in axes.items()} | {"configurations": len(table), "seeds": seeds}
        factors = " x ".join(f"{size:,} ({key})" for key, size in sizes.items() if size)
        raise UserError(f"{count:,} runs, {factors}: must be at most {MOST_RUNS:,}; leave some out")
    if not axes:
        return table
    points = {}
    for values in product(*axes.values()):
        words = [word for key, value in zip(axes, values, strict=True) for word in flag_words("grid: ", key, value)]
        texts = ("+".join(map(str, value)) if isinstance(value, list) else f"{value}" for value in values)
        points[" ".join(f"{key}={text}" for key, text in zip(axes, texts, strict=True))] = shlex.join(words)
    return (
        points
        if not table
        else {
            f"{name} {point}": f"{text} {flags}" if isinstance(text, str) else text
            for name, text in table.items()
            for point, flags in points.items()
        }
    )


def _range(key: str, value: Any) -> list[Any]:
    """The values of a list, or of a range {from, to, step} or {from, to, count, log}, its end included."""
    if isinstance(value, list) and value:
        return value
    numbers = {name: entry for name, entry in value.items() if name != "log"} if isinstance(value, dict) else {}
    log, whole = numbers and value.get("log", False), all(type(entry) is int for entry in numbers.values())
    forms = {"from", "to", "step"}, {"from", "to", "count"}
    if numbers.keys() not in forms or any(type(entry) not in (int, float) for entry in numbers.values()):
        raise UserError(f"invalid {key} {value!r}: must be a list of values or a range, {RANGE}")
    first, last = numbers["from"], numbers["to"]
    parts = numbers["count"] - 1 if "count" in numbers else numbers["step"] and (last - first) / numbers["step"] + 1e-9
    if not 0 <= parts < math.inf or type(log) is not bool or (log and ("step" in numbers or not 0 < first <= last)):
        raise UserError(f"invalid {key} {value!r}: must be a range that goes up, {RANGE}")
    if parts >= MOST_RUNS:
        raise UserError(f"{key} has {parts + 1:,.0f} values: must be at most {MOST_RUNS:,}; give fewer")
    found = []
    for number in range(int(parts) + 1):
        step = numbers.get("step", (last - first) / max(parts, 1))
        point = first * (last / first) ** (number / max(parts, 1)) if log else first + number * step
        point = float(f"{point:.9g}") if type(point) is float else point
        found.append(int(point) if whole and point == int(point) else point)
    return found


def _flags(key: str, text: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The flags in a line of text, and their values by option."""
    if not isinstance(text, str):
        raise UserError(f'invalid {key} {text!r}: must be flags of `glagcn train` in quotes, or ""')
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UserError(f"{key} = {text!r} does not parse ({error}); close every quotation mark") from None
    try:
        given = parse_flags(words)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None
    for option in options_of(*GROUPS.values(), RenderConfig):
        if option.key in given and option.not_in_study:
            raise UserError(f"{key} has {option.flag}, which a study cannot have: {option.not_in_study}. Leave it out")
    return words, given


def _differences(resolved: list[Config]) -> tuple[str, ...]:
    """Study.other_windows.  Raises UserError if the errors of the configurations cannot be compared."""
    windows, values = [], [plain_values(config) for config in resolved]
    for key, option in OPTIONS.items():
        first, *others = dict.fromkeys(value[key] for value in values)
        if others and option.same_in_study:
            raise UserError(
                f"configurations: {option.flag} is {first} in one and {others[0]} in another, so their errors cannot "
                "be compared; give it once, in common"
            )
        if others and option.windows:
            windows.append(option.flag)
    return tuple(windows)


@dataclass(frozen=True)
class Job:
    """One run: a configuration with a seed."""

    configuration: Configuration
    seed: int
    arguments: tuple[str, ...]  # all flags of its command
    config: Config
    run_folder: Path
    log: Path  # the output of its process
    mark: Path  # says that it has finished, with which options: result.json may be of a shorter run

    def run(self) -> "Run":
        """What its folder holds.  Raises UserError naming an incomplete file."""
        from glagcn.study.results import read_run  # with Matplotlib: while the first run trains

        return read_run(self.run_folder, self.configuration.name, self.seed)

    def options(self) -> dict[str, Any]:
        """The options that make it this run; not those that the study sets, or that depend on the machine."""
        ignored = {key for key, option in OPTIONS.items() if option.not_in_study or option.machine}
        return {key: value for key, value in to_dict(self.config).items() if key not in ignored}

    @property
    def is_finished(self) -> bool:
        """Whether it has finished with these options and the current data (any if there is none now)."""
        try:
            marked, result = read_json(self.mark), read_json(self.run_folder / "result.json")
        except UserError:
            return False
        options, data = self.options(), fingerprint_now(self.config.data)
        same = isinstance(marked, dict) and {key: marked.get(key) for key in options} == options
        return same and isinstance(result, dict) and data in (None, result.get("data_fingerprint"))


def run_study(
    path: Path, out: Path | None, at_once: int | None, root_path: str | None, only: tuple[str, ...] | None
) -> None:
    """Run or resume a study.

    out, root_path  None: study/NAME of the file, and the data folder in the file.
    at_once         number of parallel runs; None: one per CUDA device, or one.
    only            names of the configurations to run; None: all.
    Raises UserError for an invalid file or option before anything runs, and at the end if runs failed or were stopped.
    """
    if dist.world_size() > 1:
        raise UserError("glagcn study starts the processes it needs; call it without torchrun or accelerate launch")
    study = read_study(path)
    if at_once is not None and at_once < 1:
        raise UserError(f"invalid --jobs {at_once}: must be at least 1")
    names = [configuration.name for configuration in study.configurations]
    if unknown := [name for name in only or () if name not in names]:
        listed = ", ".join(map(repr, names))
        raise UserError(f"invalid --only {unknown[0]!r}: must be among the configurations of {path}: {listed}")
    _prepare_processes()
    devices = _devices(at_once)
    out = out or Path("study") / path.stem
    pairs = [(configuration, seed) for seed in study.seeds for configuration in study.configurations]
    jobs = [_job(configuration, seed, out / "runs", root_path, len(devices)) for configuration, seed in pairs]
    make_folder(out / "runs", "--out")
    chosen = [job for job in jobs if only is None or job.configuration.name in only]
    for job in jobs:  # make the caches before runs start in parallel
        if job.is_finished:
            with contextlib.suppress(UserError):  # a finished study does not need its data
                prepare_cache(job.config.data)
        elif job in chosen:
            prepare_cache(job.config.data)
    missing = [job for job in chosen if not job.is_finished]
    logger.info(f"{path}: {len(jobs)} runs, {len(missing)} to do, {len(devices)} at once; results in {out}")
    failures: list[str] = []
    visible = sys.stderr.isatty() and sys.stdout.isatty()
    bar = tqdm(total=len(missing), unit="run", smoothing=0, dynamic_ncols=True, disable=not visible or not missing)
    count, began = 0, time.monotonic()

    def ended(job: Job, error: str | None) -> None:
        """Report a run that has ended."""
        nonlocal count
        count += 1
        bar.update()
        left = timedelta(seconds=round((time.monotonic() - began) / count * (len(missing) - count)))
        about = f"{count} of {len(missing)} runs" + (f", about {left} left" if count < len(missing) else "")
        if error is None:
            write_text(job.mark, json.dumps(job.options(), indent=2) + "\n")
            logger.info(f"{job.config.run_name}: {job.run().errors} ({about})")
            _report(study, jobs, failures, out)
        else:
            failures.append(f"{job.configuration.name}, seed {job.seed}: {error} (log: {job.log})")
            logger.info(f"FAILED: {failures[-1]} ({about})")

    with bar:
        stopped = run_jobs(missing, devices, ended)
    logger.info("\n" + _report(study, jobs, failures, out))
    if stopped:
        raise UserError("the study was stopped; the same command resumes its runs from their last checkpoints")
    if failures:
        raise UserError(
            f"{len(failures)} of {len(missing)} runs failed:\n" + "\n".join(failures) + "\nThe same command tries "
            f"again. To start a run over, remove its folder in {out}/runs; --out DIR keeps the old ones"
        )


def _prepare_processes() -> None:
    """Start the process from which the runs are forked: it imports what they need while this one goes on."""
    if hasattr(os, "fork"):
        from multiprocessing import forkserver

        forkserver.set_forkserver_preload([*IMPORTED])
        forkserver.ensure_running()


def _devices(at_once: int | None) -> list[str | None]:
    """CUDA_VISIBLE_DEVICES of each parallel process; None on a machine without a CUDA device."""
    import torch  # here: it takes seconds, in which the process of the runs imports too

    count = torch.cuda.device_count()
    if count == 0:
        return [None] * (at_once or 1)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",")[:count] if visible else [str(number) for number in range(count)]
    return [names[number % count] for number in range(at_once or count)]


def _job(configuration: Configuration, seed: int, folder: Path, root_path: str | None, at_once: int) -> Job:
    added: dict[str, Any] = {"seed": seed, "checkpoint": str(folder), "run": f"{configuration.folder}_seed{seed}"}
    if root_path is not None:
        added["root_path"] = root_path
    if "workers" not in configuration.given:
        added["workers"] = max(1, cores() // at_once)
    config, _ = resolve(configuration.given | added)
    flags = [f"--{name}={value}" for name, value in added.items()]
    own = folder / config.run_name
    log, mark = (own.with_name(f"{own.name}{suffix}") for suffix in (".log", ".finished.json"))
    return Job(configuration, seed, (*configuration.arguments, *flags), config, own, log, mark)


def _report(study: Study, jobs: list[Job], failures: list[str], out: Path) -> str:
    """Write the tables and figures of the finished runs.  Returns the summary."""
    from glagcn.study.results import write_report  # with Matplotlib, as in Job.run

    runs = [job.run() for job in jobs if job.is_finished]
    notes = []
    if study.other_windows:
        notes.append(f"NOT THE SAME WINDOWS: the configurations differ in {', '.join(study.other_windows)}.")
    if study.select_on == "test":
        notes.append(
            "SELECTED ON THE TEST SET (--select_on test): the column test shows the lowest test error of all "
            "evaluations of a run, which is optimistic."
        )
    if len(runs) < len(jobs):
        notes.append(f"{len(runs)} of {len(jobs)} runs have finished.")
    notes += [f"Failed: {failure}" for failure in failures]
    split = "validation" if study.select_on == "validation" else "test"
    names = [configuration.name for configuration in study.configurations]
    return write_report(out, study.title, split, names, runs, notes)


def run_jobs(jobs: list[Job], devices: list[str | None], ended: Callable[[Job, str | None], None]) -> bool:
    """Run jobs in order, one per device at a time.  Returns whether SIGINT or SIGTERM stopped them.

    devices  CUDA_VISIBLE_DEVICES of each parallel process; None leaves it unchanged.
    ended    called for every job that has ended, with its error message or None.
    All processes have ended when it returns or raises.  Raises UserError if a log cannot be written.
    """
    waiting, free = list(jobs), list(devices)
    running: dict[Any, tuple[Job, str | None, int]] = {}  # by process
    context: Any = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
    received: list[int] = []
    before = {number: signal.signal(number, lambda got, _: received.append(got)) for number in STOPPING}
    try:
        while (waiting or running) and not received:
            exited = [process for process in running if process.exitcode is not None]
            over = [(process.exitcode, *running.pop(process)) for process in exited]
            free += [device for _, _, device, _ in over]
            while waiting and free:  # before those that are over are reported: figures take a second
                job, device = waiting.pop(0), free.pop(0)
                with write_errors(job.log, "give another folder with --out DIR"), job.log.open("ab") as file:
                    begin = file.tell()
                process = context.Process(target=_train, args=(job.arguments, job.log, device))
                process.start()
                running[process] = job, device, begin
            for code, job, _, begin in over:
                ended(job, _error_message(job, begin) if code else None)
            multiprocessing.connection.wait([process.sentinel for process in running], POLL_INTERVAL_S)
    finally:
        if sys.platform != "win32":  # there it kills at once, and Ctrl-C has reached the runs too
            for process in running:
                process.terminate()
        for process in running:
            process.join(TERMINATE_TIMEOUT_S)
            process.kill()
            process.join()
        for number, handler in before.items():
            signal.signal(number, handler)
    return bool(received)


def _train(arguments: tuple[str, ...], log: Path, device: str | None) -> None:
    """Train in this process, whose output goes to the end of `log`."""
    for name in dist.VARIABLES:
        os.environ.pop(name, None)
    os.environ["WORLD_SIZE"] = "1"  # a job is one process, whatever started the study
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    with log.open("ab") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    sys.exit(importlib.import_module("glagcn.cli").train_main(list(arguments)))


def _error_message(job: Job, begin: int) -> str:
    """The error message of a failed run, or the last line of its output."""
    lines = job.log.read_bytes()[begin:].decode(errors="replace").strip().splitlines() or ["no output"]
    message = next((number for number, line in enumerate(lines) if line.startswith("error: ")), len(lines) - 1)
    return "\n".join(lines[message:]).removeprefix("error: ")
