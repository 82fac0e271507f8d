"""The animation of lifted people: their 2D poses over the video, beside a 3D view of all of them.

Static parts are drawn once, as in animation.py; each frame draws the bones of whoever is in it.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from glagcn.poses.draw.animation import BACKGROUND, CAPTION, DPI, EDGE, FLOOR
from glagcn.poses.draw.projection import CAMERA_TO_UPRIGHT, PREDICTED, frame_box, screen_matrix, side_of
from glagcn.poses.result import CAMERA, Poses

COLOURS = ("#1f77b4", "#d95f02", "#2ca02c", "#c51b8a", "#8c6bb1", "#b8860b", "#17a2b8", "#7f7f7f")
SHADES = {"left": 1.0, "middle": 0.8, "right": 0.55}  # of a person's colour
NARROWEST, WIDEST = 0.5, 2.0  # the image's panel, in heights of the picture
OUTLIER_PERCENT = 1.0  # of the positions at each end, which the 3D view may cut off
FLOOR_MARGIN_MM, FLOOR_STEP_MM, MOST_FLOOR_LINES = 500.0, 500.0, 24


class PeopleAnimation:
    """Draws frames of lifted people.

    people   at least one, with the same image size and axes.  Several have a colour each, whose shades tell the sides;
             one alone has the colours of the sides.  Somebody without a root path stands amid the others.
    size     height in inches, at 100 pixels per inch.
    size_px  (width, height) of a picture, both even, as video encoders require.
    level    height of the floor that is drawn, mm: 0 in z-up axes, else that of the lowest joints.
    """

    def __init__(self, people: Sequence[Poses], size: float) -> None:
        self.people = people
        self._unit = size  # line widths and font sizes scale with the picture
        side = max(2, round(size * DPI / 2) * 2)
        width, height = people[0].image_size
        share = float(np.clip(0.8 * width / height + 0.06, NARROWEST, WIDEST))  # of the image's panel, in heights
        self.size_px = (round(side * (share + 1) / 2) * 2, side)
        self._figure = Figure(figsize=(self.size_px[0] / DPI, side / DPI), dpi=DPI, facecolor="white")
        self._canvas = FigureCanvasAgg(self._figure)
        split = share / (share + 1)
        self.axes = {"2D": self._add_axes(0, split, "2D input"), "3D": self._add_axes(split, 1, "3D")}
        self._caption = self._figure.text(
            split / 2, 0.89, "", ha="center", va="center", fontsize=2.2 * size, color=CAPTION, animated=True
        )
        self._bones = {panel: self._add_bones(axes) for panel, axes in self.axes.items()}
        self._tables = [_bone_table(person, number, len(people)) for number, person in enumerate(people)]
        self._upright = _upright(people)
        self._screen = [points @ screen_matrix().T for points in self._upright]
        self._set_up_image()
        self._set_up_space()
        self._add_legend()
        self._static = None

    @property
    def image_box(self) -> tuple[int, int]:
        """(width, height) in pixels of the area in which a video frame is shown."""
        box = self.axes["2D"].get_window_extent()
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
            box, (height, width) = self.axes["2D"].get_window_extent(), image.shape[:2]
            top, left = len(picture) - round(box.y1), round(box.x0)
            picture[top : top + height, left : left + width, :3] = image
        self._caption.set_text(f"frame {frame}")
        self._set_bones(frame)
        for panel, axes in self.axes.items():
            axes.draw_artist(self._bones[panel])
        self._figure.draw_artist(self._caption)
        return np.ascontiguousarray(picture[..., :3])

    def _set_bones(self, frame: int) -> None:
        """Set the bones of everybody in a frame, each above a white edge; in 3D the farthest first."""
        flat, space = [np.zeros((0, 2, 2))], [np.zeros((0, 2, 3))]
        flat_colours: list[tuple] = []
        colours: list[tuple] = []
        for person, screen, (children, parents, shades) in zip(self.people, self._screen, self._tables, strict=True):
            row = np.searchsorted(person.frames, frame)
            if row == len(person.frames) or person.frames[row] != frame:
                continue
            ends = np.stack([person.pixels[row][children], person.pixels[row][parents]], axis=1)
            seen = np.isfinite(ends).all(axis=(1, 2))
            flat.append(ends[seen])
            flat_colours += [shade for shade, drawn in zip(shades, seen, strict=True) if drawn]
            space.append(np.stack([screen[row][children], screen[row][parents]], axis=1))
            colours += shades
        ends, count = np.concatenate(flat), len(flat_colours)
        widths = [0.8] * count + [0.45] * count  # all edges below all bones: an outline that is visible on any video
        self._show("2D", np.concatenate([ends, ends]), ["white"] * count + flat_colours, widths)
        bones = np.concatenate(space)
        order = np.argsort(-bones[..., 2].sum(axis=1), kind="stable")
        bones = bones[order, :, :2]
        edges = (1 - EDGE) / 2 * bones.sum(axis=1, keepdims=True) + EDGE * bones
        pairs = np.stack([edges, bones], axis=1).reshape(-1, 2, 2)
        self._show("3D", pairs, [c for bone in order for c in ("white", colours[bone])], [0.9, 0.55] * len(bones))

    def _show(self, panel: str, segments: np.ndarray, colours: list, widths: list[float]) -> None:
        self._bones[panel].set_segments(list(segments))
        self._bones[panel].set_color(colours)
        self._bones[panel].set_linewidth([width * self._unit for width in widths])

    def _add_axes(self, left: float, right: float, title: str) -> Axes:
        gap = 0.03 * (right - left)
        axes = self._figure.add_axes((left + gap, 0.06, right - left - 2 * gap, 0.80))
        axes.set(xticks=[], yticks=[])
        axes.set_frame_on(False)
        self._figure.text((left + right) / 2, 0.94, title, ha="center", va="center", fontsize=2.8 * self._unit)
        return axes

    def _add_bones(self, axes: Axes) -> LineCollection:
        bones = LineCollection([], capstyle="round", animated=True, zorder=3)
        axes.add_collection(bones, autolim=False)
        return bones

    def _set_up_image(self) -> None:
        """Set up the 2D panel: image coordinates, y down, light background."""
        axes, (width, height) = self.axes["2D"], self.people[0].image_size
        axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        axes.apply_aspect()
        axes.patch.set(visible=True, facecolor=BACKGROUND)
        axes.set_frame_on(True)
        for spine in axes.spines.values():
            spine.set_color(FLOOR)

    def _set_up_space(self) -> None:
        """Set up the 3D panel: one box for all frames but outliers, and a floor."""
        axes, points = self.axes["3D"], np.concatenate([p.reshape(-1, 3) for p in self._upright])
        low, high = np.percentile(points, [OUTLIER_PERCENT, 100 - OUTLIER_PERCENT], axis=0)
        self.level = float(low[2]) if self.people[0].axes == CAMERA else 0.0
        floor = _floor_lines(low[:2] - FLOOR_MARGIN_MM, high[:2] + FLOOR_MARGIN_MM, self.level) @ screen_matrix().T
        usual = points[((points >= low) & (points <= high)).all(axis=1)] @ screen_matrix().T
        (x, y), half = frame_box(np.concatenate([usual, floor.reshape(-1, 3)]))
        axes.set(xlim=(x - half, x + half), ylim=(y - half, y + half), aspect="equal")
        axes.apply_aspect()
        axes.add_collection(LineCollection(floor[..., :2], colors=FLOOR, linewidths=0.2 * self._unit, zorder=1))

    def _add_legend(self) -> None:
        if len(self.people) == 1:
            entries = [(side, PREDICTED[side]) for side in ("left", "right")]
        else:
            named = list(zip(self.people, COLOURS, strict=False))
            entries = [(f"person {person.person}", colour) for person, colour in named]
        for number, (text, colour) in enumerate(entries):
            x = (number + 0.5) / len(entries)
            self._figure.text(x, 0.03, text, ha="center", va="center", fontsize=2.0 * self._unit, color=colour)


def _bone_table(person: Poses, number: int, count: int) -> tuple[np.ndarray, np.ndarray, list[tuple]]:
    """The children and parents [B] of the bones, and their colours, of person `number` of `count`."""
    skeleton = person.skeleton
    children = np.array([joint for joint in range(skeleton.num_joints) if joint != skeleton.root])
    sides = [side_of(int(joint), skeleton) for joint in children]
    own = to_rgb(COLOURS[number % len(COLOURS)])
    shades = [to_rgb(PREDICTED[s]) if count == 1 else tuple(SHADES[s] * part for part in own) for s in sides]
    return children, np.array(skeleton.parents)[children], shades


def _upright(people: Sequence[Poses]) -> list[np.ndarray]:
    """[T,V,3] of each person: x right, y away from the camera, z up, in mm, at the root position."""
    roots = [person.root for person in people if person.root is not None]
    middle = np.concatenate(roots).mean(axis=0) if roots else np.zeros(3)
    turn = CAMERA_TO_UPRIGHT.T if people[0].axes == CAMERA else np.eye(3)
    return [(p.xyz + (middle if p.root is None else p.root[:, None])) @ turn for p in people]


def _floor_lines(low: np.ndarray, high: np.ndarray, level: float) -> np.ndarray:
    """A grid on the floor [n,2,3], mm: z = level, x and y from `low` [2] to `high` [2], rounded to the step."""
    step = FLOOR_STEP_MM
    while (high - low).max() > MOST_FLOOR_LINES * step:
        step *= 2
    (x0, y0), (x1, y1) = np.floor(low / step) * step, np.ceil(high / step) * step
    along_y = [[(x, y0, level), (x, y1, level)] for x in np.arange(x0, x1 + step / 2, step)]
    along_x = [[(x0, y, level), (x1, y, level)] for y in np.arange(y0, y1 + step / 2, step)]
    return np.array(along_y + along_x)
