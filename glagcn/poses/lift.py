"""Lift 2D poses with a model: a sequence (`predict`), the people of a film (`lift_people`) and a stream (`Lifter`).

All take the same steps, in the order of this file: check the joints and mark those that are missing, bring them to the
joints that the model reads, fill gaps, normalise, cut windows, and predict, with the mirrored windows too.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from glagcn.errors import UserError
from glagcn.model.cores import (
    LEAST_WINDOWS,
    batches_in_memory,
    cpu_batch,
    cpu_stretch,
    full_precision,
    on_every_core,
    one_thread,
)
from glagcn.model.interface import Model
from glagcn.poses.checks import (
    WITH_DEPTH,
    Finding,
    TrackChecker,
    are_parts,
    are_unusual,
    as_confidences,
    check_movement,
    check_poses,
    check_track,
    confidence_scale,
    hidden_flags,
    scaled,
    warn_of,
    with_right_sides,
    without_marked,
)
from glagcn.poses.gaps import (
    FAR,
    FASTEST_FPS,
    USUAL_FPS,
    Counts,
    fill_gaps,
    gap_frames,
    like_standing,
    mark_missing,
    with_confidence,
    without_depth,
)
from glagcn.poses.joints import CONVENTIONS, get_convention, input_convention
from glagcn.poses.keypoints.content import as_array
from glagcn.poses.keypoints.tracks import Track
from glagcn.poses.normalise import MM_PER_METRE, mirror, normalise
from glagcn.poses.ray import EARLIER, Rays, normalised_lens, turned_back, usual_lens
from glagcn.poses.recording import Recording
from glagcn.poses.result import Poses, interpolated, joined
from glagcn.progress import Progress
from glagcn.skeletons import Skeleton

logger = logging.getLogger(__name__)

TIMES = 10  # frames by which a clock is judged
# Frames of the grid from one frame to the next.  In a grid of 30 a second, a camera of one picture in four seconds has
# 120, milliseconds have 1000, and a camera of 1000 pictures a second has 0.03.
SLOWEST, FASTEST = 200.0, 0.02
CLOCKS = (("milliseconds", 1e3), ("microseconds", 1e6), ("nanoseconds", 1e9))
BATCH = 64  # windows that a GPU lifts at once, for speed at little memory (243 frames, 256 channels: about 2 GB)


def predict(
    model: Model,
    pose_2d: ArrayLike,
    image_size: ArrayLike,
    flip: bool = True,
    frames: Sequence[int] | np.ndarray | None = None,
    joints: str | None = None,
    fps: float | None = None,
    focal: float | None = None,
) -> np.ndarray:
    """Lift a sequence [T,J,2 or 3] to 3D poses [T,V,3] in millimetres; see glagcn.predict (api.py)."""
    size = as_size(image_size)
    keypoints = as_keypoints(pose_2d, "pose_2d", 3, model.skeleton, joints)
    keypoints = seen_joints(keypoints, size, model.skeleton, joints, fps)
    if not keypoints[..., 2].any():
        raise UserError(
            f"pose_2d holds no joint in any of {len(keypoints)} frames: all are NaN, (0, 0), without confidence or far "
            "outside the image"
        )
    counts = Counts()
    order = input_convention(model.skeleton)
    if joints:
        keypoints = get_convention(joints).map_to(model.skeleton).apply(keypoints)
    keypoints = fill_gaps(keypoints, gap_frames(fps), counts, points=order.points)
    if counts.missing:
        logger.warning("pose_2d has %s", counts.words(order.joints))
    numbers = frame_numbers(frames, len(keypoints))
    nothing = np.zeros((0, model.skeleton.num_joints, 3), np.float32)
    return np.concatenate([nothing, *lift_frames(model, keypoints, size, as_focal(focal), flip, numbers)])


def lift_people(
    model: Model, recording: Recording, flip: bool, frames: np.ndarray | None = None, focal: float | None = None
) -> list[Poses]:
    """The people of a recording in camera axes, without a root path, by their numbers.

    Each track is lifted from its own frames alone.

    flip    average with the mirrored-back prediction for the mirrored poses.
    frames  the numbers of the frames to lift; None: all.  Somebody who is in none of them is left out.
    focal   length in pixels, for a model in the ray frame; None: `usual_focal`.
    Raises UserError where the joints of the recording do not give those that the model reads, or nobody is left.
    """
    skeleton, size, tracks = model.skeleton, np.array(recording.image_size), recording.tracks
    if recording.convention:
        joints = CONVENTIONS[recording.convention].map_to(skeleton)
        if joints.approximated:
            made = ", ".join(joints.approximated)
            logger.info(f"{skeleton.name} from {recording.convention}: {made} are made of other joints")
        tracks = [replace(track, keypoints=joints.apply(track.keypoints)) for track in tracks]
    tracks = [track for track in tracks if track.keypoints[..., 2].any()]
    if not tracks:
        raise UserError(f"no joint that the model reads ({skeleton.name}) is seen in any frame; nothing can be lifted")
    counts, longest = Counts(), gap_frames(recording.fps)
    points = input_convention(skeleton).points
    filled = [fill_gaps(track.keypoints, longest, counts, recording.places(track), points) for track in tracks]
    if counts.missing:
        (logger.warning if counts.unseen else logger.info)(counts.words(input_convention(skeleton).joints))
    rows = [np.arange(len(track.keypoints)) for track in tracks]
    if frames is not None:
        rows = [own[np.isin(track.start + own, frames)] for track, own in zip(tracks, rows, strict=True)]
    people: dict[int, list[Poses]] = {}
    done, total = 0, sum(map(len, rows))
    with Progress("lifted") as progress, full_precision():
        for track, keypoints, own in zip(tracks, filled, rows, strict=True):
            # The model reads frames of a constant rate.  Where the frames are not, those around them are lifted.
            places = recording.places(track)
            places = places - np.floor(places[0])
            even = interpolated(places, keypoints, np.arange(int(np.ceil(places[-1])) + 1))
            even = even.astype(np.float32, copy=False)
            around = np.unique([np.floor(places[own]), np.ceil(places[own])]).astype(np.int64)
            parts = []
            for part in lift_frames(model, even, size, focal, flip, torch.from_numpy(around)):
                parts.append(part)
                progress(min(done + sum(map(len, parts)), total), total)
            done += len(own)
            if parts:
                xyz = interpolated(around, np.concatenate(parts), places[own]).astype(np.float32, copy=False)
                poses = _poses(track, own, xyz, skeleton, recording)
                people.setdefault(track.person, []).append(poses)
    return [joined(people[number]) for number in sorted(people)]


def _poses(track: Track, rows: np.ndarray, xyz: np.ndarray, skeleton: Skeleton, recording: Recording) -> Poses:
    """The lifted `rows` of a track whose gaps are not filled; missing joints have confidence 0 and no pixels."""
    keypoints = skeleton.map_input(track.keypoints[rows])
    confidence = keypoints[..., 2].astype(np.float32)
    return Poses(
        person=track.person,
        skeleton=skeleton,
        frames=track.start + rows,
        fps=recording.fps,
        xyz=xyz,
        confidence=confidence,
        pixels=np.where(confidence[..., None] > 0, keypoints[..., :2], np.nan).astype(np.float64),
        image_size=recording.image_size,
        times=None if recording.times is None else recording.times[track.start + rows],
    )


class Lifter:
    """Keeps the last T frames of a stream and lifts them; see glagcn.Lifter (api.py).

    The steps are those of `predict`, but for gaps: the frames that come are not known yet, so a missing joint stays at
    its last place.  The arguments are as there.
    """

    def __init__(
        self,
        model: Model,
        image_size: ArrayLike,
        fps: float = 30,
        *,
        joints: str | None = None,
        flip: bool = True,
        focal: float | None = None,
    ) -> None:
        if not 0 < fps < float("inf"):
            raise UserError(f"invalid fps {fps}: must be a number above 0")
        self.skeleton = model.skeleton
        self._model, self._size, self.fps, self._joints = model.for_prediction(), as_size(image_size), fps, joints
        self._map = get_convention(joints).map_to(model.skeleton) if joints else None
        self._order = get_convention(joints) if joints else input_convention(model.skeleton)
        self._lift = lifting(self._model, flip)
        self._inputs = model_inputs(self._model, self._size, as_focal(focal))
        self._earlier = EARLIER[model.frame]
        self.delay = model.frames - 1 - model.target_frame
        self._reset()

    def __repr__(self) -> str:
        return f"Lifter({self._model!r}, {self._order.name}, {self.fps:g} fps, delay {self.delay})"

    def _reset(self) -> None:
        stated = self._joints is not None
        self._checker = TrackChecker(self._order.points, self._size, self.fps, stated=stated)
        # Before the first frame, that one repeated: the newest frames [EARLIER+1,V,3] normalised, with confidence, and
        # what the model reads, [T,V,C], with the rotations [T,3,3] of a model in the ray frame.
        self._newest: Tensor | None = None
        self._window: list[Tensor] = []
        self._count = 0  # frames of the grid so far
        self._start: float | None = None  # the time of the grid's first frame, once a time is known
        second = max(1, round(min(self.fps, FASTEST_FPS)))
        self._given: deque[np.ndarray] = deque(maxlen=second)  # the frames of the last second
        self._read_frames, self._unusual = 0, 0  # frames so far, and those until the last unusual confidence leaves it
        self._marks: list[Finding] = []
        self._parts = False  # the keypoints are parts of the image, 0 to 1
        self._scale: float | None = 1.0  # the confidence that counts as 1; None: a depth is in its place
        self._times: deque[float] = deque(maxlen=TIMES)
        self._said: set[str] = set()
        self._second, self._with_person = second, 0  # frames with somebody so far
        self._ever_seen = np.zeros(self._model.skeleton.num_input_joints, bool)

    @torch.inference_mode()
    def push(self, keypoints: ArrayLike | None, time: float | None = None) -> np.ndarray | None:
        """Take the next frame; the pose [V,3] of the frame `delay` before it, in mm relative to the root (exactly 0).

        keypoints  [J,2] pixels, or [J,3] with a confidence, of `joints`.  Missing joints (as in `glagcn.predict`: NaN,
                   masked, (0, 0), (-1, -1), a confidence below 0.05, or far outside the image) stay at their last
                   place, without confidence; until they are seen they lie as in somebody who stands around the
                   others.  None where nobody was found: all joints are missing.
        time       seconds by any clock, with a warning of other units and a clock that stands still; None: one frame
                   after the one before.  The frame is placed at the nearest place of the grid.  Places that are left
                   out have the keypoints before them; of several frames for the same place the last in which a joint
                   was seen counts, and the pose is given again.
        The result is None for the first `delay` frames, and until there are keypoints, with which the grid begins.
        Raises UserError, and leaves the frame out, on a wrong shape, a first frame that is not in pixels of such an
        image, and a time before that of an earlier frame.
        """
        newest = None if keypoints is None else self._read(keypoints)
        if newest is None and self._newest is None:
            return None
        steps = self._steps(time)
        if newest is not None or steps:  # a frame without a person does not replace one of the same time
            self._place(newest, steps)
        return self._pose() if self._count > self.delay else None

    @torch.inference_mode()
    def finish(self) -> np.ndarray:
        """End the stream: the poses [n,V,3] that are left of its last frames, at most `delay`; then begin anew."""
        warn_of(self._checker.finish(), "keypoints")
        if self._with_person < self._second:
            self._name_unseen()
        left = []
        for _ in range(self.delay if self._newest is not None else 0):
            self._place(self._newest[-1:], 1)  # type: ignore[index]
            if self._count > self.delay:
                left.append(self._pose())
        self._reset()
        return np.stack(left) if left else np.empty((0, self._model.skeleton.num_joints, 3), np.float32)

    def _read(self, values: ArrayLike) -> Tensor | None:
        """Checked keypoints, normalised and with a place for missing joints: [1,V,3]; None if all are missing."""
        given = as_keypoints(values, "keypoints", 2, self._model.skeleton, self._joints)
        self._find_scale(given)
        keypoints = mark_missing(scaled(given, self._scale))
        if self._newest is None:
            self._parts = are_parts(keypoints, self._size)
        if self._parts:
            keypoints[:, :2] *= self._size
        pixels, confidence, stated = keypoints[:, :2], keypoints[:, 2], self._joints is not None
        if self._newest is None:  # one frame is little to go by: it is refused, but nothing is said of it
            found = check_track(pixels[None], confidence[None], self._order.points, self._size, stated=stated)
            if found and found[0].severity == "refuse":
                raise UserError(f"keypoints: {found[0]}")
        found = self._checker.push(pixels, confidence)
        warn_of(found, "keypoints")
        self._marks += [each for each in found if each.place]
        keypoints = without_marked(keypoints, self._marks)
        keypoints = mark_missing(keypoints, (float(self._size[0]), float(self._size[1])))
        if self._map:
            keypoints = self._map.apply(keypoints)
        seen = keypoints[:, 2] > 0
        if not seen.any():
            return None
        self._ever_seen |= seen
        self._with_person += 1
        if self._with_person == self._second:
            self._name_unseen()
        newest = normalised(keypoints, self._size, 3)
        if self._newest is not None:
            newest[~seen, :2] = self._newest[-1, ~seen, :2]
        newest[~seen, 2] = 0
        if not self._ever_seen.all():
            never, points = ~self._ever_seen, input_convention(self._model.skeleton).points
            newest[never, :2] = torch.from_numpy(like_standing(newest[None].numpy(), never, points)[0]).float()
        return newest[None]

    def _name_unseen(self) -> None:
        """Warn of joints that were never seen: their places are no more than a guess."""
        names = input_convention(self._model.skeleton).joints
        unseen = [name for name, seen in zip(names, self._ever_seen, strict=True) if not seen]
        if unseen and self._with_person:
            self._say("unseen", (
                f"keypoints: {', '.join(unseen)} were not seen in the first {self._with_person} frames; they are "
                "placed as of somebody who stands, and the pose is a guess there"
            ))  # fmt: skip

    def _find_scale(self, keypoints: np.ndarray) -> None:
        """Learn from the confidences of the newest frame [J,3], and those of a second before, what counts as 1.

        The largest of the stream so far.  Raises UserError where they are none.
        """
        self._given.append(keypoints.copy())  # the caller may reuse it
        self._unusual = self._second if are_unusual(keypoints[:, 2]) else self._unusual - 1
        if self._unusual > 0:
            try:
                values = np.stack(self._given)[..., 2]
                scale, text = confidence_scale(values, "keypoints", self._joints in WITH_DEPTH)
            except UserError:
                self._given.pop()
                raise
            self._scale = None if self._scale is None or scale is None else max(self._scale, scale)
            self._say("scale", text)
        self._read_frames += 1
        if self._read_frames % self._second == 0:
            self._say("flags", hidden_flags(np.stack(self._given), "keypoints"))

    def _say(self, kind: str, text: str | None) -> None:
        """Warn once of each kind."""
        if text and kind not in self._said:
            self._said.add(kind)
            logger.warning(text)

    def _check_clock(self, time: float) -> None:
        """Warn where the last frames came far slower or faster by their times than any camera gives them."""
        self._times.append(time)
        if len(self._times) < TIMES:
            return
        step = float(np.median(np.diff(self._times)))
        frames = step * self.fps
        if frames > SLOWEST:
            unit = CLOCKS[min(round(np.log10(frames) / 3), len(CLOCKS)) - 1]
            self._say("fast", (
                f"time: from one frame to the next it grows by {step:g}, which would be {step:g} seconds: it seems to "
                f"be in {unit[0]}. Each frame is taken for {round(frames)}, and the poses are wrong; give seconds, "
                f"time / {unit[1]:g}"
            ))  # fmt: skip
        elif (mean := (time - self._times[0]) / (TIMES - 1)) * self.fps < FASTEST:
            self._say("slow", (
                f"time: from one frame to the next it grows by {mean:g} seconds: the clock stands still, is coarse or "
                f"is in a larger unit. Frames of the same place of the grid, which has {self.fps:g} a second, replace "
                "each other; give seconds of a clock that runs, or leave time out"
            ))  # fmt: skip

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
        self._check_clock(time)
        return steps

    def _place(self, newest: Tensor | None, steps: int) -> None:
        """Move the window on by `steps` frames, the last of which is `newest` [1,V,3]; None: the places before.

        Each frame is turned into what the model reads of it once, when it comes.
        """
        come: Tensor | None
        if self._newest is None:
            assert newest is not None
            past, come = newest.expand(self._earlier, -1, -1), newest.expand(self._model.frames, -1, -1)
        else:
            past, come = self._newest if steps else self._newest[:-1], newest
            if come is None or steps > 1:  # nothing was seen there
                unseen = self._newest[-1:].clone()
                unseen[..., 2] = 0
                gap = unseen.expand(min(max(steps, 1), self._model.frames) - 1, -1, -1)
                come = torch.cat([gap, unseen if newest is None else newest])
        frames = torch.cat([past, come])
        self._newest = frames[-1 - self._earlier :]
        read = [part[0] for part in self._inputs(frames[None, -self._earlier - len(come) :]) if part is not None]
        if self._window:
            kept = [part[len(come) :] if steps else part[:-1] for part in self._window]
            read = [torch.cat(parts) for parts in zip(kept, read, strict=True)]
        self._window = read
        self._count += steps

    def _pose(self) -> np.ndarray:
        model = self._model
        with one_thread() if model.device.type == "cpu" else nullcontext():  # a window is too little work to share
            window, *rotations = self._window
            pose = self._lift(window[None].to(model.device, model.dtype)).cpu()
            turns = rotations[0][None, model.target_frame] if rotations else None
            return millimetres(turned_back(pose, turns), model.skeleton)[0]


# ---- the steps


def as_keypoints(values: ArrayLike, name: str, axes: int, skeleton: Skeleton, joints: str | None = None) -> np.ndarray:
    """The array [T,J,3], or [J,3] with 2 axes, of values with or without a confidence.

    joints  the convention of the J joints; None: the input joints of the skeleton.
    Raises UserError that names `name` on another shape or type.
    """
    given = without_depth(as_array(values, name))
    count = len(get_convention(joints).joints) if joints else skeleton.num_input_joints
    if given.ndim != axes or given.shape[-2:] not in ((count, 2), (count, 3)) or not len(given):
        expected, frames = ("[T, ", "at least one frame") if axes == 3 else ("[", "one frame")
        read = f"joints={joints!r} names" if joints else f"this model ({skeleton.name}) reads"
        raise UserError(
            f"{name} has shape {list(given.shape)}; expected {expected}{count}, 2], or 3 with a confidence: pixels of "
            f"{frames}, of the {count} joints that {read}"
        )
    return with_confidence(given)


def as_size(image_size: ArrayLike) -> np.ndarray:
    """`image_size` as an array [2].  Raises UserError unless it is a positive width and height."""
    size = as_array(image_size, "image_size")
    if size.shape != (2,) or not (np.isfinite(size) & (size > 0)).all():
        raise UserError(f"invalid image_size {size.tolist()}: must be (width, height) in pixels")
    return size


def frame_numbers(frames: Sequence[int] | np.ndarray | None, length: int) -> Tensor:
    """The numbers [n] that choose frames of a sequence of `length`.  Raises UserError where they do not."""
    if frames is None:
        return torch.arange(length)
    chosen = np.asarray(frames)
    if chosen.dtype == bool and chosen.shape == (length,):
        return torch.from_numpy(np.flatnonzero(chosen))
    if not chosen.size:
        return torch.arange(0)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        raise UserError(
            f"frames has shape {list(chosen.shape)} and type {chosen.dtype}; expected frame numbers, or a mask of "
            f"{length} values"
        )
    if chosen.min() < 0 or chosen.max() >= length:
        raise UserError(f"frames holds {chosen.min()} to {chosen.max()}; expected numbers from 0 to {length - 1}")
    return torch.from_numpy(chosen.astype(np.int64))


def seen_joints(
    keypoints: np.ndarray, size: np.ndarray, skeleton: Skeleton, joints: str | None, fps: float | None
) -> np.ndarray:
    """Keypoints [T,J,3] float32 with (0, 0, 0) for missing joints, after `as_confidences` and the checks of poses."""
    keypoints = as_confidences(keypoints, "pose_2d", joints)[0]
    if are_parts(mark_missing(keypoints), size):
        keypoints = keypoints * [*size, 1]
    keypoints = mark_missing(keypoints)
    order = get_convention(joints) if joints else input_convention(skeleton)
    keypoints = check_poses(keypoints, size, order, "pose_2d", stated=joints is not None)
    keypoints = with_right_sides(keypoints, order.points, fps or USUAL_FPS, "pose_2d")
    warn_of(check_movement([keypoints], order.points, [0]), "pose_2d")
    return mark_missing(keypoints, (float(size[0]), float(size[1])))


def as_focal(focal: float | None) -> float | None:
    """`focal`.  Raises UserError unless it is a length in pixels or None."""
    if focal is not None and not 1 <= focal < FAR:
        raise UserError(f"invalid focal {focal}: must be a focal length in pixels, or None to guess it")
    return focal


def normalised(keypoints: np.ndarray, size: np.ndarray, channels: int) -> Tensor:
    """The C input channels [...,C] float32 of keypoints [...,3]: pixels of images of this size, and confidences.

    x and y become normalised coordinates (see `normalise`), confidences are cut off at 1.
    """
    result = torch.from_numpy(keypoints.astype(np.float32))
    result[..., :2] = normalise(result[..., :2], torch.from_numpy(size.astype(np.float32)))
    result[..., 2].clamp_(max=1)
    return result[..., :channels]


def model_inputs(
    model: Model, size: np.ndarray, focal: float | None
) -> Callable[[Tensor], tuple[Tensor, Tensor | None]]:
    """The function from normalised keypoints [N,n,V,3] of images of this size to what the model reads of them.

    It gives poses [N,n,V,C], and None for a model in the camera's axes.  One in the ray frame needs HISTORY - 1 frames
    before them, so that it gives these fewer, and the rotations [N,n,3,3] from the camera's axes to those of each.
    focal  length in pixels, as in `predict`.
    """
    channels = len(model.input)
    if model.frame == "camera":
        return lambda frames: (frames[..., :channels], None)
    lens, rays = normalised_lens(size, usual_lens(size, focal)), Rays(model.skeleton, torch.device("cpu"))
    return lambda frames: rays(frames[..., :channels], lens)


def lifting(model: Model, flip: bool) -> Callable[[Tensor], Tensor]:
    """The function from normalised 2D poses to the poses [N,V,3] of their target frames in metres.

    It takes windows [N,T,V,C], or the stretch [N-1+T,V,C] of a sequence that N windows cover.
    flip  average with the mirrored-back poses of the mirrored windows (test-time augmentation).
    """
    if not flip:
        return lambda x: (model.predict_sequence(x) if x.dim() == 3 else model(x).target[:, 0]).float()
    input_order, order = (
        torch.tensor(order, device=model.device) for order in (model.skeleton.input_mirror, model.skeleton.mirror)
    )

    def lift(x: Tensor) -> Tensor:
        """The mean of the poses and of those of the mirror image, mirrored back."""
        if x.dim() == 3:
            poses, mirrored = (model.predict_sequence(each).float() for each in (x, mirror(x, input_order)))
        else:
            poses, mirrored = model(torch.cat([x, mirror(x, input_order)])).target[:, 0].float().chunk(2)
        return (poses + mirror(mirrored, order)) / 2

    return lift


def stretches(
    frames: np.ndarray, breaks: np.ndarray | bool, most: int, windows: int
) -> Iterator[tuple[bool, np.ndarray]]:
    """Frames in parts, in order: (True, up to `most` neighbours), which `predict_sequence` lifts together, or (False,
    up to `windows` frames) of which few are neighbours, so that a window of each is less work.

    breaks  [len(frames) - 1] bool: the next frame is of another sequence.
    """
    apart: list[np.ndarray] = []

    def single() -> Iterator[tuple[bool, np.ndarray]]:
        """The frames of short runs so far, in parts."""
        joined = np.concatenate([frames[:0], *apart])
        apart.clear()
        return ((False, joined[begin : begin + windows]) for begin in range(0, len(joined), windows))

    for run in np.split(frames, np.flatnonzero((np.diff(frames) != 1) | breaks) + 1):
        if len(run) < LEAST_WINDOWS:
            apart.append(run)
            continue
        yield from single()
        yield from ((True, run[begin : begin + most]) for begin in range(0, len(run), most))
    yield from single()


def lift_frames(
    model: Model, keypoints: np.ndarray, size: np.ndarray, focal: float | None, flip: bool, numbers: Tensor
) -> Iterator[np.ndarray]:
    """The frames `numbers` [n] of keypoints [T,V,3] without gaps as [n,V,3] mm, in parts.

    Beyond the ends the first and the last frame are repeated.  On the model's device, on a CPU on as many threads as
    PyTorch uses.
    """
    model = model.for_prediction()
    pose, lift, inputs = normalised(keypoints, size, 3), lifting(model, flip), model_inputs(model, size, focal)
    before, after = model.target_frame + EARLIER[model.frame], model.frames - model.target_frame

    @torch.inference_mode()
    def lifted(part: tuple[bool, np.ndarray]) -> np.ndarray:
        """The poses [n,V,3] mm of a part of `stretches`."""
        together, frames = part
        rows = torch.arange(-before, after + (len(frames) - 1) * together)
        rows = (torch.from_numpy(frames[:1] if together else frames)[:, None] + rows).clamp(0, len(pose) - 1)
        x, rotations = inputs(pose[rows])
        poses = lift((x[0] if together else x).to(model.device, model.dtype)).cpu()
        if rotations is not None:
            shown = rotations[:, model.target_frame :][:, : len(rows[0]) - before - after + 1]
            poses = turned_back(poses, shown.flatten(0, 1))
        return millimetres(poses, model.skeleton)

    on_cpu, count = model.device.type == "cpu", len(numbers)
    windows = cpu_batch(model, (1 + flip) * count) // (1 + flip) if on_cpu else BATCH
    parts = stretches(numbers.numpy(), False, cpu_stretch(model, count) if on_cpu else BATCH, windows)
    return on_every_core(lifted, parts, batches_in_memory(model)) if on_cpu else map(lifted, parts)


def millimetres(poses: Tensor, skeleton: Skeleton) -> np.ndarray:
    """Poses [N,V,3] in metres as an array in mm, whose root is exactly 0."""
    pose_3d = poses * MM_PER_METRE
    pose_3d[:, skeleton.root] = 0
    return pose_3d.numpy()
