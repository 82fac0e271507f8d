"""The run folder: its files, resuming from them, and starting over.

config.json     the resolved options
log.txt         the printed lines
metrics.jsonl   one line per log interval and per evaluation
tensorboard/    the same as curves; training_curves.png: training and evaluation errors
last.pt best.pt checkpoints; last.pt.1: the previous last.pt; epoch_<number>.pt with --checkpoint_frequency
wandb.id mlflow.id  the run there, with --log_with
history.jsonl   lines that no resumed run undoes: evaluations on the test set, other lengths
stopped.json    present while the run is stopped by a signal
result.json     the final evaluation of best.pt, beside the files of its benchmark: CSV tables, for 3DHP also
                inference_data.mat

.<name>.lock beside the folder lets only one process train in it (`run_lock`).
"""

import contextlib
import errno
import json
import logging
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from glagcn.checkpoints import ours as checkpoint
from glagcn.config.options import Config
from glagcn.config.resolve import to_dict
from glagcn.errors import UserError
from glagcn.files import read_json, replacement, write_text
from glagcn.train.resume import obstacle

logger = logging.getLogger(__name__)

TIMEOUT_S = 120.0  # the earlier process may be exiting, and NFS keeps the lock of a dead node for 90 s
POLL_INTERVAL_S = 0.5
OTHER_FOLDER = "--run NAME for another folder"  # advice
OTHER_FOLDER_OR_FRESH = f"{OTHER_FOLDER}, or --fresh to start over"
UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder, a file beside it: --fresh renames the folder itself.

    Two processes would overwrite each other's checkpoints and metrics, for example a requeued job whose first process
    is still alive.  The operating system releases the lock (flock) when its process dies, so a lock file that is left
    behind does no harm.

    Raises UserError if another process holds it for longer than TIMEOUT_S, or if the lock file cannot be written.
    """
    path = folder.with_name(f".{folder.name}.lock")
    lock, is_first = FileLock(path, fallback_to_soft=False), not folder.parent.exists()

    def other() -> str:
        holder = ""
        with contextlib.suppress(OSError):
            holder = path.read_text(encoding="utf-8", errors="replace").strip()[:200]
        return f"process is using {folder} ({holder or 'unknown process'})"

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            logger.info(f"Another {other()}; waiting for it to end, at most {TIMEOUT_S:.0f} s")
            lock.acquire(timeout=TIMEOUT_S, poll_interval=POLL_INTERVAL_S)
        if sys.platform != "win32":  # there nobody can write or read a locked file
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
    except Timeout:
        raise UserError(f"another {other()}; wait for it or stop it, or give {OTHER_FOLDER}") from None
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            problem = f"cannot write {error.filename or path} ({error.strerror or error})"
            raise UserError(f"{problem}; give another parent with -c DIR") from None
        logger.warning(
            f"the file system of {folder} has no locks ({error.strerror}); "
            "make sure that only one process trains in this folder"
        )
    try:
        yield
    finally:
        if lock.is_locked:
            with contextlib.suppress(OSError):
                path.unlink()  # while the lock is held: a waiting process notices and makes a new file
        lock.release()
        if sys.platform == "win32":
            with contextlib.suppress(OSError):  # only now can it be removed, and not if another process has it open
                path.unlink()
        if is_first:
            with contextlib.suppress(OSError):  # not empty, unless the run was refused
                folder.parent.rmdir()


class RunFolder:
    """The paths of one run, and what happens to its files at the start, while it trains and when it resumes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last = path / "last.pt"  # the newest checkpoint, from which a run resumes
        self.previous = path / "last.pt.1"  # the one before, in case the newest is damaged
        self.best = path / "best.pt"  # that with the lowest MPJPE on the selection set
        self.best_backup = path / "best_before_end.pt"  # before an evaluation that only --max_steps made replaced it
        self.stopped = path / "stopped.json"  # exists while the run is stopped by a signal, with its state saved
        self.metrics = path / "metrics.jsonl"
        self.history = path / "history.jsonl"

    def epoch(self, number: int) -> Path:
        """The checkpoint after epoch `number`, counted from 1."""
        return self.path / f"epoch_{number}.pt"

    def keep_previous(self) -> None:
        """Link last.pt to last.pt.1, so that the next last.pt does not delete it."""
        if not self.last.exists():
            return
        try:
            self.previous.unlink(missing_ok=True)
            self.previous.hardlink_to(self.last)
        except OSError:  # a file system without hard links
            with replacement(self.previous) as temporary:
                shutil.copyfile(self.last, temporary)

    def back_up_best(self) -> None:
        """Move best.pt to `best_backup`, before the result of an off-schedule evaluation replaces it."""
        if self.best.exists():
            self.best.replace(self.best_backup)

    def restore_best(self) -> None:
        """Undo `back_up_best`, if it was called."""
        if self.best_backup.exists():
            self.best_backup.replace(self.best)

    def prune_epochs(self, count: int) -> None:
        """Delete all epoch_<number>.pt but the newest `count`."""
        numbers = [path.stem.removeprefix("epoch_") for path in self.path.glob("epoch_*.pt")]
        for number in sorted(int(number) for number in numbers if number.isdecimal())[:-count]:
            self.epoch(number).unlink(missing_ok=True)

    def mark_stopped(self, signal: str, step: int) -> None:
        """Write `stopped`, for scripts: launchers do not pass on the exit code of a process."""
        write_text(self.stopped, json.dumps({"signal": signal, "step": step}) + "\n")

    def remember(self, kind: str, step: int, text: str = "") -> None:
        """Add a line to the history, unless it is the last line already, as of a run that stopped before its first
        save."""
        line = json.dumps({"kind": kind, "step": step, "text": text})
        if kind == "length" and [line] == [text for text, _ in read_lines(self.history)][-1:]:
            return
        with contextlib.suppress(OSError), self.history.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def remembered(self, kind: str) -> list[str]:
        """The texts of the history of this kind."""
        return [record["text"] for _, record in read_lines(self.history) if record and record["kind"] == kind]

    def create(self, config: Config, *, fresh: bool) -> None:
        """Make the folder and write config.json.  With `fresh`, rename an existing folder first.

        Raises UserError if the folder cannot be written.
        """
        try:
            if fresh and self.path.exists():
                older = (self.path.with_name(f"{self.path.name}.old{number}") for number in count(1))
                self.path.rename(next(path for path in older if not path.exists()))
            self.path.mkdir(parents=True, exist_ok=True)
            self.stopped.unlink(missing_ok=True)
            write_text(self.path / "config.json", json.dumps(to_dict(config), indent=2) + "\n")
        except OSError as error:
            raise UserError(
                f"cannot write the run folder {self.path} ({error.strerror or error}); give another parent with -c DIR"
            ) from None

    def origin(self) -> dict[str, Any]:
        """The options ("config") of the newest readable checkpoint, and its "data_path"; empty without one."""
        for path in self.states():
            with contextlib.suppress(UserError):
                content = checkpoint.load(path)
                return {"config": content["config"], "data_path": content.get("data_path")}
        return {}

    def states(self) -> list[Path]:
        """The existing checkpoints that a run can resume from, the newest first."""
        return [path for path in (self.last, self.previous, self.best) if path.exists()]

    def resume(self, config: Config, num_windows: int, fingerprint: str) -> dict[str, Any] | None:
        """The content of the newest readable checkpoint; None at the start of a run.

        num_windows, fingerprint  windows per epoch, and the fingerprint, of the current data.

        Raises UserError if no checkpoint can be read, or if the data, or options that affect training, differ.
        """
        content = self._load_newest()
        if content is None:
            return None
        if problem := obstacle(content, config, num_windows, fingerprint):
            raise UserError(
                f"{self.path} holds a run that cannot go on: {problem}. Give the old options and --root_path to "
                f"resume, {OTHER_FOLDER_OR_FRESH}"
            )
        if config.run.resume and config.run.resume != content["config"].get("resume"):
            raise UserError(
                f"{self.path} holds a run at step {content['progress']['step']} that did not start from --resume "
                f"{config.run.resume}; leave --resume out to continue it, give {OTHER_FOLDER_OR_FRESH} from that file"
            )
        return content

    def rewind(self, step: int, evaluated_step: int, best_step: int) -> None:
        """Undo everything written after last.pt, since the resumed run repeats it.

        Removes later lines of metrics.jsonl, lines of an off-schedule evaluation, an incomplete line, and temporary
        files of a killed process.  Restores the best.pt that an off-schedule evaluation replaced.
        """
        for leftover in self.path.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        if best_step == 0 and not self.best_backup.exists():
            self.best.unlink(missing_ok=True)
        self.restore_best()
        if self.metrics.exists():
            reached = {"train": step}  # by kind of record; the others are of evaluations
            kept = [
                line
                for line, record in read_lines(self.metrics)
                if record
                and record["step"] <= reached.get(record["kind"], evaluated_step)
                and not record.get("unscheduled")
            ]
            write_text(self.metrics, "".join(line + "\n" for line in kept))

    def _load_newest(self) -> dict[str, Any] | None:
        """The content of the first readable checkpoint of `states`; None in a new folder.

        Raises UserError if none can be read, or if the folder holds metrics but no checkpoint.
        """
        problems = []
        for path in self.states():
            try:
                content = checkpoint.load(path)
            except UserError as error:
                problems.append(str(error))
                continue
            if path != self.last:
                reason = "; ".join(problems) or f"{self.last} is missing"
                logger.warning(f"{reason}; resuming from {path} (step {content['progress']['step']}) instead")
            return content
        if problems:
            raise UserError(f"{'; '.join(problems)}; restore one of the run, give {OTHER_FOLDER_OR_FRESH}")
        if read_lines(self.metrics):
            raise UserError(
                f"{self.path} holds the metrics of a run but no checkpoint to resume from; give {OTHER_FOLDER_OR_FRESH}"
            )
        return None


def read_lines(path: Path) -> list[tuple[str, dict[str, Any] | None]]:
    """The lines of a metrics.jsonl, each with its record, which has at least `kind` and `step`; None if it is damaged.

    No lines if the file does not exist.  Raises UserError if it cannot be read.
    """
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; restore or remove it") from None
    return [(line, _record(line)) for line in lines]


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_whole = isinstance(record, dict) and isinstance(record.get("kind"), str) and isinstance(record.get("step"), int)
    return record if is_whole else None


def finished_result(folder: Path, step: int) -> dict[str, Any] | None:
    """The content of result.json in `folder` if it belongs to a run that ended at `step`, else None."""
    try:
        result = read_json(folder / "result.json")
    except UserError:
        return None
    return result if isinstance(result, dict) and result.get("trained_steps") == step else None
