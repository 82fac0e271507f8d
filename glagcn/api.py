"""The public functions: `predict` and `Lifter` for arrays, `train` and `evaluate` with the options of the commands."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from glagcn import cli, dist, signals
from glagcn.checkpoints.load import load_model
from glagcn.config.options import OPTIONS, REQUIRED
from glagcn.config.parse import parse_keywords
from glagcn.config.resolve import resolve
from glagcn.errors import UserError
from glagcn.evaluate.evaluate import Result
from glagcn.model.interface import Model
from glagcn.poses import lift
from glagcn.progress import print_messages


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


def train(**options: Any) -> Result | None:
    """Train a run, or resume it, as `glagcn train` does, in this process; then score its best state on the test set.

    Prints what the command prints.  The same call resumes a run that was stopped, by Ctrl-C too.
    Returns what is in result.json, with the folder and a headline; None after dry_run=True.
    Raises UserError, in the words of the flags; KeyboardInterrupt after Ctrl-C, once the state is saved.

    The options are the flags, without dashes:
    """
    with _as_command():
        return cli.run(*resolve(parse_keywords(options)))


def evaluate(checkpoint: str | Path, **options: Any) -> Result | None:
    """Score a checkpoint on a test set as `glagcn evaluate` does, in this process.  Prints what the command prints.

    checkpoint  a path, the folder of a run, or "centred" or "causal", which come with the program.
    Returns what is in result.json, with the folder and a headline.  Raises UserError, in the words of the flags.

    The other options are the flags, without dashes; those of the data are by default those of the training:
    """
    if unknown := [key for key in options if key in OPTIONS and not OPTIONS[key].evaluate]:
        raise UserError(f"--{unknown[0]} has no effect on evaluate; it takes {', '.join(_EVALUATION)}")
    with _as_command():
        return cli.run(*resolve(cli.evaluation_options({"evaluate": str(checkpoint), **parse_keywords(options)})))


@contextmanager
def _as_command() -> Iterator[None]:
    """Messages and signals as in a command; what it sets for the process is as before at the end."""
    backend = os.environ.get("MPLBACKEND")
    dist.prepare()
    try:
        with print_messages(quiet=not dist.is_main()), signals.watch():
            yield
    except signals.Stopped as request:
        raise KeyboardInterrupt(str(request)) from None
    finally:
        os.environ.pop("MPLBACKEND", None)
        if backend is not None:
            os.environ["MPLBACKEND"] = backend


_EVALUATION = [key for key, option in OPTIONS.items() if option.evaluate]
for _function, _first, _keys in (
    (train, [], [key for key in OPTIONS if key != "evaluate"]),
    (evaluate, [Parameter("checkpoint", Parameter.POSITIONAL_OR_KEYWORD, annotation=str | Path)], _EVALUATION),
):  # what editors and notebooks show of the options, each of which is described once
    _function.__doc__ = f"{_function.__doc__}\n" + "".join(f"    {key}: {OPTIONS[key].help}.\n" for key in _keys)
    vars(_function)["__signature__"] = Signature(
        [*_first, *(
            Parameter(
                key,
                Parameter.KEYWORD_ONLY,
                default=None if OPTIONS[key].default is REQUIRED else OPTIONS[key].default,
                annotation=OPTIONS[key].type,
            )
            for key in _keys
        )],
        return_annotation=Result | None,
    )  # fmt: skip
