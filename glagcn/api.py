"""The public functions that take a model by its name, its path or as a `Model`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike

from glagcn.checkpoints.load import load_model
from glagcn.model.interface import Model
from glagcn.poses import lift


def predict(
    model: Model | str | Path,
    pose_2d: ArrayLike,
    image_size: ArrayLike,
    flip: bool = True,
    frames: Sequence[int] | np.ndarray | None = None,
    joints: str | None = None,
    fps: float | None = None,
    focal: float | None = None,
    device: str | torch.device | None = None,
) -> np.ndarray:
    """Lift a sequence to 3D poses [T,V,3] in millimetres, relative to the root, which is exactly 0.

    model       a model, or what `load_model` takes, such as "centred", which is then loaded at every call.
    pose_2d     [T,V,2] pixels (array, tensor or lists), or [T,V,3] with a confidence, T of any length: beyond its ends
                the first and last frame are repeated.  Missing joints (NaN, masked, (0, 0), (-1, -1), a confidence
                below 0.05, or far outside the image) are filled from the frames around, and a warning counts them.
                Confidences that go beyond 1 are divided by the largest that is usual, with a warning; the depth that
                MediaPipe has in their place is left out, for joints="mediapipe33".
    image_size  (width, height) in pixels.
    flip        average with the mirrored-back prediction of the mirrored sequence (test-time augmentation): more
                accurate, for twice the time.
    frames      the numbers of the n frames to lift, or a mask [T] of them, each with its true neighbours, to [n,V,3];
                None: all.
    joints      the order of the joints, a name of glagcn.poses.joints, such as "coco17"; None: that of the model.
    fps         frames per second: gaps of up to half a second are interpolated; None: of up to 12 frames.
    focal       focal length in pixels, for a model of the ray frame (trained with --frame ray); None: that of a view of
                55 degrees along the longer side of the image.  With a wrong one, people at the side of the image come
                out turned.  Other models do not read it.
    device      where to compute; None: where the model is, which is the CPU for a name or path.
    On a CPU it uses as many threads as PyTorch.  A model's device and training mode are as before at the end.
    Raises UserError on a wrong shape, no joint at all, a third value that is no confidence, values that are not pixels
    of such an image, poses that are clearly in another order than they should be, or frames that are not there; as
    `load_model` does for a name or path.
    """
    model = load_model(model, device=device)
    return lift.predict(model, pose_2d, image_size, flip, frames, joints, fps, focal)


class Lifter(lift.Lifter):
    """Lifts a stream of 2D poses frame by frame, as from a camera: keeps the last T frames, and lifts them.

    model       a model, which is copied, or what `load_model` takes, such as "causal".
    image_size  (width, height) in pixels.
    fps         frames per second of the grid that frames are placed on; best those of the data that the model was
                trained on.
    joints      the order of the pushed joints, a name of glagcn.poses.joints, such as "coco17"; None: the model's.
    flip        average with the mirrored-back pose of the mirrored window: more accurate, for twice the time.
    focal       focal length in pixels, and
    device      where to compute, as in `predict`.
    delay       frames from the newest one back to the one whose pose is given: 0 for a causal model, else those of a
                window behind its centre, (T - 1) / 2.

    Where no joint is missing, the poses are those of `predict` with the same `flip` for the whole stream, to rounding.
    A missing joint stays at its last place, since the frames that come are not known yet; `predict` interpolates short
    gaps.  On a CPU one thread computes: a window is too little work to share.
    Raises UserError where `fps`, `image_size` or `joints` cannot be; as `load_model` does for a name or path.
    """

    def __init__(
        self,
        model: Model | str | Path,
        image_size: ArrayLike,
        fps: float = 30,
        *,
        joints: str | None = None,
        flip: bool = True,
        focal: float | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        super().__init__(load_model(model, device=device), image_size, fps, joints=joints, flip=flip, focal=focal)
