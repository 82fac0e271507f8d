"""TensorBoard's view of a run: one run in its list, with the errors first."""

from pathlib import Path
from typing import Any

from glagcn.evaluation.metrics import MPJPE

ERRORS = "error_mm"  # TensorBoard sorts by name, and this group comes first
TEST = "test"


def tag_of(kind: str, name: str) -> str:
    """The name of a curve: "error_mm/train" and "error_mm/validation" for the MPJPE, else "kind/name"."""
    return f"{ERRORS}/{kind}" if name == MPJPE.name and kind in ("train", "validation", TEST) else f"{kind}/{name}"


class TensorBoard:
    """Writes to the folder `tensorboard` of a run.

    resumed_at  the step at which a resumed run starts; TensorBoard drops later points.
    """

    def __init__(self, folder: Path, resumed_at: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes a second to import

        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=resumed_at + 1)

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Add a point to each curve, {its name: value}."""
        for tag, value in values.items():
            self._writer.add_scalar(tag, value, step)

    def text(self, name: str, text: str) -> None:
        """Add a text."""
        self._writer.add_text(name, text)

    def figure(self, name: str, figure: Any, step: int) -> None:
        """Add a matplotlib figure."""
        self._writer.add_figure(name, figure, step)

    def result(self, options: dict[str, Any], scalars: dict[str, float], step: int) -> None:
        """Add the test metrics as one table, and the options with the MPJPE to the table of hyperparameters."""
        from torch.utils.tensorboard.summary import hparams

        rows = "".join(f"| {name} | {value:.2f} |\n" for name, value in scalars.items())
        self._writer.add_text(TEST, f"| metric | value |\n|---|---|\n{rows}", step)
        known = {key: value for key, value in options.items() if value is not None}
        plain = {
            key: value if isinstance(value, int | float | str | bool) else str(value) for key, value in known.items()
        }
        tag = f"{TEST}/{MPJPE.name}"
        self._writer.add_scalar(tag, scalars[MPJPE.name], step)  # the column of the hyperparameters needs a curve
        # SummaryWriter.add_hparams would list the run twice, and add a curve for every result.
        for summary in hparams(plain, {tag: scalars[MPJPE.name]}):
            self._writer._get_file_writer().add_summary(summary)

    def flush(self) -> None:
        """Write everything to disk."""
        self._writer.flush()

    def close(self) -> None:
        """End writing."""
        self._writer.close()
