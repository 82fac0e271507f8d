"""`glagcn study FILE`: train several configurations with the same seeds, and compare them.

    title = "Where the weights start"
    seeds = [0, 1, 2]
    common = "--dataset demo --epochs 2"

    [configurations]
    published = "--recipe published"
    "no dropout" = "--dropout 0"

The values are flags of `glagcn train`.  The flags of a configuration override the common flags.  Every run is a
process of its own.  The same command starts what is not finished, and reports what is.
"""

import contextlib
import json
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from glagcn import dist
from glagcn.config.open_data import fingerprint_now, prepare_cache
from glagcn.config.options import GROUPS, OPTIONS, Config, RenderConfig, options_of
from glagcn.config.parse import parse_flags
from glagcn.config.resolve import plain_values, resolve, to_dict
from glagcn.errors import UserError
from glagcn.files import make_folder, read_json, write_errors, write_text
from glagcn.machine import cores
from glagcn.study.results import read_run, write_report

logger = logging.getLogger(__name__)

KEYS = ("title", "seeds", "common", "configurations")
NAME = re.compile(r"(?=.*\w)[^,\s]([^,]{0,98}[^,\s])?")
TRAINER = (sys.executable, "-c", "import sys; from glagcn.cli import train_main; sys.exit(train_main())")
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
    if not isinstance(title, str):
        raise UserError(f"invalid title {title!r}: must be text in quotes")
    integers = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not integers or not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"invalid seeds {seeds!r}: must be different integers from 0 up, such as [0, 1, 2]")
    common, given = _flags("common", content.get("common", ""))
    table = content.get("configurations")
    if not isinstance(table, dict) or not table:
        raise UserError('no configurations; add [configurations] and below it lines NAME = "FLAGS"')
    configurations: list[Configuration] = []
    resolved: list[Config] = []
    for name, text in table.items():
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
    names = [configuration.name for configuration in study.configurations]
    if unknown := [name for name in only or () if name not in names]:
        listed = ", ".join(map(repr, names))
        raise UserError(f"invalid --only {unknown[0]!r}: must be among the configurations of {path}: {listed}")
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

    def ended(job: Job, error: str | None) -> None:
        """Report a run that has ended."""
        if error is None:
            write_text(job.mark, json.dumps(job.options(), indent=2) + "\n")
            logger.info(f"{job.config.run_name}: done")
            _report(study, jobs, failures, out)
        else:
            failures.append(f"{job.configuration.name}, seed {job.seed}: {error} (log: {job.log})")
            logger.info(f"FAILED: {failures[-1]}")

    stopped = run_jobs(missing, devices, ended)
    logger.info("\n" + _report(study, jobs, failures, out))
    if stopped:
        raise UserError("the study was stopped; the same command resumes its runs from their last checkpoints")
    if failures:
        raise UserError(
            f"{len(failures)} of {len(missing)} runs failed:\n" + "\n".join(failures) + "\nThe same command tries "
            f"again. To start a run over, remove its folder in {out}/runs; --out DIR keeps the old ones"
        )


def _devices(at_once: int | None) -> list[str | None]:
    """CUDA_VISIBLE_DEVICES of each parallel process; None on a machine without a CUDA device."""
    if at_once is not None and at_once < 1:
        raise UserError(f"invalid --jobs {at_once}: must be at least 1")
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
    runs = [read_run(job.run_folder, job.configuration.name, job.seed) for job in jobs if job.is_finished]
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
    running: dict[subprocess.Popen, tuple[Job, str | None, int]] = {}
    received: list[int] = []
    before = {number: signal.signal(number, lambda got, _: received.append(got)) for number in STOPPING}
    try:
        while (waiting or running) and not received:
            while waiting and free:
                job, device = waiting.pop(0), free.pop(0)
                process, begin = _start(job, device)
                running[process] = job, device, begin
            for process in [process for process in running if process.poll() is not None]:
                job, device, begin = running.pop(process)
                free.append(device)
                ended(job, _error_message(job, begin) if process.returncode else None)
            time.sleep(POLL_INTERVAL_S)
    finally:
        if sys.platform != "win32":  # there it kills at once, and Ctrl-C has reached the runs too
            for process in running:
                process.terminate()
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(TERMINATE_TIMEOUT_S)
            process.kill()
            process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)
    return bool(received)


def _start(job: Job, device: str | None) -> tuple[subprocess.Popen, int]:
    """Start a run.  Returns its process and where its output begins in its log, which earlier calls may have written
    to."""
    environment = {name: value for name, value in os.environ.items() if name not in dist.VARIABLES}
    environment["WORLD_SIZE"] = "1"  # a job is one process, whatever started the study
    if device is not None:
        environment["CUDA_VISIBLE_DEVICES"] = device
    with write_errors(job.log, "give another folder with --out DIR"), job.log.open("ab") as file:
        begin = file.tell()
        command = [*TRAINER, *job.arguments]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment), begin


def _error_message(job: Job, begin: int) -> str:
    """The error message of a failed run, or the last line of its output."""
    lines = job.log.read_bytes()[begin:].decode(errors="replace").strip().splitlines() or ["no output"]
    message = next((number for number, line in enumerate(lines) if line.startswith("error: ")), len(lines) - 1)
    return "\n".join(lines[message:]).removeprefix("error: ")
