"""The animation of a sequence: 2D input, predicted pose and true pose, side by side.

Static parts (titles, floor, legend) are drawn once; each frame draws only the bones and captions.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text

from glagcn.poses.draw.projection import PREDICTED, floor_lines, frame_box, screen_matrix, side_of, upright_matrix
from glagcn.skeletons import Skeleton

DPI = 100
FLOOR_MM, FLOOR_STEP_MM = 800.0, 200.0
EDGE = 0.6  # share of a bone's length with a white edge
BACKGROUND, FLOOR, CAPTION = "#f4f4f4", "#d5d5d5", "#404040"
TITLES = ("2D input", "Prediction", "Ground truth")


@dataclass(frozen=True)
class Clip:
    """n frames to draw.

    skeleton    of the 3D poses.
    frames      [n] frame numbers in the sequence.
    pixels      [n,Vin,2] the 2D input, in pixels of an image of image_size (width, height).
    predicted   [n,V,3] mm relative to the root, camera coordinates.
    target      [n,V,3] the same for the true pose, or None.
    rotation    [3,3] camera to world (z up), which makes the floor level; None assumes a level camera.
    """

    skeleton: Skeleton
    frames: np.ndarray
    pixels: np.ndarray
    image_size: tuple[int, int]
    predicted: np.ndarray
    target: np.ndarray | None = None
    rotation: np.ndarray | None = None

    @cached_property
    def drawn_pixels(self) -> np.ndarray:
        """[n,V,2] the 2D input at the joints of the skeleton, mapped by its joint map if it has one."""
        if self.skeleton.joint_map is None:
            return self.pixels
        return np.stack([self.pixels[:, list(joints)].mean(axis=1) for joints in self.skeleton.joint_map], axis=1)

    @cached_property
    def errors(self) -> np.ndarray | None:
        """[n] the mean error over all joints, mm; None without a target."""
        return None if self.target is None else np.linalg.norm(self.predicted - self.target, axis=-1).mean(axis=-1)


class Animation:
    """Draws the frames of a Clip.

    size        height in inches, at 100 pixels per inch; each panel is square.
    axes        {title: matplotlib axes}; 3D panels use screen coordinates (projection.py), mm.
    size_px     (width, height) of a picture, both even, as video encoders require.
    """

    def __init__(self, clip: Clip, size: float) -> None:
        self.clip = clip
        titles = TITLES if clip.target is not None else TITLES[:2]
        side = max(2, round(size * DPI / 2) * 2)
        self.size_px = (side * len(titles), side)
        self._unit = size  # line widths and font sizes scale with the picture
        self._figure = Figure(figsize=(self.size_px[0] / DPI, side / DPI), dpi=DPI, facecolor="white")
        self._canvas = FigureCanvasAgg(self._figure)
        self.axes = {title: self._add_axes(number, len(titles), title) for number, title in enumerate(titles)}
        self._image: AxesImage | None = None
        self._captions = {title: self._add_caption(title) for title in titles}
        self._bones = {title: self._add_bones(title) for title in titles}
        self._screen = self._project(clip.predicted), None if clip.target is None else self._project(clip.target)
        self._set_up_image()
        self._set_up_space()
        self._add_legend()
        self._static = None

    @property
    def image_box(self) -> tuple[int, int]:
        """(width, height) in pixels of the area in which a video frame is shown."""
        box = self.axes["2D input"].get_window_extent()
        return max(1, round(box.width)), max(1, round(box.height))

    def draw(self, index: int, image: np.ndarray | None = None) -> np.ndarray:
        """Draw frame `index` of the clip: [H,W,3] uint8, which the next call overwrites.

        image  [h,w,3] uint8, a video frame to show behind the 2D input.
        """
        if self._static is None:
            self._canvas.draw()
            self._static = self._canvas.copy_from_bbox(self._figure.bbox)
        self._canvas.restore_region(self._static)
        for title, artists in self._update(index, image).items():
            for artist in artists:
                self.axes[title].draw_artist(artist)
        return np.ascontiguousarray(np.asarray(self._canvas.buffer_rgba())[..., :3])

    def _update(self, index: int, image: np.ndarray | None) -> dict[str, list[Artist]]:
        """Set the artists of a frame.  Returns the artists to draw, by panel."""
        clip, (predicted, target) = self.clip, self._screen
        background: list[Artist] = []
        if image is not None and self._image is not None:
            self._image.set_data(image)
            background = [self._image]
        self._captions["2D input"].set_text(f"frame {clip.frames[index]}")
        self._set_bones("2D input", clip.drawn_pixels[index], None)
        self._set_bones("Prediction", predicted[index, :, :2], predicted[index, :, 2])
        if target is not None and clip.errors is not None:
            error = clip.errors[index]
            self._captions["Prediction"].set_text(f"error {error:.1f} mm" if np.isfinite(error) else "error unknown")
            self._set_bones("Ground truth", target[index, :, :2], target[index, :, 2])
        return {
            title: [*(background if title == "2D input" else []), self._bones[title], self._captions[title]]
            for title in self.axes
        }

    def _set_bones(self, title: str, points: np.ndarray, depth: np.ndarray | None) -> None:
        """Set the bones of a panel, with white edges; with depth, the farthest bones are drawn first."""
        children, parents, colours = self._bone_table
        ends = np.stack([points[children], points[parents]], axis=1)  # [B,2,2]
        if depth is None:  # all edges below all bones: an outline that is visible on any video
            segments, shades = np.concatenate([ends, ends]), ["white"] * len(ends) + colours
        else:  # each edge directly below its bone, to separate crossing bones; no edge at the ends, where bones meet
            order = np.argsort(-(depth[children] + depth[parents]), kind="stable")
            edges = (1 - EDGE) / 2 * ends.sum(axis=1, keepdims=True) + EDGE * ends
            segments = np.stack([edges, ends], axis=1)[order].reshape(-1, 2, 2)
            shades = [shade for bone in order for shade in ("white", colours[bone])]
        self._bones[title].set_segments(list(segments))
        self._bones[title].set_color(shades)

    @cached_property
    def _bone_table(self) -> tuple[np.ndarray, np.ndarray, list[str]]:
        skeleton = self.clip.skeleton
        children = np.array([joint for joint in range(skeleton.num_joints) if joint != skeleton.root])
        colours = [PREDICTED[side_of(int(joint), skeleton)] for joint in children]
        return children, np.array(skeleton.parents)[children], colours

    def _project(self, poses: np.ndarray) -> np.ndarray:
        """Camera to screen coordinates, [n,V,3] both."""
        return poses @ (screen_matrix() @ upright_matrix(self.clip.rotation)).T

    def _add_axes(self, number: int, panels: int, title: str) -> Axes:
        axes = self._figure.add_axes(((number + 0.03) / panels, 0.06, 0.94 / panels, 0.80))
        axes.set(xticks=[], yticks=[])
        axes.set_frame_on(False)
        self._figure.text(
            (number + 0.5) / panels, 0.94, title, ha="center", va="center", fontsize=2.8 * self._unit, color="black"
        )
        return axes

    def _add_caption(self, title: str) -> Text:
        box = self.axes[title].get_position()
        return self._figure.text(
            (box.x0 + box.x1) / 2, 0.89, "", ha="center", va="center", fontsize=2.2 * self._unit, color=CAPTION,
            animated=True,
        )  # fmt: skip

    def _add_bones(self, title: str) -> LineCollection:
        count = len(self._bone_table[0])
        widths = [0.8] * count + [0.45] * count if title == "2D input" else [1.1, 0.7] * count  # see _set_bones
        bones = LineCollection([], linewidths=np.array(widths) * self._unit, capstyle="round", animated=True, zorder=3)
        self.axes[title].add_collection(bones, autolim=False)
        return bones

    def _set_up_image(self) -> None:
        """Set up the 2D panel: image coordinates, y down, light background."""
        axes, (width, height) = self.axes["2D input"], self.clip.image_size
        axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        axes.apply_aspect()
        axes.patch.set(visible=True, facecolor=BACKGROUND)
        axes.set_frame_on(True)
        for spine in axes.spines.values():
            spine.set_color(FLOOR)
        self._image = axes.imshow(
            np.zeros((1, 1, 3), dtype=np.uint8), extent=(0, width, height, 0), interpolation="nearest", animated=True
        )

    def _set_up_space(self) -> None:
        """Set up the 3D panels: one box for all frames, and a floor at the height of the lowest joint."""
        matrix = screen_matrix()
        shown = np.concatenate([poses for poses in self._screen if poses is not None])
        upright_height = (shown @ matrix)[..., 2]  # the inverse rotation is the transpose
        upright_height = upright_height[np.isfinite(upright_height)]
        lowest = float(upright_height.min()) if len(upright_height) else 0.0
        floor = floor_lines(lowest, FLOOR_MM, FLOOR_STEP_MM) @ matrix.T
        (x, y), half = frame_box(np.concatenate([shown.reshape(-1, 3), floor.reshape(-1, 3)]))
        for title in list(self.axes)[1:]:
            axes = self.axes[title]
            axes.set(xlim=(x - half, x + half), ylim=(y - half, y + half), aspect="equal")
            axes.apply_aspect()
            axes.add_collection(LineCollection(floor[..., :2], colors=FLOOR, linewidths=0.2 * self._unit, zorder=1))

    def _add_legend(self) -> None:
        for position, side in ((0.35, "left"), (0.65, "right")):
            x = position / len(self.axes)
            self._figure.text(x, 0.03, side, ha="center", va="center", fontsize=2.0 * self._unit, color=PREDICTED[side])
