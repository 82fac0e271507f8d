"""The animation of lifted people: their 2D poses over the video, beside their 3D poses and the true ones.

Static parts (titles, floor, legend) are drawn once; each frame draws the bones of the people in it and the captions.
"""

import io
import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from glagcn.errors import UserError
from glagcn.poses.draw.video import GIF_MAX_FPS, Video, write_animation
from glagcn.poses.result import CAMERA, Poses, in_space
from glagcn.progress import with_progress
from glagcn.skeletons import Skeleton

logger = logging.getLogger(__name__)

DPI = 100
SIZE_INCHES, BITRATE_KBPS = 5.4, 4000  # of the files of `glagcn lift`
STILL_INCHES = 3.2
INPUT, PREDICTION, TRUTH = "2D input", "Prediction", "Ground truth"
SIDES = {"left": "tab:blue", "right": "tab:red", "middle": "black"}  # the colours of one person
COLOURS = ("#1f77b4", "#d95f02", "#2ca02c", "#c51b8a", "#8c6bb1", "#b8860b", "#17a2b8", "#7f7f7f")  # of several people
SHADES = {"left": 1.0, "middle": 0.8, "right": 0.55}  # of a person's colour
BACKGROUND, FLOOR, CAPTION = "#f4f4f4", "#d5d5d5", "#404040"
EDGE = 0.6  # share of a bone's length with a white edge, in 3D
NARROWEST, WIDEST = 0.5, 2.0  # the panel of the image, in heights of the picture
OUTLIER_PERCENT = 1.0  # of the positions at each end, which the 3D view may cut off
MARGIN, LEAST_SIDE_MM = 1.1, 1000.0  # of the 3D view: its side / that of the smallest square around the poses
CAMERA_TO_UPRIGHT = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
# The view is from the side and from above the camera: from the camera itself, depth errors would be invisible.
TURN_DEGREES, RAISE_DEGREES = 25.0, 12.0
MOST_FLOOR_LINES = 24
FLOOR_MM, NEAR_FLOOR_MM = (500.0, 500.0), (300.0, 200.0)  # margin around the poses and squares of the floor


class Animation:
    """Draws frames of lifted people: a panel with the 2D poses, one with the 3D poses, and one with the true poses.

    people    at least one, with the same image size and axes.  Several have a colour each, whose shades tell the sides;
              one alone has the colours of the sides.  Somebody without a root path stands among the others.
    size      height in inches, at 100 pixels per inch.
    truth     the true poses of the only person, in all frames or some; None: no third panel.
    rotation  [3,3] camera to world coordinates, z up, which makes the floor level; None assumes a level camera.

    axes      {title: matplotlib axes}; 3D panels use screen coordinates (see below), mm.
    size_px   (width, height) of a picture, both even, as video encoders require.
    level     height of the floor that is drawn, mm: 0 in z-up axes, else that of the lowest joints.
    """

    def __init__(
        self, people: Sequence[Poses], size: float, truth: Poses | None = None, rotation: np.ndarray | None = None
    ) -> None:
        self.people = people
        self.errors = None if truth is None else frame_errors(people[0], truth)
        self._unit = size  # line widths and font sizes scale with the picture
        self._shown = {PREDICTION: people} | ({} if truth is None else {TRUTH: [truth]})
        self._tables = [_bone_table(person.skeleton, number, len(people)) for number, person in enumerate(people)]

        height = max(2, round(size * DPI / 2) * 2)
        shape = people[0].image_size[0] / people[0].image_size[1]
        image = float(np.clip(0.8 * shape + 0.06, NARROWEST, WIDEST))  # the width of its panel, in heights
        total = image + len(self._shown)
        self.size_px = (round(height * total / 2) * 2, height)
        self._figure = Figure(figsize=(self.size_px[0] / DPI, height / DPI), dpi=DPI, facecolor="white")
        self._canvas = FigureCanvasAgg(self._figure)
        self._borders = [0.0, *((image + number) / total for number in range(len(self._shown))), 1.0]
        self.axes: dict[str, Axes] = {}
        self._captions: dict[str, Text] = {}
        self._bones: dict[str, LineCollection] = {}
        for title, left, right in zip((INPUT, *self._shown), self._borders, self._borders[1:], strict=False):
            self._add_panel(title, left, right)
        self._set_up_image()
        self._set_up_space(rotation)
        self._add_legend()
        self._static = None

    @property
    def image_box(self) -> tuple[int, int]:
        """(width, height) in pixels of the area in which a video frame is shown."""
        box = self.axes[INPUT].get_window_extent()
        return max(1, round(box.width)), max(1, round(box.height))

    def draw(self, frame: int, image: np.ndarray | None = None) -> np.ndarray:
        """Draw frame number `frame` of the video: [H,W,3] uint8.

        image  [h,w,3] uint8, the video frame to show behind the 2D poses, of the size of image_box.
        """
        if self._static is None:
            self._canvas.draw()
            self._static = self._canvas.copy_from_bbox(self._figure.bbox)
        self._canvas.restore_region(self._static)
        picture = np.asarray(self._canvas.buffer_rgba())  # a view: an image artist would take most of the time
        if image is not None:
            box, (height, width) = self.axes[INPUT].get_window_extent(), image.shape[:2]
            top, left = len(picture) - round(box.y1), round(box.x0)
            picture[top : top + height, left : left + width, :3] = image
        self._captions[INPUT].set_text(f"frame {frame}")
        if self.errors is not None:
            known = frame in self.errors
            self._captions[PREDICTION].set_text(f"error {self.errors[frame]:.1f} mm" if known else "error unknown")
        self._set_flat_bones(frame)
        for title in self._shown:
            self._set_bones(title, frame)
        for title, axes in self.axes.items():
            axes.draw_artist(self._bones[title])
            self._figure.draw_artist(self._captions[title])
        return np.ascontiguousarray(picture[..., :3])

    def _set_flat_bones(self, frame: int) -> None:
        """Set the 2D bones of a frame: all edges below all bones, an outline that is visible on any video."""
        bones, colours = self._bones_of(frame, self.people, [person.pixels for person in self.people])
        seen = np.isfinite(bones).all(axis=(1, 2))
        bones, count = bones[seen], int(seen.sum())
        shades = ["white"] * count + [colour for colour, known in zip(colours, seen, strict=True) if known]
        widths = [0.8 * self._unit] * count + [0.45 * self._unit] * count
        self._bones[INPUT].set(segments=[*bones, *bones], color=shades, linewidth=widths)

    def _set_bones(self, title: str, frame: int) -> None:
        """Set the 3D bones of a frame, the farthest first, each above an edge that separates crossing bones.

        The edges end before the joints, where bones meet.
        """
        bones, colours = self._bones_of(frame, self._shown[title], self._screen[title])
        order = np.argsort(-bones[..., 2].sum(axis=1), kind="stable")
        bones = bones[order, :, :2]
        edges = (1 - EDGE) / 2 * bones.sum(axis=1, keepdims=True) + EDGE * bones
        pairs = np.stack([edges, bones], axis=1).reshape(-1, 2, 2)
        shades = [colour for bone in order for colour in ("white", colours[bone])]
        self._bones[title].set(
            segments=pairs, color=shades, linewidth=[0.9 * self._unit, 0.55 * self._unit] * len(bones)
        )

    def _bones_of(
        self, frame: int, people: Sequence[Poses], points: list[np.ndarray]
    ) -> tuple[np.ndarray, list[tuple]]:
        """The ends [B,2,C], of the points [T,V,C] of each person, and colours of the bones of who is in a frame."""
        ends, colours = [np.zeros((0, 2, points[0].shape[-1]))], []
        for person, places, (children, parents, shades) in zip(people, points, self._tables, strict=True):
            for row in range(*np.searchsorted(person.frames, (frame, frame + 1))):
                ends.append(np.stack([places[row][children], places[row][parents]], axis=1))
                colours += shades
        return np.concatenate(ends), colours

    def _add_panel(self, title: str, left: float, right: float) -> None:
        gap, middle = 0.03 * (right - left), (left + right) / 2
        axes = self.axes[title] = self._figure.add_axes((left + gap, 0.06, right - left - 2 * gap, 0.80))
        axes.set(xticks=[], yticks=[], frame_on=False)
        self._add_text(middle, 0.94, title, 2.8)
        self._captions[title] = self._add_text(middle, 0.89, "", 2.2, color=CAPTION, animated=True)
        self._bones[title] = LineCollection([], capstyle="round", animated=True, zorder=3)
        axes.add_collection(self._bones[title], autolim=False)

    def _add_text(self, x: float, y: float, text: str, size: float, **style: Any) -> Text:
        return self._figure.text(x, y, text, ha="center", va="center", fontsize=size * self._unit, **style)

    def _set_up_image(self) -> None:
        """Set up the 2D panel: image coordinates, y down, light background."""
        axes, (width, height) = self.axes[INPUT], self.people[0].image_size
        axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal", frame_on=True, facecolor=BACKGROUND)
        axes.apply_aspect()
        for spine in axes.spines.values():
            spine.set_color(FLOOR)

    def _set_up_space(self, rotation: np.ndarray | None) -> None:
        """Set up the 3D panels: one box for all frames but outliers, and a floor."""
        in_camera, view = self.people[0].axes == CAMERA, screen_matrix().T
        turn = upright_matrix(rotation).T if in_camera else np.eye(3)
        upright = {title: [place @ turn for place in in_space(people)] for title, people in self._shown.items()}
        self._screen = {title: [place @ view for place in places] for title, places in upright.items()}
        points = np.concatenate([place.reshape(-1, 3) for places in upright.values() for place in places])
        low, high = np.percentile(points, [OUTLIER_PERCENT, 100 - OUTLIER_PERCENT], axis=0)
        self.level = float(low[2]) if in_camera else 0.0
        moving = any(person.root is not None for person in self.people)
        margin, square = FLOOR_MM if moving else NEAR_FLOOR_MM
        floor = floor_lines(low[:2] - margin, high[:2] + margin, self.level, square) @ view
        usual = points[((points >= low) & (points <= high)).all(axis=1)] @ view
        inside = np.concatenate([usual, floor.reshape(-1, 3)])[:, :2]
        x, y = (inside.min(axis=0) + inside.max(axis=0)) / 2
        half = max(float(np.ptp(inside, axis=0).max()), LEAST_SIDE_MM) / 2 * MARGIN
        for title in self._shown:
            axes = self.axes[title]
            axes.set(xlim=(x - half, x + half), ylim=(y - half, y + half), aspect="equal")
            axes.apply_aspect()
            axes.add_collection(LineCollection(floor[..., :2], colors=FLOOR, linewidths=0.2 * self._unit, zorder=1))

    def _add_legend(self) -> None:
        entries, width = [(f"person {p.person}", c) for p, c in zip(self.people, COLOURS, strict=False)], 1.0
        if len(self.people) == 1:  # the sides, below the 2D panel
            entries, width = [(side, SIDES[side]) for side in ("left", "right")], self._borders[1]
        for number, (text, colour) in enumerate(entries):
            self._add_text((number + 0.5) / len(entries) * width, 0.03, text, 2.0, color=colour)


def still(person: Poses) -> bytes:
    """A PNG of the frame in the middle."""
    row = slice(len(person.frames) // 2, len(person.frames) // 2 + 1)
    names = ("frames", "xyz", "confidence", "pixels", "root", "times")
    parts: dict[str, Any] = {name: None if (values := getattr(person, name)) is None else values[row] for name in names}
    one = replace(person, **parts)
    picture = Animation([one], STILL_INCHES).draw(int(one.frames[0]))
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def animate_people(
    path: Path,
    people: Sequence[Poses],
    video: Video | None = None,
    times: np.ndarray | None = None,
    length: int | None = None,
) -> None:
    """Write people as .gif or .mp4, over a video if there is one.

    times   [N] seconds of all frames of the video; None: of the poses, or evenly spaced.
    length  the frames of the video; None: those from the first to the last in which somebody is.
    """
    first = min(int(person.frames[0]) for person in people)
    last = max(int(person.frames[-1]) for person in people)
    if times is None and people[0].times is not None:
        known = np.array(sorted({pair for p in people for pair in zip(p.frames, p.seconds, strict=True)}))
        times = np.interp(np.arange(last + 1), *known.T)
    frames = range(length) if length else range(first, last + 1)
    animate(path, Animation(people, SIZE_INCHES), frames, people[0].fps, BITRATE_KBPS, video, times)


def animate(
    path: Path,
    animation: Animation,
    frames: range,
    fps: float,
    bitrate: int,
    video: Video | None,
    times: np.ndarray | None = None,
) -> None:
    """Write the pictures of these frames as .gif or .mp4, over those of the video; see `write_animation`.

    times  of all frames of the video, seconds; None: fps states them.
    """
    if times is not None:
        times = times[frames.start : frames.stop : frames.step] - times[frames.start]
    if path.suffix.lower() == ".gif" and fps > GIF_MAX_FPS and times is None:
        logger.info(f"a .gif shows at most {GIF_MAX_FPS:g} frames per second: {path} plays slower than {fps:g}")
    with closing(_pictures(animation, frames, video)) as pictures:
        write_animation(path, pictures, animation.size_px, fps, bitrate, times)
    logger.info(f"Wrote {path}: {len(frames)} frames of {animation.size_px[0]}x{animation.size_px[1]}")


def _pictures(animation: Animation, frames: range, video: Video | None) -> Generator[np.ndarray, None, None]:
    """The pictures of frames, in order.  Closing the generator closes the video."""
    with ExitStack() as stack:
        images: Iterator[np.ndarray | None] = repeat(None)
        if video:
            images = stack.enter_context(closing(video.frames(animation.image_box, frames.start, frames.step)))
        for frame in with_progress(frames, len(frames), "drawn"):
            yield animation.draw(frame, next(images, None))


def frame_errors(poses: Poses, truth: Poses) -> dict[int, float]:
    """{frame: mean error over all joints, mm} of the frames that have a true pose."""
    frames, rows, true_rows = np.intersect1d(poses.frames, truth.frames, return_indices=True)
    errors = np.linalg.norm(poses.xyz[rows] - truth.xyz[true_rows], axis=-1).mean(axis=-1)
    return dict(zip(frames.tolist(), errors.tolist(), strict=True))


def side_of(joint: int, skeleton: Skeleton) -> str:
    """The side of a joint and of the bone to its parent: "left", "right" or "middle"."""
    return "left" if joint in skeleton.left else "right" if joint in skeleton.right else "middle"


def _bone_table(skeleton: Skeleton, number: int, count: int) -> tuple[np.ndarray, np.ndarray, list[tuple]]:
    """The children and parents [B] of the bones, and their colours, of person `number` of `count`."""
    children = np.array([joint for joint in range(skeleton.num_joints) if joint != skeleton.root])
    own = to_rgb(COLOURS[number % len(COLOURS)])
    shades = [
        to_rgb(SIDES[side]) if count == 1 else tuple(SHADES[side] * part for part in own)
        for side in (side_of(int(joint), skeleton) for joint in children)
    ]
    return children, np.array(skeleton.parents)[children], shades


# ---- The view.  Camera coordinates: x right, y down, z forward.  Upright coordinates: x right, y away from the camera,
# z up.  Screen coordinates: right, up, depth.  All in millimetres.


def upright_matrix(rotation: np.ndarray | None = None) -> np.ndarray:
    """The rotation [3,3] from camera to upright coordinates.

    rotation  [3,3] from camera to world coordinates with z up, which makes the floor level; None assumes a level
              camera.
    Raises UserError if `rotation` is not an orthogonal matrix.
    """
    if rotation is None:
        return CAMERA_TO_UPRIGHT
    rotation = np.asarray(rotation, dtype=np.float64)
    if rotation.shape != (3, 3) or not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3):
        raise UserError(f"invalid rotation {rotation.tolist()}: must be an orthogonal matrix [3,3], camera to world")
    forward = rotation[:2, 2]
    if np.hypot(*forward) < 1e-3:  # the camera looks straight down or up: the top of its image is ahead
        forward = -rotation[:2, 1]
    x, y = forward / np.hypot(*forward)
    return np.array([[y, -x, 0], [x, y, 0], [0, 0, 1]]) @ rotation


def screen_matrix() -> np.ndarray:
    """The rotation [3,3] from upright coordinates to the screen: rows right, up, depth."""
    turn, raised = np.radians(TURN_DEGREES), np.radians(RAISE_DEGREES)
    right, away = np.array([np.cos(turn), np.sin(turn), 0]), np.array([-np.sin(turn), np.cos(turn), 0])
    up = np.array([0.0, 0, 1])
    return np.stack([right, np.cos(raised) * up + np.sin(raised) * away, np.cos(raised) * away - np.sin(raised) * up])


def floor_lines(low: np.ndarray, high: np.ndarray, level: float, square: float) -> np.ndarray:
    """A grid on the floor [n,2,3], mm: z = level, x and y from `low` [2] to `high` [2], rounded to whole squares.

    square  the side of a square, mm; doubled until there are at most MOST_FLOOR_LINES.
    """
    step = square
    while (high - low).max() > MOST_FLOOR_LINES * step:
        step *= 2
    (x0, y0), (x1, y1) = np.floor(low / step) * step, np.ceil(high / step) * step
    along_y = [[(x, y0, level), (x, y1, level)] for x in np.arange(x0, x1 + step / 2, step)]
    along_x = [[(x0, y, level), (x1, y, level)] for y in np.arange(y0, y1 + step / 2, step)]
    return np.array(along_y + along_x)
