"""The run folder: where it is, what lies in it, starting over, and whether a resumed run is the same run.

config.json     every option, as resolved
log.txt         what was printed
metrics.jsonl   one line per log interval and per evaluation
tensorboard/    the same, as curves; training_curves.png, training and evaluation errors
last.pt best.pt checkpoints; last.pt.1, the last.pt before; epoch_<number>.pt with --checkpoint_frequency
stopped.json    after a stop that was asked for, until the run goes on
result.json     the evaluation of best.pt at the end, with the files of its benchmark beside it: CSV tables, for 3DHP
                inference_data.mat

.<name>.lock beside the folder keeps a second process out while one trains (lock.py).
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glagcn.checkpoints import checkpoint
from glagcn.config.config import Config
from glagcn.config.resolve import data_folders, listed_differences, to_dict
from glagcn.errors import UserError
from glagcn.files import read_json, replacement, write_text
from glagcn.runs.lock import ELSEWHERE, RunLock
from glagcn.runs.records import read_lines

# The end of every message about a folder that a run cannot go on in; a study puts other advice in its place.
NOT_HERE = f"{ELSEWHERE}, or --fresh to start over"


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run."""

    path: Path

    @property
    def last(self) -> Path:
        """The state that a resumed run starts from."""
        return self.path / "last.pt"

    @property
    def best(self) -> Path:
        """The state with the lowest test MPJPE of all evaluations."""
        return self.path / "best.pt"

    @property
    def previous(self) -> Path:
        """The last.pt before the newest one, for when that is damaged."""
        return self.path / "last.pt.1"

    @property
    def stopped(self) -> Path:
        """Tells that the run was asked to stop and has saved its state; gone as soon as it goes on."""
        return self.path / "stopped.json"

    def epoch(self, number: int) -> Path:
        """The state after epoch `number`, counted from 1."""
        return self.path / f"epoch_{number}.pt"

    @property
    def set_aside(self) -> Path:
        """The best.pt before an evaluation that was only made because --max_steps ended the run replaced it."""
        return self.path / "best_before_end.pt"

    @property
    def metrics(self) -> Path:
        """The scalars, a JSON object a line."""
        return self.path / "metrics.jsonl"

    def keep_previous(self) -> None:
        """Give last.pt a second name, so that it is still there after the next one."""
        if not self.last.exists():
            return
        temporary = self.path / f".{self.previous.name}.{os.getpid()}.tmp"
        try:
            temporary.unlink(missing_ok=True)
            temporary.hardlink_to(self.last)
            temporary.replace(self.previous)
        except OSError:  # a file system without hard links
            with replacement(self.previous) as temporary:
                shutil.copyfile(self.last, temporary)

    def set_best_aside(self) -> None:
        """Move best.pt aside before an evaluation that was only made because --max_steps ended the run replaces it."""
        if self.best.exists():
            self.best.replace(self.set_aside)

    def mark_stopped(self, signal: str, step: int) -> None:
        """Leave `stopped`, for scripts: launchers give an exit code of their own."""
        write_text(self.stopped, json.dumps({"signal": signal, "step": step}) + "\n")

    def create(self, config: Config, lock: RunLock, *, fresh: bool, begins: bool) -> None:
        """Make the folder, or with `fresh` move an old one aside first; write config.json into it.

        lock    of the folder, which is taken before anything is moved or written.
        begins  whether the run begins here, since there was no last.pt to go on from, or it was not wanted.
        Raises UserError where that is not possible.
        """
        try:
            existed = self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True)
            lock.take()
            if fresh and existed:
                self.path.rename(self._free_name())
                self.path.mkdir()
            if begins and self.last.exists():
                raise UserError(
                    f"another process has begun a run in {self.path} just now; the same command goes on from it"
                )
            self.stopped.unlink(missing_ok=True)
            text = json.dumps(to_dict(config), indent=2) + "\n"
            write_text(self.path / "config.json", text)
        except OSError as error:
            raise UserError(
                f"cannot write the run folder {self.path} ({error.strerror or error}); give another parent with -c DIR"
            ) from None

    def options(self) -> dict[str, Any]:
        """The options of the run that left a state here, as config.json tells them; empty where it cannot be read."""
        try:
            options = read_json(self.path / "config.json") if self.states() else {}
        except UserError:
            return {}
        return options if isinstance(options, dict) else {}

    def states(self) -> list[Path]:
        """The checkpoints that a resumed run may start from, the newest first."""
        return [path for path in (self.last, self.previous, self.best) if path.exists()]

    def resume(
        self, config: Config, num_windows: int, fingerprint: str, say: Callable[[str], None]
    ) -> dict[str, Any] | None:
        """The content of the newest checkpoint that can be read, None at the start of a run.

        num_windows, fingerprint  in an epoch, and of the data as they are now.
        say                       is told of damaged checkpoints.

        Raises UserError where no checkpoint is a state to resume from, and, naming both values, where flags differ
        that training depends on, or the data is not the same.
        """
        content = self._load_newest(say)
        if content is None:
            return None
        if config.run.resume and config.run.resume != content["config"].get("resume"):
            raise UserError(
                f"{self.path} holds a run at step {content['progress']['step']} that did not start from --resume "
                f"{config.run.resume}; leave --resume out to go on with it, give {NOT_HERE} from that file"
            )
        if not checkpoint.same_data(content, fingerprint):
            raise UserError(
                f"{self.path} holds a run that was trained on other data than now lies under "
                f"{data_folders(config.data)} (fingerprint {fingerprint}, and the run's is "
                f"{content['data_fingerprint']}); give the old --root_path to resume, {NOT_HERE}"
            )
        differences = listed_differences(config, content)
        if differences:
            raise UserError(
                f"{self.path} holds a run trained with other options: {differences}. "
                f"Give the old values to resume, {NOT_HERE}"
            )
        if content["num_windows"] != num_windows:
            raise UserError(
                f"{self.path} holds a run on {content['num_windows']} windows an epoch, and the data has {num_windows} "
                f"now; restore the data, or give {NOT_HERE}"
            )
        return content

    def rewind(self, step: int, evaluated_step: int, best_step: int) -> None:
        """Undo everything after last.pt was written: the resumed run writes it again.

        That is lines of metrics.jsonl beyond it, lines of an evaluation that was only made because the run ended
        there, a line that was cut off, what that evaluation did to best.pt, and temporary files of a killed process.
        """
        for leftover in self.path.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        if self.set_aside.exists():
            self.set_aside.replace(self.best)
        elif best_step == 0:
            self.best.unlink(missing_ok=True)
        if self.metrics.exists():
            kept = [line for line, record in read_lines(self.metrics) if _belongs(record, step, evaluated_step)]
            write_text(self.metrics, "".join(line + "\n" for line in kept))

    def _load_newest(self, say: Callable[[str], None]) -> dict[str, Any] | None:
        """The first of `states` that can be read.  Raises UserError where none can, or where only results are left."""
        problems = []
        for path in self.states():
            try:
                content = _load_state(path)
            except UserError as error:
                problems.append(str(error))
                continue
            if path != self.last:
                reason = "; ".join(problems) or f"{self.last} is missing"
                say(f"WARNING: {reason}; going on from {path} (step {content['progress']['step']}) instead")
            return content
        if problems:
            raise UserError(f"{'; '.join(problems)}; give {NOT_HERE}")
        if read_lines(self.metrics):
            raise UserError(f"{self.path} holds the metrics of a run but no checkpoint to go on from; give {NOT_HERE}")
        return None

    def _free_name(self) -> Path:
        number = 1
        while (candidate := self.path.with_name(f"{self.path.name}.old{number}")).exists():
            number += 1
        return candidate


def finished_result(folder: Path, step: int) -> dict[str, Any] | None:
    """The content of result.json in `folder` if it is the result of a run that ended at `step`."""
    try:
        result = read_json(folder / "result.json")
    except UserError:
        return None
    return result if isinstance(result, dict) and result.get("trained_steps") == step else None


def _load_state(path: Path) -> dict[str, Any]:
    """A checkpoint that a run can go on from.  Raises UserError."""
    content = checkpoint.load(path)
    lacking = checkpoint.lacking_state(content)
    if lacking:
        raise UserError(
            f"{path} holds weights without {', '.join(lacking)}, as an exported file does, so it cannot be resumed; "
            "put back the last.pt or best.pt of a run"
        )
    progress = content["progress"]
    step = progress.get("step") if isinstance(progress, dict) else None
    if not isinstance(step, int) or step < 0:
        raise UserError(f"{path} does not say its step; put back the last.pt or best.pt of a run")
    return content


def _belongs(record: dict[str, Any], step: int, evaluated_step: int) -> bool:
    reached = step if record["kind"] == "train" else evaluated_step
    return record["step"] <= reached and not record.get("unscheduled")
