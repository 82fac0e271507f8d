"""Detector noise: 2D windows as a detector would have found them, with confidences.

The errors of TABLE_FRAMES frames are drawn once, from a level and a seed, as a table on the device.  A window reads a
stretch of it that begins at a random frame, so a window costs one random number and one gather.  Errors last: they are
made of normal noise that is smoothed along the frames, or are where such noise is highest.

- Noise is proportional to the person's size, the longer side of the box around the joints, and to a difficulty, which
  varies with the person and the joint.  The confidence falls with the difficulty.
- Joints that the people of COCO, on whose joints most detectors are trained, do not have, such as pelvis, neck and
  head, are made of others (glagcn.poses.joints).  They have an offset that stays for seconds.
- Outliers lie anywhere near the person.  Their confidence is any below what it would have been.
- Occlusion hides joints for a while, mostly several of a limb at once; nothing is found in lost frames.
- Swaps exchange left and right arms, or legs, with their confidences unchanged.

Missing joints have confidence 0 and a place as in the keypoint readers (`filled`), from the frames of the window alone.
"""

from dataclasses import replace
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from glagcn.data.dataset import Split
from glagcn.data.noise_levels import LEVELS, NoiseLevel
from glagcn.poses.gaps import GAP_SECONDS
from glagcn.poses.joints import ARM, CONVENTIONS, LEG, input_convention
from glagcn.skeletons import Skeleton

TABLE_FRAMES = 1 << 15
SLOWEST_FPS, FASTEST_FPS = 12.0, 60.0  # frame rates of training windows
NUM_DRAWS = 2  # random numbers per window: first frame of the table, and frame rate
# Standard deviations of the smoothing, frames: how long an error lasts.
JITTER, OUTLIER, LOST, OCCLUSION, SWAP, DIFFICULTY, OFFSET = 1.5, 0.7, 1.5, 5.0, 3.0, 15.0, 200.0
CONFIDENCE_DECAY = 0.15  # confidence is exp(-0.15 difficulty): 0.86 at the usual difficulty of 1
CONFIDENCE_NOISE = 0.05
LOWEST_CONFIDENCE = 0.06  # of a joint that is found; the readers take less than 0.05 for missing
OUTLIER_REACH = 0.5  # of the person's size, in x and y
SEED = 1 << 62  # of the table of errors; no usual --seed, so that training has seen other errors


class DetectorNoise:
    """Makes detections of a level from exact 2D poses.

    seed  of the table; two tables of different seeds have different errors.
    """

    def __init__(self, level: NoiseLevel, skeleton: Skeleton, seed: int, device: torch.device) -> None:
        offsets, confidence, swapped = _table(level, skeleton, np.random.default_rng((seed, TABLE_FRAMES)))
        self._errors = torch.from_numpy(np.concatenate([offsets, confidence[..., None]], axis=2)).float().to(device)
        self._swapped = torch.from_numpy(swapped).to(device)  # [R,V]
        self._mirror = torch.tensor(skeleton.input_mirror, device=device)

    @staticmethod
    def parameters(fps: np.ndarray, draws: np.ndarray) -> Tensor:
        """Of n windows [n,3] float32: first frame of the table, frames per second of the window, frames per step.

        fps    [n] of their sequences: a step from one frame of the window to the next is a fraction of its frames.
        draws  [n,NUM_DRAWS] float32 in [0, 1).
        """
        starts, rates = (draws[:, 0].astype(np.float64) * TABLE_FRAMES).astype(np.int64), frame_rates(draws[:, 1])
        return torch.from_numpy(np.stack([starts, rates, fps / rates], axis=1).astype(np.float32))

    def apply(self, poses: Tensor, starts: Tensor, rates: Tensor) -> Tensor:
        """The detections [n,T,V,3] (x, y, confidence) of exact 2D poses [n,T,V,2] in any units.

        starts  [n] int64, the first frame of the table.
        rates   [n] frames per second: gaps of up to half a second are interpolated.
        """
        n, frames = poses.shape[:2]
        rows = (starts[:, None] + torch.arange(frames, device=poses.device)).remainder_(TABLE_FRAMES).flatten()
        errors, swapped = (
            table.index_select(0, rows).unflatten(0, (n, frames)) for table in (self._errors, self._swapped)
        )
        size = (poses.amax(dim=2) - poses.amin(dim=2)).amax(dim=2)[..., None, None]
        poses = torch.where(swapped[..., None], poses.index_select(2, self._mirror), poses)
        longest = (rates * GAP_SECONDS).floor().clamp_min(1)
        return filled(torch.cat([poses + errors[..., :2] * size, errors[..., 2:]], dim=3), longest)


def with_detector_noise(split: Split, skeleton: Skeleton, level: str | None) -> Split:
    """The split with detections of a level (see DetectorNoise) as its 2D, with confidences; None: as it is.

    The errors of a sequence depend on the level and its name only, so all models are evaluated on the same 2D.
    """
    if level is None:
        return split
    noise = DetectorNoise(LEVELS[level], skeleton, SEED, torch.device("cpu"))
    pixels = np.array(split.pixels)
    confidence = np.ones(pixels.shape[:2], np.float32)
    for row, info in enumerate(split.sequences):
        frames = split.frames(row)
        begin = torch.tensor([crc32(info.name.encode()) % TABLE_FRAMES])
        found = noise.apply(torch.from_numpy(pixels[frames])[None], begin, torch.tensor([float(info.fps)]))[0]
        pixels[frames], confidence[frames] = found[..., :2].numpy(), found[..., 2].numpy()
    return replace(split, pixels=pixels, confidence=confidence)


def frame_rates(draws: np.ndarray) -> np.ndarray:
    """Frame rates [n] from 12 to 60 per second, uniform in their logarithm, from draws [n] in [0, 1)."""
    return SLOWEST_FPS * (FASTEST_FPS / SLOWEST_FPS) ** draws.astype(np.float64)


def filled(poses: Tensor, longest: Tensor) -> Tensor:
    """Windows [n,T,V,3] with a place for every joint, as `glagcn.poses.gaps.fill_gaps` gives.

    longest  [n] frames: longer gaps are not interpolated, but have the nearest place.
    A joint that is missing throughout a window lies in the middle of the others; without others, at (0, 0).
    """
    count = poses.shape[1]
    seen, frames = poses[..., 2] > 0, torch.arange(count, device=poses.device)[:, None]
    before = torch.where(seen, frames, -1).cummax(dim=1).values
    after = torch.where(seen, frames, count).flip(1).cummin(dim=1).values.flip(1)
    first = torch.where(before < 0, after, before).clamp_max(count - 1)
    last = torch.where(after == count, before, after).clamp_min(0)
    share = (frames - first) / (last - first).clamp_min(1)
    nearest = (last - frames < frames - first).to(share.dtype)
    share = torch.where(last - first - 1 <= longest[:, None, None], share, nearest)[..., None]
    places = poses[..., :2]
    begin, end = (places.gather(1, index[..., None].expand(-1, -1, -1, 2)) for index in (first, last))
    places = torch.where(seen[..., None], places, torch.lerp(begin, end, share.to(places.dtype)))
    known = seen.any(dim=1)[:, None, :, None]
    middle = torch.where(known, places, 0).sum(dim=2, keepdim=True) / known.sum(dim=2, keepdim=True).clamp_min(1)
    return torch.cat([torch.where(known, places, middle), poses[..., 2:]], dim=3)


def _table(
    level: NoiseLevel, skeleton: Skeleton, draws: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offsets [R,V,2] in parts of the person's size, confidences [R,V], 0 if missing, and swapped joints [R,V] bool."""
    points = input_convention(skeleton).points
    joints = len(points)
    limbs, kinds = _limbs(points)
    trouble = (_slow(draws, DIFFICULTY, 1) + _slow(draws, DIFFICULTY, joints)) / np.sqrt(2)
    difficulty = np.exp(level.spread * trouble)
    jitter = (_slow(draws, JITTER, joints * 2) + _slow(draws, 0, joints * 2)) / np.sqrt(2)
    offsets = level.noise * difficulty[..., None] * jitter.reshape(-1, joints, 2)
    made = [joint for joint, point in enumerate(points) if point not in CONVENTIONS["coco17"].points]
    offsets[:, made] += level.approximated * _slow(draws, OFFSET, len(made) * 2).reshape(TABLE_FRAMES, len(made), 2)

    confidence = np.exp(-CONFIDENCE_DECAY * difficulty) + CONFIDENCE_NOISE * _slow(draws, JITTER, joints)
    far = _highest(_slow(draws, OUTLIER, joints), level.outliers)
    offsets[far] = draws.uniform(-OUTLIER_REACH, OUTLIER_REACH, (int(far.sum()), 2))
    confidence[far] *= draws.uniform(0, 1, int(far.sum()))
    confidence = confidence.clip(LOWEST_CONFIDENCE, 1)

    hidden = _slow(draws, OCCLUSION, limbs.max() + 1)[:, limbs] + _slow(draws, OCCLUSION, joints)
    confidence[_highest(hidden, level.missing)] = 0
    confidence[_highest(_slow(draws, LOST, 1), level.lost)[:, 0]] = 0
    swapped = _highest(_slow(draws, SWAP, 2), level.swapped)
    return offsets, confidence, np.concatenate([swapped, np.zeros_like(swapped[:, :1])], axis=1)[:, kinds]


def _slow(draws: np.random.Generator, frames: float, columns: int) -> np.ndarray:
    """Standard normal noise [R,columns], smoothed along R by a Gaussian of this standard deviation; R is circular."""
    noise = draws.standard_normal((TABLE_FRAMES, columns))
    if frames == 0:
        return noise
    frequencies = np.fft.rfftfreq(TABLE_FRAMES)[:, None]
    smooth = np.fft.irfft(np.fft.rfft(noise, axis=0) * np.exp(-2 * (np.pi * frames * frequencies) ** 2), axis=0)
    return smooth / smooth.std(axis=0)


def _highest(noise: np.ndarray, share: float) -> np.ndarray:
    """Where the noise [R,K] is highest, in this share of the frames of each column."""
    return noise > np.quantile(noise, 1 - share, axis=0)


def _limbs(points: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The limb [V] and the kind [V] of each joint.

    A limb is 0 for the left arm, 1 for the right arm, 2 for the left leg, 3 for the right leg, 4 for the rest.  A kind
    is 0 for arms, 1 for legs, 2 for the rest.
    """
    parts = [point.split("_", 1)[-1] if point.startswith(("left_", "right_")) else "" for point in points]
    kinds = np.array([0 if part in ARM else 1 if part in LEG else 2 for part in parts])
    right = np.array([point.startswith("right_") for point in points])
    return np.where(kinds == 2, 4, 2 * kinds + right), kinds
