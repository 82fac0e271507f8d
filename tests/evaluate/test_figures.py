import numpy as np

from glagcn.data.dataset import SequenceInfo
from glagcn.evaluate.benchmarks import BENCHMARKS
from glagcn.evaluate.evaluate import Evaluation
from glagcn.evaluate.figures import MOST_SEQUENCES, VIEWS, skeleton_figure
from glagcn.skeletons import get_skeleton

SKELETON = get_skeleton("mpi3dhp17")


def evaluation(counts, error=30.0):
    """Sequences of so many frames; every joint is predicted `error` mm to the right."""
    rng = np.random.default_rng(0)
    target = [rng.uniform(-800, 800, (count, 17, 3)) for count in counts]
    names = [f"TS{number + 1}" for number in range(len(counts))]
    predicted = [poses + np.array([error, 0, 0]) for poses in target]
    frames = [np.arange(count) for count in counts]
    sequences = tuple(
        SequenceInfo(name, name, 0, count, 25, 640, 480) for name, count in zip(names, counts, strict=True)
    )
    return Evaluation(BENCHMARKS["mpi_inf_3dhp"], SKELETON, sequences, frames, predicted, target)


def test_titles_name_the_sequence_and_the_error_of_the_frame():
    figure = skeleton_figure(evaluation([3, 4]))
    assert [axis.get_title() for axis in figure.axes] == ["TS1: 30 mm", "TS2: 30 mm", "", ""]
    assert [axis.get_ylabel() for axis in figure.axes[::2]] == list(VIEWS)
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == [f"{pose} {side}" for pose in ("true", "predicted") for side in ("left", "right", "middle")]
    figure.canvas.draw()
    assert (np.asarray(figure.canvas.buffer_rgba()) != 255).any()


def test_bones_lie_where_the_middle_frame_has_them():
    shown = evaluation([5])
    front, side = skeleton_figure(shown).axes
    true, predicted = shown.target[0][2], shown.predicted[0][2]
    knee, ankle = SKELETON.joints.index("left_knee"), SKELETON.joints.index("left_ankle")
    for axis, horizontal in ((front, 0), (side, 2)):
        assert len(axis.lines) == 2 * 17
        for pose, line in ((true, axis.lines[ankle]), (predicted, axis.lines[17 + ankle])):
            np.testing.assert_array_equal(line.get_xydata(), pose[[ankle, knee]][:, [horizontal, 1]])
    assert front.lines[17 + ankle].get_color() == "tab:blue"
    top, bottom = front.get_ylim()[::-1]
    assert top < bottom  # y points down, as in the image


def test_at_most_three_spread_over_all_and_none_without_frames():
    figure = skeleton_figure(evaluation([1] * 11))
    assert len(figure.axes) == MOST_SEQUENCES * 2
    assert [axis.get_title().partition(":")[0] for axis in figure.axes[:3]] == ["TS1", "TS6", "TS11"]
    figure = skeleton_figure(evaluation([0, 2, 0, 1]))
    assert [axis.get_title()[:3] for axis in figure.axes[:2]] == ["TS2", "TS4"]
