"""Lift a stream of 2D poses frame by frame, as from a camera."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from glagcn.checkpoints.load import load_model
from glagcn.data.windows.store import MM_PER_METRE, one_thread
from glagcn.errors import UserError
from glagcn.inference import as_array, check_pixels, check_size, lift, normalised
from glagcn.model.interface import Model


class Lifter:
    """Keeps the last T frames of a stream and lifts them.

    model       a model, which is copied, or the path of a checkpoint.
    image_size  (width, height) in pixels.
    fps         frames per second of the grid that frames are placed on; best those of the data that the model was
                trained on.
    flip        average with the mirrored-back pose of the mirrored window, for twice the time.
    delay       frames from the newest one back to the one whose pose is given: 0 for a causal model, else those of a
                window behind its centre, (T - 1) / 2.

    The poses are those of `glagcn.predict` for the whole stream, to rounding.  On a CPU one thread computes: a window
    is too little work to share.
    Raises UserError where `fps` or `image_size` cannot be; as load_model does where `model` is a path.
    """

    def __init__(
        self, model: Model | str | Path, image_size: ArrayLike, fps: float = 30, *, flip: bool = False
    ) -> None:
        self._model = (model if isinstance(model, Model) else load_model(model)).for_prediction()
        self._size = as_array(image_size, "image_size")
        check_size(self._size)
        if not 0 < fps < float("inf"):
            raise UserError(f"invalid fps {fps}: must be a number above 0")
        self.fps, self._flip = fps, flip
        self.delay = self._model.frames - 1 - self._model.target_frame
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._window: Tensor | None = None  # [T,V,2] normalised; before the first frame, that one repeated
        self._count = 0  # frames of the grid so far
        self._start: float | None = None  # the time of the grid's first frame, once a time is known

    def push(self, keypoints: ArrayLike | None, time: float | None = None) -> np.ndarray | None:
        """Take the next frame; the pose [V,3] of the frame `delay` before it, in mm relative to the root (exactly 0).

        keypoints  [V,2] pixels; None where nobody was found: the last ones are taken again.
        time       seconds by any clock; None: one frame after the one before.  The frame is placed at the nearest
                   place of the grid.  Places that are left out have the keypoints before them; of several frames for
                   the same place the last counts, and the pose is given again.
        The result is None for the first `delay` frames, and until there are keypoints, with which the grid begins.
        Raises UserError, and leaves the frame out, on a wrong shape, values that are not finite or no pixels of such
        an image, and a time before that of an earlier frame.
        """
        if keypoints is None and self._window is None:
            return None
        newest = None if keypoints is None else self._read(keypoints)
        self._place(newest, self._steps(time))
        return self._pose() if self._count > self.delay else None

    def finish(self) -> np.ndarray:
        """End the stream: the poses [n,V,3] that are left of its last frames, at most `delay`; then begin anew."""
        left = [pose for _ in range(self.delay) if (pose := self.push(None)) is not None]
        self._begin_anew()
        return np.stack(left) if left else np.empty((0, self._model.skeleton.num_joints, 3), np.float32)

    def _read(self, keypoints: ArrayLike) -> Tensor:
        """Checked keypoints, normalised: [1,V,2]."""
        pixels = as_array(keypoints, "keypoints")
        joints = self._model.skeleton.num_input_joints
        if pixels.shape != (joints, 2):
            raise UserError(
                f"keypoints has shape {list(pixels.shape)}; expected [{joints}, 2]: pixels of one frame, of the "
                f"{joints} joints that this model ({self._model.skeleton.name}) reads"
            )
        if not np.isfinite(pixels).all():
            raise UserError("keypoints holds values that are not finite; push None where a frame lacks joints")
        if self._window is None:  # once, since it may warn
            check_pixels(pixels[None], self._size)
        return normalised(pixels[None], self._size)

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
        """Move the window on by `steps` frames, the last of which is `newest`; None: the keypoints before again."""
        frames = self._model.frames
        if self._window is None:
            assert newest is not None
            self._window = newest.expand(frames, -1, -1)
        else:
            held = self._window[-1:] if newest is None else newest
            past = self._window if steps else self._window[:-1]
            gap = self._window[-1:].expand(min(max(steps - 1, 0), frames), -1, -1)
            self._window = torch.cat([past, gap, held])[-frames:]
        self._count += steps

    @torch.inference_mode()
    def _pose(self) -> np.ndarray:
        assert self._window is not None
        model = self._model
        with one_thread() if model.device.type == "cpu" else nullcontext():
            pose = lift(model, self._window[None].to(model.device, model.dtype), self._flip)[0] * MM_PER_METRE
        pose[model.skeleton.root] = 0
        return pose.numpy()
