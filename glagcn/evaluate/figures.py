"""Matplotlib figures of predicted and true poses."""

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from glagcn.evaluate.benchmarks import Evaluation
from glagcn.poses.draw.animation import SIDES, side_of
from glagcn.skeletons import Skeleton

MOST_SEQUENCES = 3  # TensorBoard shows pictures about 330 pixels wide
SHORT_NAME = 10  # characters; a longer name gets its own line
REACH_MM = 1000  # half the side of the box around the root
# {side: colour}.  The true pose has two colours too, so that swapped sides are visible.
TRUE = {"left": "#a9cbe8", "right": "#f3b3b0", "middle": "#c8c8c8"}
VIEWS = {"from the camera": 0, "from the side, camera at the left": 2}  # {name: horizontal coordinate}


def skeleton_figure(evaluation: Evaluation) -> Figure:
    """Predicted poses (thin) over true poses (wide and pale): the middle scored frame of up to three sequences.

    The sequences are evenly spaced, so every evaluation shows the same frames.  Titles give the mean error of the frame
    over all joints.
    """
    filled = [number for number, poses in enumerate(evaluation.predicted) if len(poses)]
    chosen = np.linspace(0, len(filled) - 1, min(MOST_SEQUENCES, len(filled))).round().astype(int)
    shown = [filled[index] for index in chosen]
    figure = Figure(figsize=(max(2.6 * len(shown), 5.2), 6.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(VIEWS), max(1, len(shown)), squeeze=False)
    for column, number in enumerate(shown):
        middle = len(evaluation.predicted[number]) // 2
        predicted, target = evaluation.predicted[number][middle], evaluation.target[number][middle]
        error = np.linalg.norm(predicted - target, axis=-1).mean()
        name = evaluation.sequences[number].name
        lines = f"{name}: {error:.0f} mm" if len(name) <= SHORT_NAME else f"{name}\n{error:.0f} mm"
        axes[0, column].set_title(lines, fontsize=11 if len(name) <= SHORT_NAME else 8)
        for axis, horizontal in zip(axes[:, column], VIEWS.values(), strict=True):
            draw_pose(axis, target, evaluation.skeleton, horizontal, TRUE, width=6)
            draw_pose(axis, predicted, evaluation.skeleton, horizontal, SIDES, width=2.5)
            axis.set(xlim=(-REACH_MM, REACH_MM), ylim=(REACH_MM, -REACH_MM), aspect="equal", xticks=[], yticks=[])
    for axis, name in zip(axes[:, 0], VIEWS, strict=True):
        axis.set_ylabel(name, fontsize=11)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=3, frameon=False, fontsize=10)
    return figure


@rc_context({"text.parse_math": False})  # show a $ in a name as it is
def poses_figure(titles: list[str], target: np.ndarray, predicted: dict[str, np.ndarray], skeleton: Skeleton) -> Figure:
    """Poses [n,V,3] mm of several models (thin, a colour each) over true poses (wide and pale), a column for each.

    predicted  {name of the model: poses};  titles  of the n columns.
    """
    figure = Figure(figsize=(max(3.2 * len(titles), 6.4), 7.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(VIEWS), len(titles), squeeze=False)
    for number, title in enumerate(titles):
        axes[0, number].set_title(title, fontsize=9)
        for axis, horizontal in zip(axes[:, number], VIEWS.values(), strict=True):
            draw_pose(axis, target[number], skeleton, horizontal, TRUE, width=6)
            for colour, poses in enumerate(predicted.values()):
                draw_pose(axis, poses[number], skeleton, horizontal, dict.fromkeys(TRUE, f"C{colour}"), width=2)
            axis.set(xlim=(-REACH_MM, REACH_MM), ylim=(REACH_MM, -REACH_MM), aspect="equal", xticks=[], yticks=[])
    for axis, name in zip(axes[:, 0], VIEWS, strict=True):
        axis.set_ylabel(name, fontsize=11)
    lines = [Line2D([], [], color=TRUE["middle"], linewidth=6)]
    lines += [Line2D([], [], color=f"C{colour}") for colour in range(len(predicted))]
    labels = ["true (left blue, right red)", *predicted]
    figure.legend(lines, labels, loc="outside lower center", ncols=min(4, len(lines)), frameon=False, fontsize=10)
    return figure


def draw_pose(
    axis: Axes, pose: np.ndarray, skeleton: Skeleton, horizontal: int, colours: dict[str, str], width: float
) -> None:
    """Draw a pose [V,3] mm: coordinate `horizontal` to the right, y down."""
    for joint, parent in enumerate(skeleton.parents):
        line, colour = pose[[joint, parent]], colours[side_of(joint, skeleton)]
        axis.plot(line[:, horizontal], line[:, 1], color=colour, linewidth=width, solid_capstyle="round")


def _legend() -> list[Line2D]:
    return [
        Line2D([], [], color=colour, linewidth=width, label=f"{name} {side}")
        for name, colours, width in (("true", TRUE, 6), ("predicted", SIDES, 2.5))
        for side, colour in colours.items()
    ]
