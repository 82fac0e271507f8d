"""The source of Human3.6M and HumanEva-I: VideoPose3D's npz pair, one file with 3D and one with 2D and metadata."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from glagcn.data.checks import as_frames, check_found, check_sequence, check_world, fill_missing, kind
from glagcn.data.dataset import DEMO_HINT, FileSource, Sequence, SequenceInfo, SplitName, cache_name
from glagcn.data.videopose3d.cameras import (
    Camera,
    cameras_of,
    reprojection_error,
    reprojection_warning,
    thinned,
    to_camera,
)
from glagcn.data.videopose3d.facts import DATASETS_PAGE, FACTS, file_names, skeleton_name
from glagcn.errors import UserError
from glagcn.safe_pickle import load_object
from glagcn.skeletons import get_skeleton

# Names appear in messages and in sequence names "<subject>/<action>/cam<k>", which have 64 bytes in the cache.
SUBJECT = re.compile(r"\w[\w/-]{0,31}", re.ASCII)
ACTION = re.compile(r"\w[\w .()+-]{0,35}", re.ASCII)

# The 17 joints of COCO: the nose, then left and right alternating.
COCO_LEFT, COCO_RIGHT = tuple(range(1, 17, 2)), tuple(range(2, 17, 2))

Poses = dict[str, dict[str, object]]


def find_videopose3d(root: Path, dataset: str, keypoints: str, mark_missing: bool = False) -> "VideoPose3DFiles":
    """The source for Human3.6M ("h36m") or HumanEva-I ("humaneva15") in `root`, with the 2D source `keypoints`.

    mark_missing  see PrepareFlags.
    Raises UserError that names the missing files, the available 2D sources, and how to get the files.
    """
    source = VideoPose3DFiles(root, dataset, keypoints, mark_missing)
    if source.missing:
        raise UserError(_pair_incomplete(source))
    return source


def _pair_incomplete(source: "VideoPose3DFiles") -> str:
    root, dataset, missing = source.root, source.dataset, source.missing
    if len(missing) == 1:
        there = next(path for path in (source.path_3d, source.path_2d) if path not in missing)
        lines = [f"{missing[0]} is missing; it is needed together with {there.name}, which exists"]
    else:
        lines = [
            f"no {source.facts.title} with the 2D source {source.keypoints!r} found in {root}. Looked for:",
            f"  the cache {cache_name(dataset, source.keypoints, '')}",
            f"  the npz pair {source.path_3d.name} and {source.path_2d.name}",
        ]
    if source.path_2d in missing:
        prefix = f"data_2d_{dataset}_"
        others = sorted(path.name.removeprefix(prefix).removesuffix(".npz") for path in root.glob(f"{prefix}*.npz"))
        if others:
            lines.append(f"Available 2D sources: {', '.join(others)}; select one with -k NAME (--keypoints)")
    return "\n".join([*lines, f"How to get the files: {DATASETS_PAGE} (see docs/data.md)", DEMO_HINT])


@dataclass(frozen=True)
class Take:
    """One action of one subject.

    world    [T,V,3] float32, world coordinates, metres.
    views    the 2D of each camera, [T,V,2] float32, pixels.
    cameras  the cameras, in the order of `views`.
    """

    subject: str
    action: str
    world: np.ndarray
    views: tuple[np.ndarray, ...]
    cameras: tuple[Camera, ...]

    @property
    def name(self) -> str:
        """The name, such as "S1/Walking 1"."""
        return f"{self.subject}/{self.action}"

    def in_camera(self, number: int, frames: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The 3D of the given frames in the coordinates of camera `number`: [T,V,3], millimetres."""
        return to_camera(1000.0 * self.world[frames].astype(np.float64), self.cameras[number])


class VideoPose3DFiles(FileSource):
    """The Source of the pair of files in one folder.

    It reads all takes with 3D, 2D and cameras; subjects and actions are selected later, from the cache.  An npz is one
    pickled dict, so both files are loaded into memory, about 1.2 GB for Human3.6M.

    mark_missing  see PrepareFlags.
    """

    kind = "VideoPose3D npz"

    def __init__(self, root: Path, dataset: str, keypoints: str, mark_missing: bool = False) -> None:
        self.dataset, self.keypoints, self.mark_missing = dataset, keypoints, mark_missing
        self.path_3d, self.path_2d = (root / name for name in file_names(dataset, keypoints))
        self.facts = FACTS[dataset]
        super().__init__(root, {"3d": self.path_3d, "2d": self.path_2d})

    @cached_property
    def skeleton(self) -> str:
        """See Source.  For an unknown 2D source it is read from the metadata of the 2D file.  Raises UserError."""
        known = skeleton_name(self.dataset, self.keypoints)
        if known:
            return known
        joints = load_metadata(self.path_2d)["num_joints"]
        if not isinstance(joints, int | np.integer) or joints not in self.facts.by_joints:
            raise UserError(
                f"{self.path_2d}: metadata has num_joints {joints!r}; expected 15 (HumanEva) or 17 (COCO). "
                "Other joint sets are not supported; see docs/data.md."
            )
        return self.facts.by_joints[int(joints)]

    def infos(self, split: SplitName) -> list[SequenceInfo]:
        """See Source.  The first call loads both files and adds notes about cut and skipped data."""
        return [info for take in self._takes[split] for info in self._infos(take)]

    def read(self, split: SplitName) -> Iterator[Sequence]:
        """See Source.  All frames are valid; there are no activities."""
        root = get_skeleton(self.skeleton).root
        for take in self._takes[split]:
            for number, info in enumerate(self._infos(take)):
                pixels, millimetres = take.views[number], take.in_camera(number).astype(np.float32)
                where, confidence = f"{self.path_2d}: {info.name}", None
                if self.mark_missing:
                    pixels, confidence = fill_missing(where, pixels, info.fps)
                else:
                    check_found(where, pixels, "glagcn prepare --mark_missing fills the gaps and marks them.")
                valid = np.ones(info.length, dtype=bool)
                sequence = Sequence(info, pixels, millimetres, valid, confidence=confidence)
                check_sequence(where, sequence, root)
                yield sequence

    def _infos(self, take: Take) -> list[SequenceInfo]:
        return [
            SequenceInfo(
                f"{take.name}/cam{number}", take.subject, number, len(take.world), self.facts.fps,
                camera.width, camera.height,
            )
            for number, camera in enumerate(take.cameras)
        ]  # fmt: skip

    @cached_property
    def _takes(self) -> dict[str, list[Take]]:
        """The takes of each split, sorted by subject and action.  The values of the 2D are not checked yet."""
        for path in self.paths.values():
            self.record(path)
        check_metadata(self.path_2d, load_metadata(self.path_2d), self.skeleton)
        poses_3d, poses_2d = load_poses(self.path_3d, "positions_3d"), load_poses(self.path_2d, "positions_2d")
        self._check_splits(poses_3d)
        self._note_without_3d(poses_3d, poses_2d)
        takes = self._make_takes(poses_3d, poses_2d)
        if self.cut_frames:
            most = max(self.cut_frames.values())
            self.note(f"2D longer than 3D in {len(self.cut_frames)} takes: cut by at most {most} frames")
        for split, subjects in self.facts.subjects.items():
            if not takes[split]:
                raise UserError(
                    f"{self.path_3d}: no take of {', '.join(subjects)} is usable, so the {split} split is empty; "
                    "get a complete file"
                )
        self._compare_files([take for split in takes.values() for take in split])
        return takes

    def _check_splits(self, poses_3d: Poses) -> None:
        """Raise UserError unless each split has a subject; add notes about missing and unknown subjects."""
        wanted = [subject for subjects in self.facts.subjects.values() for subject in subjects]
        absent = [subject for subject in wanted if not poses_3d.get(subject)]
        for split, subjects in self.facts.subjects.items():
            if set(subjects) <= set(absent):
                raise UserError(
                    f"{self.path_3d}: no 3D of {', '.join(subjects)}, so the {split} split is empty; found "
                    f"{', '.join(poses_3d) or 'no subject'}. Get a complete file of {self.facts.title}."
                )
        if absent:
            self.note(
                f"warning: {self.path_3d.name} has no 3D of {', '.join(absent)}: {self.facts.title} is incomplete, and "
                "results are not comparable with published ones"
            )
        unknown = [subject for subject in poses_3d if subject not in wanted]
        if unknown:
            self.note(f"left out subjects without known cameras: {', '.join(unknown)}")

    def _note_without_3d(self, poses_3d: Poses, poses_2d: Poses) -> None:
        left_out = []
        for subject, actions in poses_2d.items():
            with_3d = poses_3d.get(subject, {})
            extra = [f"{subject}/{action}" for action in actions if action not in with_3d]
            left_out += extra if with_3d else [subject]
        if left_out:
            self.note(f"left out 2D without 3D: {', '.join(left_out)}")

    def _make_takes(self, poses_3d: Poses, poses_2d: Poses) -> dict[str, list[Take]]:
        corrupt: list[str] = []
        takes: dict[str, list[Take]] = {split: [] for split in self.facts.subjects}
        for split, subjects in self.facts.subjects.items():
            for subject in subjects:
                for action in sorted(poses_3d.get(subject, {})):
                    world = self._world(f"{self.path_3d}: {subject}/{action}", poses_3d[subject][action])
                    if world is None:
                        corrupt.append(f"{subject}/{action}")
                        continue
                    takes[split].append(self._take(subject, action, world, poses_2d))
        if corrupt:
            self.note(f"left out corrupt takes (NaN in the 3D): {', '.join(corrupt)}")
        return takes

    def _world(self, where: str, value: object) -> np.ndarray | None:
        """The 3D of a take for the skeleton's joints, [T,V,3] metres; None if it has NaN and `drops_nan` is set."""
        joints, kept = self.facts.joints, self.facts.kept
        if not isinstance(value, np.ndarray):
            raise UserError(f"{where}: the 3D is {kind(value)}; expected an array (frames, {joints}, 3)")
        if joints != len(kept) and value.shape[1:] == (len(kept), 3):
            # Some programs save the poses after VideoPose3D's loader has removed joints.
            self.note(f"the 3D has {len(kept)} joints instead of {joints}: read as the joints of {self.skeleton}")
            joints, kept = len(kept), tuple(range(len(kept)))
        world = as_frames(where, "the 3D", value, joints, 3)[:, kept]
        if self.facts.drops_nan and not np.isfinite(world).all():
            return None
        check_world(where, world, get_skeleton(self.skeleton).root)
        return world

    def _take(self, subject: str, action: str, world: np.ndarray, poses_2d: Poses) -> Take:
        name, cameras = f"{subject}/{action}", cameras_of(self.dataset, subject)
        if action not in poses_2d.get(subject, {}):
            raise UserError(
                f"{self.path_3d} has the 3D of {name}, but {self.path_2d} has no 2D of it. "
                "The files are of different versions; get both again."
            )
        where, found = f"{self.path_2d}: {name}", poses_2d[subject][action]
        many = isinstance(found, list | tuple) or (isinstance(found, np.ndarray) and found.ndim > 0)
        views = list(found) if many else []  # type: ignore[call-overload]
        if len(views) != len(cameras):
            raise UserError(
                f"{where}: the 2D is {kind(found)}; expected a list of {len(cameras)} arrays, one for each camera: "
                f"{', '.join(camera.id for camera in cameras)}. Get the file again."
            )
        pixels = [self._view(f"{where}/cam{number}", view, len(world)) for number, view in enumerate(views)]
        cut = max(len(view) for view in views) - len(world)
        if cut:
            self.cut_frames[name] = cut
        return Take(subject, action, world, tuple(pixels), cameras)

    def _view(self, where: str, view: object, frames: int) -> np.ndarray:
        """The 2D of one camera, cut to the frames that have 3D."""
        joints = get_skeleton(self.skeleton).num_input_joints
        if not isinstance(view, np.ndarray):
            raise UserError(f"{where}: the 2D is {kind(view)}; expected an array (frames, {joints}, 2)")
        if view.shape[1:] == (joints, 3):
            self.note("the 2D has a third value for each joint: taken for a confidence and left out")
            view = view[..., :2]
        pixels = as_frames(where, "the 2D", view, joints, 2)
        if len(pixels) < frames:
            raise UserError(
                f"{where}: {len(pixels)} frames of 2D but {frames} frames of 3D in {self.path_3d.name}. "
                "The files are of different versions or one is damaged; get both again."
            )
        return pixels[:frames]

    def _compare_files(self, takes: list[Take]) -> None:
        """Add a warning for subjects and cameras with a large reprojection error, if intrinsics are known."""
        distances = []
        for subject in dict.fromkeys(take.subject for take in takes):
            of_subject = [(take, thinned(len(take.world))) for take in takes if take.subject == subject]
            for number, camera in enumerate(of_subject[0][0].cameras):
                if camera.focal is not None:
                    poses = np.concatenate([take.in_camera(number, frames) for take, frames in of_subject])
                    pixels = np.concatenate([take.views[number][frames] for take, frames in of_subject])
                    distances.append((f"{subject} cam{number}", reprojection_error(camera, poses, pixels)))
        self.note(reprojection_warning(self.keypoints, distances))


# ---- The structure of the files.


def load_poses(path: Path, key: str) -> Poses:
    """{subject: {action: unchecked value}} of the npz member `key`.  Raises UserError for another structure."""
    subjects = load_object(path, key, _hint(key))
    if not isinstance(subjects, dict):
        raise UserError(f"{path}: {key} is {kind(subjects)}; {_hint(key)}")
    for subject, actions in subjects.items():
        _check_name(path, "a subject", subject, SUBJECT)
        if not isinstance(actions, dict):
            raise UserError(f"{path}: {key} of {subject} is {kind(actions)}; {_hint(key)}")
        for action in actions:
            _check_name(path, f"an action of {subject}", action, ACTION)
    return subjects


def load_metadata(path: Path) -> dict:
    """The metadata of a 2D file, with at least "num_joints" and "keypoints_symmetry".  Raises UserError."""
    metadata = load_object(path, "metadata", _hint("metadata"))
    if not isinstance(metadata, dict):
        raise UserError(f"{path}: metadata is {kind(metadata)}; {_hint('metadata')}")
    missing = [name for name in ("num_joints", "keypoints_symmetry") if name not in metadata]
    if missing:
        found = ", ".join(map(str, metadata)) or "nothing"
        raise UserError(f"{path}: no {', '.join(missing)} in metadata; found {found}; {_hint('metadata')}")
    return metadata


def check_metadata(path: Path, metadata: dict, skeleton: str) -> None:
    """Raise UserError unless the metadata of a 2D file match the joints and sides of the skeleton's input."""
    joints = get_skeleton(skeleton).num_input_joints
    layout = metadata.get("layout_name")
    layout_note = f" (layout {layout!r})" if isinstance(layout, str) else ""
    if not isinstance(metadata["num_joints"], int | np.integer) or metadata["num_joints"] != joints:
        raise UserError(
            f"{path}: metadata has num_joints {metadata['num_joints']!r}{layout_note}; expected {joints} for "
            f"{skeleton}. Other joint sets are not supported; see docs/data.md."
        )
    expected = _sides_of_input(skeleton)
    found = _sides(metadata["keypoints_symmetry"])
    if found != expected:
        given = "not two lists of joints" if found is None else " and ".join(str(sorted(side)) for side in found)
        wanted = " and ".join(str(sorted(side)) for side in expected)
        raise UserError(
            f"{path}: the left and right joints in metadata are {given}{layout_note}; expected {wanted} for "
            f"{skeleton}. Other joint orders are not supported; see docs/data.md."
        )


def _sides_of_input(skeleton: str) -> tuple[set[int], set[int]]:
    """The left and the right joints of the skeleton's 2D input."""
    if skeleton == "humaneva15_coco17":
        return set(COCO_LEFT), set(COCO_RIGHT)
    return set(get_skeleton(skeleton).left), set(get_skeleton(skeleton).right)


def _sides(symmetry: Any) -> tuple[set[int], set[int]] | None:
    """The sets of left and right joints; None if `symmetry` is not two lists of whole numbers."""
    try:
        left, right = ({int(joint) for joint in side} for side in symmetry)
    except (TypeError, ValueError, OverflowError):
        return None
    return left, right


def _check_name(path: Path, what: str, name: object, pattern: re.Pattern) -> None:
    if not isinstance(name, str) or not pattern.fullmatch(name):
        raise UserError(
            f"{path}: {what} is named {name!r:.80}; expected a short name of ASCII letters, digits and spaces, such "
            f"as {'Walking 1' if pattern is ACTION else 'S1 or Train/S1'}"
        )


def _hint(key: str) -> str:
    if key == "positions_3d":
        return f"expected positions_3d as VideoPose3D writes it: {{subject: {{action: [T,V,3]}}}}, see {DATASETS_PAGE}"
    return (
        "expected positions_2d {subject: {action: [one [T,V,2] per camera]}} and metadata, as VideoPose3D writes them, "
        f"see {DATASETS_PAGE}"
    )
