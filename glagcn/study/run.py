"""`glagcn study`: run the unfinished runs of a study, each in a process of its own, and report the finished ones."""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from glagcn import dist
from glagcn.checkpoints import ours as checkpoint
from glagcn.config.open_data import fingerprint_now, prepare_cache
from glagcn.config.options import OPTIONS, Config
from glagcn.config.resolve import data_folders, resolve, to_dict
from glagcn.errors import UserError
from glagcn.files import make_folder, read_json, write_errors, write_text
from glagcn.study.file import Configuration, Study, read_study
from glagcn.study.results import AXES, Run, draw_curves, evaluations_csv, read_run, rows_of, summary_csv, summary_md
from glagcn.train.run_folder import OTHER_FOLDER, OTHER_FOLDER_OR_FRESH, RunFolder

logger = logging.getLogger(__name__)

TRAINER = (sys.executable, "-c", "import sys; from glagcn.cli import train_main; sys.exit(train_main())")
POLL_INTERVAL_S = 0.1
TERMINATE_TIMEOUT_S = 10.0
STOPPING = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Job:
    """One run: a configuration with a seed.

    folder     parent of the run folders.
    arguments  all flags of its command.
    """

    configuration: Configuration
    seed: int
    folder: Path
    arguments: tuple[str, ...]
    config: Config

    @property
    def name(self) -> str:
        """The name of the run folder."""
        return self.config.run_name

    @property
    def run_folder(self) -> Path:
        """The run folder."""
        return self.folder / self.name

    @property
    def log(self) -> Path:
        """The file with the output of its process."""
        return self.folder / f"{self.name}.log"

    @property
    def is_finished(self) -> bool:
        """Whether it has finished successfully with these options and the current data, now or in an earlier call."""
        try:
            options, result = read_json(self._mark), read_json(self.run_folder / "result.json")
        except UserError:
            return False
        same = self._options(options) == self._options(to_dict(self.config))
        return same and isinstance(result, dict) and self._has_current_data(result)

    @property
    def is_of_other_data(self) -> bool:
        """Whether its run folder holds an unfinished run that was trained on other data than the current data."""
        if self.is_finished:
            return False
        try:
            content = checkpoint.load(RunFolder(self.run_folder).last)
        except UserError:
            return False  # no checkpoint yet, or a damaged one, which the run itself reports
        return not self._has_current_data(content)

    def _has_current_data(self, content: dict[str, Any]) -> bool:
        """Whether a checkpoint or result is of the current data; True if there is no data now."""
        now = fingerprint_now(self.config.data)
        return now is None or checkpoint.same_data(content, now)

    def mark_finished(self) -> None:
        """Record that it finished successfully.  Raises UserError if that cannot be written."""
        text = json.dumps(self._options(to_dict(self.config)), indent=2) + "\n"
        write_text(self._mark, text)

    @property
    def _mark(self) -> Path:
        return self.folder / f"{self.name}.finished.json"

    @staticmethod
    def _options(values: Any) -> dict[str, Any] | None:
        """The options that a study file gives; not those that the study sets, or that depend on the machine."""
        if not isinstance(values, dict):
            return None
        ignored = {key for key, option in OPTIONS.items() if option.not_in_study or option.machine}
        return {key: value for key, value in values.items() if key not in ignored}


def run_study(
    path: Path, out: Path | None, at_once: int | None, root_path: str | None, only: tuple[str, ...] | None
) -> None:
    """Run or resume a study.

    out        folder of the study; None: study/NAME, with the name of the file.
    at_once    number of parallel runs; None: one per CUDA device, or one.
    root_path  data folder, instead of that in the file.
    only       names of the configurations to run; None: all.
    Raises UserError for an invalid file or option before anything runs, and at the end if runs failed or were stopped.
    """
    if dist.world_size() > 1:
        raise UserError("glagcn study starts the processes it needs; call it without torchrun or accelerate launch")
    study = read_study(path)
    _check_names(study, only, path)
    devices = _devices(at_once)
    out = out or Path("study") / path.stem
    workers = max(1, len(os.sched_getaffinity(0)) // len(devices))  # CPU threads of each process
    pairs = [(configuration, seed) for seed in study.seeds for configuration in study.configurations]
    jobs = [_job(configuration, seed, out / "runs", root_path, workers) for configuration, seed in pairs]
    make_folder(out / "runs", "--out")
    chosen = [job for job in jobs if only is None or job.configuration.name in only]
    _prepare_data(jobs, chosen)
    if other := [job for job in jobs if job.is_of_other_data]:
        raise UserError(
            f"{out} holds runs that were trained on other data than that in "
            f"{data_folders(other[0].config.data)}: {', '.join(job.name for job in other)}; give the old --root_path, "
            "or --out DIR for another study"
        )
    missing = [job for job in chosen if not job.is_finished]
    logger.info(f"{path}: {len(jobs)} runs, {len(missing)} to do, {len(devices)} at once; results in {out}")

    failures: list[str] = []

    def ended(job: Job, error: str | None) -> None:
        """Report a run that has ended.  Replaces the advice in its error by advice for a study."""
        if error is None:
            job.mark_finished()
            logger.info(f"{job.name}: done")
            _report(study, jobs, failures, out)
        else:
            advice = f"--out DIR for another folder, or delete {job.run_folder} to start over"
            error = error.replace(OTHER_FOLDER_OR_FRESH, advice)
            error = error.replace(OTHER_FOLDER, "--out DIR for another folder")
            failures.append(f"{job.configuration.name}, seed {job.seed}: {error} (log: {job.log})")
            logger.info(f"FAILED: {failures[-1]}")

    stopped = run_jobs(missing, devices, ended)
    logger.info("\n" + _report(study, jobs, failures, out))
    if stopped:
        raise UserError("the study was stopped; the same command resumes its runs from their last checkpoints")
    if failures:
        raise UserError(
            f"{len(failures)} of {len(missing)} runs failed:\n" + "\n".join(failures) + "\nThe same command tries again"
        )


def _check_names(study: Study, only: tuple[str, ...] | None, path: Path) -> None:
    names = [configuration.name for configuration in study.configurations]
    for name in only or ():
        if name not in names:
            known = ", ".join(map(repr, names))
            raise UserError(f"invalid --only {name!r}: must be among the configurations of {path}: {known}")


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


def _prepare_data(jobs: list[Job], chosen: list[Job]) -> None:
    """Make the caches of the runs before they start in parallel.

    Also tries to make those of finished runs, to compare the data; a finished study does not need its data.  Raises
    UserError if the cache of an unfinished run cannot be made.
    """
    for job in jobs:
        if job.is_finished:
            with contextlib.suppress(UserError):
                prepare_cache(job.config.data)
        elif job in chosen:
            prepare_cache(job.config.data)


def _report(study: Study, jobs: list[Job], failures: list[str], out: Path) -> str:
    """Write the tables and figures of the finished runs.  Returns the summary."""
    runs = [read_run(job.run_folder, job.configuration.name, job.seed) for job in jobs if job.is_finished]
    rows = rows_of(study, runs)
    summary = summary_md(study, rows, _notes(study, jobs, runs, failures))
    texts = {"study.csv": evaluations_csv(runs), "summary.csv": summary_csv(rows), "summary.md": summary}
    for name, text in texts.items():
        write_text(out / name, text)
    for against in AXES:
        draw_curves(study, runs, against, out / f"error_by_{against}.png")
    return summary


def _notes(study: Study, jobs: list[Job], runs: list[Run], failures: list[str]) -> list[str]:
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
    return notes + [f"Failed: {failure}" for failure in failures]


def _job(configuration: Configuration, seed: int, folder: Path, root_path: str | None, workers: int) -> Job:
    """A run; `workers` counts unless the study file sets it."""
    added: dict[str, Any] = {"seed": seed, "checkpoint": str(folder), "run": f"{configuration.slug}_seed{seed}"}
    if root_path is not None:
        added["root_path"] = root_path
    if "workers" not in configuration.given:
        added["workers"] = workers
    config, _ = resolve(configuration.given | added)
    flags = [f"--{name}={value}" for name, value in added.items()]
    return Job(configuration, seed, folder, (*configuration.arguments, *flags), config)


@dataclass(frozen=True)
class Process:
    """A running job; `begin` is the offset of its output in its log, which earlier calls may have written to."""

    job: Job
    device: str | None
    popen: subprocess.Popen
    begin: int

    def error_message(self) -> str:
        """The error message of a failed run, or the last line of its output."""
        with self.job.log.open("rb") as file:
            file.seek(self.begin)
            lines = file.read().decode(errors="replace").strip().splitlines() or ["no output"]
        message = next((number for number, line in enumerate(lines) if line.startswith("error: ")), len(lines) - 1)
        return "\n".join(lines[message:]).removeprefix("error: ")


def run_jobs(jobs: list[Job], devices: list[str | None], ended: Callable[[Job, str | None], None]) -> bool:
    """Run jobs in order, one per device at a time.  Returns whether a signal stopped them.

    devices  CUDA_VISIBLE_DEVICES of each parallel process; None leaves it unchanged.
    ended    called for every job that has ended, with its error message or None.
    All processes have ended when it returns or raises.  Raises UserError if a log cannot be written.
    """
    waiting, free = list(jobs), list(devices)
    running: list[Process] = []
    with _signals() as received:
        try:
            while (waiting or running) and not received:
                while waiting and free:
                    running.append(_start(waiting.pop(0), free.pop(0)))
                for process in [process for process in running if process.popen.poll() is not None]:
                    running.remove(process)
                    free.append(process.device)
                    ended(process.job, process.error_message() if process.popen.returncode else None)
                time.sleep(POLL_INTERVAL_S)
        finally:
            _end(running)
    return bool(received)


def _start(job: Job, device: str | None) -> Process:
    environment = {name: value for name, value in os.environ.items() if name not in dist.VARIABLES}
    environment["WORLD_SIZE"] = "1"  # a job is one process, whatever started the study
    if device is not None:
        environment["CUDA_VISIBLE_DEVICES"] = device
    with write_errors(job.log, "give another folder with --out DIR"), job.log.open("ab") as file:
        begin = file.tell()
        popen = subprocess.Popen(
            [*TRAINER, *job.arguments], stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment
        )
    return Process(job, device, popen, begin)


def _end(processes: list[Process]) -> None:
    for process in processes:
        process.popen.terminate()
    for process in processes:
        try:
            process.popen.wait(TERMINATE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.popen.kill()
            process.popen.wait()


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """A list that receives SIGINT and SIGTERM, which then do not end this process."""
    received: list[int] = []
    before = {number: signal.signal(number, lambda got, _: received.append(got)) for number in STOPPING}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
