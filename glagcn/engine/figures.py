"""Pictures of poses."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from glagcn.skeleton import Skeleton

if TYPE_CHECKING:
    from glagcn.engine.evaluation import Evaluation

TRUE, LEFT, RIGHT = "0.65", "tab:blue", "tab:red"
REACH_MM = 1100  # half the side of the box that is drawn around the root


def skeleton_figure(evaluation: "Evaluation", skeleton: Skeleton) -> Figure:
    """Predicted poses (left side blue, right side red, trunk black) over true ones (grey), the middle scored frame of
    each sequence (the first six), so that the same frames are seen every time.  Front view above, side view below.
    """
    count = min(6, len(evaluation.names))
    figure = Figure(figsize=(2.6 * count, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = np.atleast_2d(figure.subplots(2, count, squeeze=False))
    for column in range(count):
        middle = len(evaluation.predicted[column]) // 2
        predicted, target = evaluation.predicted[column][middle], evaluation.target[column][middle]
        error = np.linalg.norm(predicted - target, axis=-1).mean()
        axes[0, column].set_title(f"{evaluation.names[column]}  {error:.0f} mm", fontsize=10)
        for axis, horizontal in zip(axes[:, column], (0, 2), strict=True):
            draw_pose(axis, target, skeleton, horizontal, true=True)
            draw_pose(axis, predicted, skeleton, horizontal)
            axis.set(xlim=(-REACH_MM, REACH_MM), ylim=(REACH_MM, -REACH_MM), aspect="equal", xticks=[], yticks=[])
    axes[0, 0].set_ylabel("front")
    axes[1, 0].set_ylabel("side")
    return figure


def draw_pose(axis, pose: np.ndarray, skeleton: Skeleton, horizontal: int, true: bool = False) -> None:
    """Draw one pose [V,3] mm on matplotlib axes: coordinate `horizontal` against y, which points down."""
    for joint, parent in enumerate(skeleton.parents):
        side = LEFT if joint in skeleton.left else RIGHT if joint in skeleton.right else "black"
        line = pose[[joint, parent]]
        axis.plot(line[:, horizontal], line[:, 1], color=TRUE if true else side, linewidth=4 if true else 1.8)
