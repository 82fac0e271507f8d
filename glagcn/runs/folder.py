"""The run folder: where it is, what lies in it, starting over, and whether a resumed run is the same run.

config.json     every option, as resolved
log.txt         what was printed
metrics.jsonl   one line per log interval and per evaluation
tensorboard/    the same, as curves; training_curves.png, training and evaluation errors
last.pt best.pt checkpoints; epoch_<number>.pt too with --checkpoint_frequency
result.json     the evaluation of best.pt at the end, with the files of its suite beside it: CSV tables, for 3DHP
                inference_data.mat

.<name>.lock beside the folder keeps a second process out while one trains (lock.py).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glagcn.checkpoints import checkpoint
from glagcn.config.config import Config
from glagcn.config.resolve import data_folders, listed_differences, to_dict
from glagcn.errors import UserError
from glagcn.files import write_text
from glagcn.runs.lock import ELSEWHERE, RunLock

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
            text = json.dumps(to_dict(config), indent=2) + "\n"
            write_text(self.path / "config.json", text)
        except OSError as error:
            raise UserError(
                f"cannot write the run folder {self.path} ({error.strerror or error}); give another parent with -c DIR"
            ) from None

    def options(self) -> dict[str, Any]:
        """The options of the run that left last.pt here, as config.json tells them; empty where nothing can be told."""
        try:
            return json.loads((self.path / "config.json").read_text()) if self.last.exists() else {}
        except (OSError, ValueError):
            return {}

    def resume(self, config: Config, num_windows: int, fingerprint: str) -> dict[str, Any] | None:
        """The content of last.pt, None at the start of a run.

        num_windows, fingerprint  in an epoch, and of the data as they are now.

        Raises UserError where last.pt is no state to resume from, and, naming both values, where flags differ that
        shaped what was trained so far, or the data is not the same.
        """
        if not self.last.exists():
            return None
        content = self._load_last()
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
        """Go back to the moment when last.pt was written: forget what the resumed run will write again.

        That is lines of metrics.jsonl beyond it, lines of an evaluation that was only made because the run ended
        there, a line that was cut off, what that evaluation did to best.pt, and temporary files of a killed process.
        """
        for leftover in self.path.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        if self.set_aside.exists():
            self.set_aside.replace(self.best)
        elif best_step == 0:
            self.best.unlink(missing_ok=True)
        if not self.metrics.exists():
            return
        lines = self.metrics.read_text().splitlines()
        kept = [line for line in lines if _belongs(line, step, evaluated_step)]
        text = "".join(line + "\n" for line in kept)
        write_text(self.metrics, text)

    def _load_last(self) -> dict[str, Any]:
        try:
            content = checkpoint.load(self.last)
        except UserError as error:
            raise UserError(f"{error}; give {NOT_HERE}") from None
        lacking = checkpoint.lacking_state(content)
        if lacking:
            raise UserError(
                f"{self.last} holds weights without {', '.join(lacking)}, as an exported file does, so it cannot be "
                f"resumed; put back the last.pt or best.pt of a run, or give {NOT_HERE}"
            )
        return content

    def _free_name(self) -> Path:
        number = 1
        while (candidate := self.path.with_name(f"{self.path.name}.old{number}")).exists():
            number += 1
        return candidate


def finished_result(folder: Path, step: int) -> dict[str, Any] | None:
    """The content of result.json in `folder` if it is the result of a run that ended at `step`."""
    try:
        result = json.loads((folder / "result.json").read_text())
    except (OSError, json.JSONDecodeError):
        return None
    return result if result.get("trained_steps") == step else None


def _belongs(line: str, step: int, evaluated_step: int) -> bool:
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return False
    reached = step if record["kind"] == "train" else evaluated_step
    return record["step"] <= reached and not record.get("unscheduled")
