"""The runs of a study: their flags, their folders, and which of them are done."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glagcn.checkpoints import checkpoint
from glagcn.config.config import Config
from glagcn.config.resolve import data_folders, resolve, to_dict
from glagcn.errors import UserError
from glagcn.files import write_text
from glagcn.open_data import fingerprint_now
from glagcn.runs.folder import RunFolder
from glagcn.study.file import Configuration, Study

# May differ between two calls of a study without a change of what was found: --jobs, and where the study lies.
OF_NO_CONSEQUENCE = {"workers", "checkpoint", "run"}


@dataclass(frozen=True)
class Job:
    """One run: a configuration with a seed.

    folder  of run folders.
    words   all flags of its command.
    """

    configuration: Configuration
    seed: int
    folder: Path
    words: tuple[str, ...]
    config: Config

    @property
    def name(self) -> str:
        """Of its run folder."""
        return self.config.run_name

    @property
    def run_folder(self) -> Path:
        """Where the run leaves its files."""
        return self.folder / self.name

    @property
    def log(self) -> Path:
        """What its process says."""
        return self.folder / f"{self.name}.log"

    @property
    def is_finished(self) -> bool:
        """Whether it ended well with these options, on the data as they are now, in this call of the study or an
        earlier one."""
        try:
            held = json.loads(self._mark.read_text())
            result = json.loads((self.run_folder / "result.json").read_text())
        except (OSError, ValueError):
            return False
        return held == self._options() and self._is_of_these_data(result)

    @property
    def is_of_other_data(self) -> bool:
        """Whether its run folder holds a run that was trained on other data than it would read now."""
        try:
            content = checkpoint.load(RunFolder(self.run_folder).last)
        except UserError:
            return False  # none yet, or the run will say what is wrong with it
        return not self._is_of_these_data(content)

    def _is_of_these_data(self, content: dict[str, Any]) -> bool:
        """The content of a checkpoint or a result; where there are no data now, there are no others."""
        now = fingerprint_now(self.config.data)
        return now is None or checkpoint.same_data(content, now)

    def mark_finished(self) -> None:
        """Remember that it ended well.  Raises UserError where that cannot be written."""
        text = json.dumps(self._options(), indent=2) + "\n"
        write_text(self._mark, text)

    @property
    def _mark(self) -> Path:
        return self.folder / f"{self.name}.finished.json"

    def _options(self) -> dict[str, Any]:
        return {name: value for name, value in to_dict(self.config).items() if name not in OF_NO_CONSEQUENCE}


def jobs_of(study: Study, out: Path, root_path: str | None, workers: int | None) -> list[Job]:
    """All runs of a study, all configurations with the first seed first.

    out        folder of the study.
    root_path  instead of the one in the file.
    workers    CPU threads of a run where the file does not say; None leaves that to the run.
    """
    return [
        _job(configuration, seed, out / "runs", root_path, workers)
        for seed in study.seeds
        for configuration in study.configurations
    ]


def check_data(jobs: list[Job], out: Path) -> None:
    """Raise UserError where a study's folder holds runs on other data than its runs would read now."""
    other = [job for job in jobs if not job.is_finished and job.is_of_other_data]
    if other:
        raise UserError(
            f"{out} holds runs that were trained on other data than now lies under "
            f"{data_folders(other[0].config.data)}: {', '.join(job.name for job in other)}; give the old --root_path, "
            "or --out DIR for another study"
        )


def _job(configuration: Configuration, seed: int, folder: Path, root_path: str | None, workers: int | None) -> Job:
    added: dict[str, Any] = {"seed": seed, "checkpoint": str(folder), "run": f"{configuration.slug}_seed{seed}"}
    if root_path is not None:
        added["root_path"] = root_path
    if workers is not None and "workers" not in configuration.given:
        added["workers"] = workers
    config, _ = resolve(configuration.given | added)
    words = [f"--{name}={value}" for name, value in added.items()]
    return Job(configuration, seed, folder, (*configuration.words, *words), config)
