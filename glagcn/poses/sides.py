"""Left and right, which a detector exchanges for a while: found by continuity, and put right where that is certain.

From one frame to the next, joints are near to where they were.  Where they are near to where those of the other side
were instead, the sides have changed places.  Nothing in the picture says before or after which change they are wrong;
the detector counts as right most of the time.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from glagcn.poses.gaps import slices

# The sides of two frames are known if one reading is nearer than the other by the factor SURE, and nearer than NEAR.
# Where it says that they changed, the other must also be as far as APART (diagonals of a pose).
SURE, NEAR, APART = 0.35, 0.1, 0.08
REACH_SECONDS = 0.1  # between the two frames: within it nobody turns round
LEAST_SECONDS, MOST = 1.0, 1 / 3  # of frames whose sides are known to each other; the part that may be exchanged
LEAST_PAIRS = 0.5  # of the joints that have two sides must be there


def mirrored(joints: Sequence[str]) -> list[int]:
    """The number of the joint of the other side for each of `joints`; its own number for one in the middle."""
    exchanged = {"left": "right", "right": "left"}
    others = [re.sub("left|right", lambda side: exchanged[side[0]], joint) for joint in joints]
    return [joints.index(other) if other in joints else place for place, other in enumerate(others)]


def sides_put_right(
    keypoints: np.ndarray, joints: Sequence[str], fps: float, places: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """A person [T,J,3] with the sides of all joints put right in the frames [n] where they were exchanged for a while.

    joints  J names in common words; the confidence is 0 where a joint is missing.
    fps     frames per second;  places  [T] of the frames, in frames of this rate; None: one after the other.

    Put right are frames between others in which the sides are right, a third of all those whose sides are known to each
    other at most.  Frames between these that show neither, because the detector was just about to change, are missing
    (0) then.
    """
    other = mirrored(joints)
    paired = [place for place, mirror in enumerate(other) if mirror != place]
    sides = [paired.index(other[place]) for place in paired]
    at = np.arange(len(keypoints)) if places is None else places

    def links(frames: np.ndarray, at: np.ndarray) -> Iterator[np.ndarray]:
        """For 1, 2, ... `reach` frames later [T - step]: 0 where the sides are the same, 1 changed, -1 not known."""
        there = (frames[:, paired, 2] > 0) & (frames[:, [other[place] for place in paired], 2] > 0)
        enough = there.mean(axis=1) >= LEAST_PAIRS
        points = np.where(there[..., None], frames[:, paired, :2], np.nan).astype(np.float64)
        sizes = np.full(len(frames), np.nan)
        sizes[enough] = np.linalg.norm(np.nanmax(points[enough], axis=1) - np.nanmin(points[enough], axis=1), axis=-1)
        for step in range(1, reach + 1):
            with np.errstate(invalid="ignore", divide="ignore"):
                size = np.minimum(sizes[step:], sizes[:-step])
                kept, changed = (_apart(points[:-step], later[step:]) / size for later in (points, points[:, sides]))
                same = (kept < SURE * changed) & (kept < NEAR)
                new = (changed < SURE * kept) & (changed < NEAR) & (kept > APART)
            near = at[step:] - at[:-step] <= REACH_SECONDS * fps
            yield np.where(near, np.where(new, 1, np.where(same, 0, -1)), -1)

    nothing = keypoints, np.zeros(0, np.int64)
    reach = min(int(REACH_SECONDS * fps + 1e-6), len(keypoints) - 1)
    if not reach or len(keypoints) < 3 or not paired:
        return nothing
    found: list[list[np.ndarray]] = [[] for _ in range(reach)]
    for part in slices(len(keypoints)):
        piece = slice(part.start, part.stop + reach)
        for pieces, each in zip(found, links(keypoints[piece], at[piece]), strict=True):
            pieces.append(each[: part.stop - part.start])
    steps = [np.concatenate(pieces) for pieces in found]
    if not any((each == 1).any() for each in steps):
        return nothing
    wrong, unclear = np.zeros(len(keypoints), bool), np.zeros(len(keypoints), bool)
    for rows, state in _chains(steps):
        state = state ^ (state.mean() > 0.5)
        between = state.any() and not state[0] and not state[-1]
        enough_known = rows[-1] - rows[0] + 1 >= LEAST_SECONDS * fps
        if between and enough_known and state.mean() <= MOST and _agree(steps, rows, state):
            wrong[rows[state > 0]] = True
            unclear[rows[0] : rows[-1]] = True
            unclear[rows] = False
    if not wrong.any():
        return nothing
    put = np.where(wrong[:, None, None], keypoints[:, other], keypoints)
    return np.where(unclear[:, None, None], 0, put).astype(keypoints.dtype), np.flatnonzero(wrong)


def _apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[T]: the mean distance of the joints that both have, apart from what all of them have moved; NaN without any."""
    way = other - one
    known = np.isfinite(way[..., :1])
    count = known.sum(axis=1)
    way = np.where(known, way - (np.where(known, way, 0).sum(axis=1) / count)[:, None], 0)
    return np.linalg.norm(way, axis=-1).sum(axis=1) / count[:, 0]


def _chains(steps: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The longest chains of frames, from each to the next of which the sides are known.

    steps  for 1, 2, ... frames later: the links, as in `sides_put_right`.
    For each chain its frames [n], ascending, and whether the sides are those of the first, 0, or the others, 1.
    """
    count = len(steps[0]) + 1
    length, before = [1] * count, [-1] * count
    known = [(each >= 0).tolist() for each in steps]
    for frame in range(count):
        for step in range(1, min(len(steps), frame) + 1):
            if known[step - 1][frame - step] and length[frame - step] >= length[frame]:
                length[frame], before[frame] = length[frame - step] + 1, frame - step
    taken, chains = np.zeros(count, bool), []
    for end in np.argsort(-np.array(length), kind="stable"):
        rows = [int(end)]
        while before[rows[-1]] >= 0 and not taken[rows[-1]]:
            rows.append(before[rows[-1]])
        rows = rows[::-1]
        if len(rows) > 1 and not taken[rows[0] : rows[-1] + 1].any():
            taken[rows[0] : rows[-1] + 1] = True
            changes = [steps[b - a - 1][a] for a, b in pairwise(rows)]
            chains.append((np.array(rows), np.cumsum([0, *changes]) % 2))
    return chains


def _agree(steps: list[np.ndarray], rows: np.ndarray, state: np.ndarray) -> bool:
    """Whether every known link between two frames of a chain says the same as the chain."""
    states = np.full(len(steps[0]) + 1, -1)
    states[rows] = state
    for step, links in enumerate(steps, start=1):
        one, other = states[:-step], states[step:]
        if ((links >= 0) & (one >= 0) & (other >= 0) & ((one ^ other) != links)).any():
            return False
    return True
