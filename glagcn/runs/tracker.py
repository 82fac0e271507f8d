"""Weights & Biases and MLflow, through accelerate's trackers (--log_with)."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from glagcn.errors import UserError, first_line
from glagcn.files import write_text

TRACKERS = ("wandb", "mlflow")
PROJECT = "glagcn"  # unless WANDB_PROJECT or MLFLOW_EXPERIMENT_NAME is set
OFFLINE = {"wandb": "WANDB_MODE=offline", "mlflow": "MLFLOW_TRACKING_URI=sqlite:///FILE.db"}


def check_tracker(log_with: str) -> None:
    """Raise UserError if the package of --log_with is not installed."""
    found = find_spec(log_with) if log_with in TRACKERS else None
    installed = found is not None and found.origin is not None  # a folder wandb/ of offline runs has no origin
    if log_with in TRACKERS and not installed:
        raise UserError(f"--log_with {log_with} needs a package that is not installed: pip install {log_with}")


class Tracker:
    """One run of Weights & Biases or MLflow, with the curves of TensorBoard.

    The file wandb.id or mlflow.id in the run folder lets a resumed run go on in it.  A failure while it starts raises
    UserError; later, the errors of the packages pass through.
    """

    def __init__(self, name: str, folder: Path, options: dict[str, Any]) -> None:
        self._name = name
        file = folder / f"{name}.id"
        known = file.read_text(encoding="utf-8").strip() if file.exists() else None
        try:
            self._tracker: Any = _start(name, folder, known)
            if known is None:  # MLflow refuses to change a parameter
                self._tracker.store_init_configuration({key: str(value) for key, value in options.items()})
            run = self._tracker.tracker
            identity = run.id if name == "wandb" else run.info.run_id
        except Exception as error:  # noqa: BLE001  # of a service, of any kind
            raise UserError(
                f"--log_with {name} cannot start: {first_line(error)[:200]}; log in, or set {OFFLINE[name]} to work "
                "offline"
            ) from None
        write_text(file, f"{identity}\n")

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Add a point to each curve, {its name: value}."""
        self._tracker.log(values, step=step)

    def text(self, name: str, text: str) -> None:
        """Nothing: the options are parameters of the run already."""

    def figure(self, name: str, figure: Any, step: int) -> None:
        """Add a matplotlib figure."""
        if self._name == "mlflow":
            self._tracker.log_figure(figure, f"{name}_{step}.png")
            return
        figure.canvas.draw()
        picture = np.asarray(figure.canvas.buffer_rgba())
        self._tracker.log_images({name: [picture]}, step=step)

    def result(self, options: dict[str, Any], scalars: dict[str, float], step: int) -> None:  # noqa: ARG002
        """Add the test metrics."""
        self.scalars({f"test/{name}": value for name, value in scalars.items()}, step)

    def flush(self) -> None:
        """Nothing: the packages send what they have by themselves."""

    def close(self) -> None:
        """End the run; a resumed one opens it again."""
        self._tracker.finish()


def _start(name: str, folder: Path, known: str | None) -> Any:
    """Start or go on with a run, named as its folder; -> accelerate's tracker.

    known  the id of the run to go on with, else None.
    """
    from accelerate.tracking import MLflowTracker, WandBTracker

    tracker: Any
    if name == "wandb":
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        tracker = WandBTracker(project, name=folder.name, dir=str(folder), id=known, resume="allow")
    else:
        tracker = MLflowTracker(PROJECT, run_id=known, run_name=folder.name)
    if hasattr(tracker, "start"):  # older releases start by themselves
        tracker.start()
    return tracker
