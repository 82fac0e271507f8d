"""training_curves.png: training and evaluation errors over epochs or training windows, without TensorBoard."""

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from glagcn.evaluation.metrics import MPJPE, frame_metrics
from glagcn.files import is_number, write_atomically
from glagcn.runs.records import read_records

LARGEST = 1e12  # matplotlib cannot draw numbers near the largest float
TRAINING = {
    ("train", "mpjpe_mm"): "training",
    ("train", "sequence_mpjpe_mm"): "training, sequence head",
}
AXES = {"epoch": "epoch", "windows": "training windows"}


def curves() -> dict[tuple[str, str], str]:
    """The curves in the order of the legend: {(kind, name) of the records: label}."""
    drawn = [metric for metric in frame_metrics() if metric.drawn]
    evaluated = {
        (kind, metric.name): kind if metric is MPJPE else f"{kind}, {metric.title}"
        for kind in ("validation", "test")
        for metric in drawn
    }
    return TRAINING | evaluated


def draw_training_curves(
    records: Path, target: Path, against: str = "epoch", title: str = "", baseline: float | None = None
) -> None:
    """Draw the errors in mm from `records` (a metrics.jsonl) to the PNG file `target`.

    against   the horizontal axis, "epoch" or "windows".
    baseline  the error in mm of the mean training pose, drawn as a line.
    Raises UserError if `target` cannot be written.
    """
    lines = [line for line in read_records(records) if _is_drawable(line.get(against))]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for (kind, name), label in curves().items():
        points = [
            (line[against], line[name]) for line in lines if line["kind"] == kind and _is_drawable(line.get(name))
        ]
        if points:
            style: dict[str, Any] = {"linewidth": 1} if kind == "train" else {}
            axes.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 30 else None, **style)
    if baseline is not None:
        axes.axhline(baseline, color="gray", linestyle="--", linewidth=1, label="mean-pose baseline")
    axes.set(xlabel=AXES[against], ylabel="error, mm", ylim=(0, None), title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    write_atomically(target, lambda file: figure.savefig(file, dpi=120, format="png"))


def _is_drawable(value: Any) -> bool:
    return is_number(value) and abs(value) < LARGEST
