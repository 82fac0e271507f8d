"""The runs of a study: flags, folders, and which runs are finished."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glagcn.checkpoints import checkpoint
from glagcn.config.options import OPTIONS, Config
from glagcn.config.resolve import data_folders, resolve, to_dict
from glagcn.errors import UserError
from glagcn.files import read_json, write_text
from glagcn.open_data import fingerprint_now
from glagcn.runs.folder import RunFolder
from glagcn.study.file import Configuration, Study


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
        """Whether its run folder holds a run that was trained on other data than the current data."""
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


def jobs_of(study: Study, out: Path, root_path: str | None, workers: int | None) -> list[Job]:
    """All runs of a study: first all configurations with the first seed.

    out        folder of the study.
    root_path  data folder, instead of that in the file; None: as in the file.
    workers    CPU threads per run, unless set in the file; None: the default of the run.
    """
    return [
        _job(configuration, seed, out / "runs", root_path, workers)
        for seed in study.seeds
        for configuration in study.configurations
    ]


def check_data(jobs: list[Job], out: Path) -> None:
    """Raise UserError if the study's folder holds runs that were trained on other data than the current data."""
    other = [job for job in jobs if not job.is_finished and job.is_of_other_data]
    if other:
        raise UserError(
            f"{out} holds runs that were trained on other data than that in "
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
    flags = [f"--{name}={value}" for name, value in added.items()]
    return Job(configuration, seed, folder, (*configuration.arguments, *flags), config)
