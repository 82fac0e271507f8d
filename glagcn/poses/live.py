"""Lift a stream of 2D poses frame by frame, as from a camera."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from glagcn.checkpoints.load import load_model
from glagcn.errors import UserError
from glagcn.model.cores import one_thread
from glagcn.model.interface import Model
from glagcn.poses.gaps import mark_missing, with_confidence
from glagcn.poses.joints import get_convention
from glagcn.poses.lift import as_array, check_pixels, check_size, lift, normalised, warn_if_swapped
from glagcn.poses.normalise import MM_PER_METRE


class Lifter:
    """Keeps the last T frames of a stream and lifts them.

    model       a model, which is copied, or what load_model takes, such as "causal".
    image_size  (width, height) in pixels.
    fps         frames per second of the grid that frames are placed on; best those of the data that the model was
                trained on.
    joints      the order of the pushed joints, a name of glagcn.poses.joints, such as "coco17"; None: the model's.
    flip        average with the mirrored-back pose of the mirrored window, for twice the time.
    delay       frames from the newest one back to the one whose pose is given: 0 for a causal model, else those of a
                window behind its centre, (T - 1) / 2.

    Where no joint is missing, the poses are those of `glagcn.predict` with the same `flip` (True is its default) for
    the whole stream, to rounding.  A missing joint stays at its last place, since the frames that come are not known
    yet; `predict` interpolates short gaps.  On a CPU one thread computes: a window is too little work to share.
    Raises UserError where `fps`, `image_size` or `joints` cannot be; as load_model does where `model` is no model.
    """

    def __init__(
        self,
        model: Model | str | Path,
        image_size: ArrayLike,
        fps: float = 30,
        *,
        joints: str | None = None,
        flip: bool = False,
    ) -> None:
        self._model = (model if isinstance(model, Model) else load_model(model)).for_prediction()
        self._size = as_array(image_size, "image_size")
        check_size(self._size)
        if not 0 < fps < float("inf"):
            raise UserError(f"invalid fps {fps}: must be a number above 0")
        self.fps, self._flip = fps, flip
        skeleton, convention = self._model.skeleton, get_convention(joints) if joints else None
        self._map = convention.map_to(skeleton) if convention else None
        self._joints = len(convention.joints) if convention else skeleton.num_input_joints
        self.delay = self._model.frames - 1 - self._model.target_frame
        self._begin_anew()

    def _begin_anew(self) -> None:
        # [T,V,3] normalised, with confidence; before the first frame, that one repeated
        self._window: Tensor | None = None
        self._count = 0  # frames of the grid so far
        self._start: float | None = None  # the time of the grid's first frame, once a time is known

    def push(self, keypoints: ArrayLike | None, time: float | None = None) -> np.ndarray | None:
        """Take the next frame; the pose [V,3] of the frame `delay` before it, in mm relative to the root (exactly 0).

        keypoints  [J,2] pixels, or [J,3] with a confidence, of `joints`.  Missing joints (as in `glagcn.predict`: NaN,
                   masked, (0, 0), (-1, -1), a confidence below 0.05, or far outside the image) stay at their last
                   place, without confidence; in the first frame they lie in the middle of the others.  None where
                   nobody was found: all joints are missing.
        time       seconds by any clock; None: one frame after the one before.  The frame is placed at the nearest
                   place of the grid.  Places that are left out have the keypoints before them; of several frames for
                   the same place the last in which a joint was seen counts, and the pose is given again.
        The result is None for the first `delay` frames, and until there are keypoints, with which the grid begins.
        Raises UserError, and leaves the frame out, on a wrong shape, a first frame that is not in pixels of such an
        image, and a time before that of an earlier frame.
        """
        if keypoints is None and self._window is None:
            return None
        newest = None if keypoints is None else self._read(keypoints)
        if newest is None and self._window is None:
            return None
        steps = self._steps(time)
        if newest is not None or steps:  # a frame without a person does not replace one of the same time
            self._place(newest, steps)
        return self._pose() if self._count > self.delay else None

    def finish(self) -> np.ndarray:
        """End the stream: the poses [n,V,3] that are left of its last frames, at most `delay`; then begin anew."""
        left = []
        for _ in range(self.delay if self._window is not None else 0):
            self._place(self._window[-1:], 1)  # type: ignore[index]
            if self._count > self.delay:
                left.append(self._pose())
        self._begin_anew()
        return np.stack(left) if left else np.empty((0, self._model.skeleton.num_joints, 3), np.float32)

    def _read(self, keypoints: ArrayLike) -> Tensor | None:
        """Checked keypoints, normalised and with a place for missing joints: [1,V,3]; None if all are missing."""
        given = as_array(keypoints, "keypoints")
        joints = self._joints
        if given.shape not in ((joints, 2), (joints, 3)):
            read = "joints= names" if self._map else f"this model ({self._model.skeleton.name}) reads"
            raise UserError(
                f"keypoints has shape {list(given.shape)}; expected [{joints}, 2], or 3 with a confidence: pixels of "
                f"one frame, of the {joints} joints that {read}"
            )
        poses = mark_missing(with_confidence(given))
        if self._window is None and poses[:, 2].any():  # once, since it may warn
            check_pixels(poses[poses[:, 2] > 0, :2], self._size)
            warn_if_swapped(poses[poses[:, 2] > 0, :2], self._size)
        poses = mark_missing(poses, (float(self._size[0]), float(self._size[1])))
        if self._map:
            poses = self._map.apply(poses)
        seen = poses[:, 2] > 0
        if not seen.any():
            return None
        newest = normalised(poses, self._size, 3)
        newest[~seen, :2] = newest[seen, :2].mean(dim=0) if self._window is None else self._window[-1, ~seen, :2]
        newest[~seen, 2] = 0
        return newest[None]

    def _held(self) -> Tensor:
        """The newest frame [1,V,3] as a frame in which nothing was found."""
        assert self._window is not None
        held = self._window[-1:].clone()
        held[..., 2] = 0
        return held

    def _steps(self, time: float | None) -> int:
        """Places of the grid from the newest frame to that of this time: 1 for the next, 0 for the same."""
        if time is None:
            return 1
        if not np.isfinite(time):
            raise UserError(f"invalid time {time}: must be a number of seconds")
        if self._start is None:  # this frame is the next, whenever those without a time were
            self._start = time - self._count / self.fps
        steps = round((time - self._start) * self.fps) - (self._count - 1)
        if steps < 0:
            raise UserError(f"invalid time {time}: lies {-steps / self.fps:.3g} s before the newest frame's")
        return steps

    def _place(self, newest: Tensor | None, steps: int) -> None:
        """Move the window on by `steps` frames, the last of which is `newest` [1,V,3]; None: the places before."""
        frames = self._model.frames
        if self._window is None:
            assert newest is not None
            self._window = newest.expand(frames, -1, -1)
        else:
            last = self._held() if newest is None else newest
            past = self._window if steps else self._window[:-1]
            gap = self._held().expand(min(max(steps - 1, 0), frames), -1, -1)
            self._window = torch.cat([past, gap, last])[-frames:]
        self._count += steps

    @torch.inference_mode()
    def _pose(self) -> np.ndarray:
        assert self._window is not None
        model = self._model
        with one_thread() if model.device.type == "cpu" else nullcontext():
            window = self._window[None, ..., : len(model.input)].to(model.device, model.dtype)
            pose = lift(model, window, self._flip)[0] * MM_PER_METRE
        pose[model.skeleton.root] = 0
        return pose.numpy()
