"""`glagcn study`: run the unfinished runs of a study, and report the finished ones."""

import contextlib
import logging
import os
from pathlib import Path

import torch

from glagcn.distributed import launcher
from glagcn.errors import UserError
from glagcn.files import make_folder, write_text
from glagcn.open_data import prepare_cache
from glagcn.runs.folder import OTHER_FOLDER_OR_FRESH
from glagcn.runs.lock import OTHER_FOLDER
from glagcn.study.file import Study, read_study
from glagcn.study.jobs import Job, check_data, jobs_of
from glagcn.study.plots import AXES, draw_curves
from glagcn.study.processes import run_jobs
from glagcn.study.results import Run, read_run
from glagcn.study.tables import evaluations_csv, rows_of, summary_csv, summary_md

logger = logging.getLogger(__name__)


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
    if launcher.world_size() > 1:
        raise UserError("glagcn study starts the processes it needs; call it without torchrun or accelerate launch")
    study = read_study(path)
    _check_names(study, only, path)
    devices = _devices(at_once)
    out = out or Path("study") / path.stem
    jobs = jobs_of(study, out, root_path, _workers(devices))
    make_folder(out / "runs", "--out")
    chosen = [job for job in jobs if only is None or job.configuration.name in only]
    _prepare_data(jobs, chosen)
    check_data(jobs, out)
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
    if stopped is not None:
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


def _workers(devices: list[str | None]) -> int:
    """CPU threads of each parallel process."""
    return max(1, len(os.sched_getaffinity(0)) // len(devices))


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
