"""The Source of VideoPose3D's npz pair: data_3d_<dataset>.npz and data_2d_<dataset>_<keypoints>.npz."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from glagcn.data.sequence import Sequence, SequenceInfo
from glagcn.data.sources.checks import as_frames, check_poses, check_world
from glagcn.data.sources.missing_2d import check_found, fill_missing
from glagcn.data.sources.provenance import file_record
from glagcn.data.sources.source import SplitName
from glagcn.data.sources.videopose3d import reprojection
from glagcn.data.sources.videopose3d.cameras import Camera, cameras_of, to_camera
from glagcn.data.sources.videopose3d.facts import FACTS, file_names, skeleton_name
from glagcn.data.sources.videopose3d.layout import Poses, check_metadata, kind, load_metadata, load_poses
from glagcn.errors import UserError
from glagcn.skeleton import get_skeleton


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


class VideoPose3DFiles:
    """The Source of the pair of files in one folder.

    It reads all takes with 3D, 2D and cameras; subjects and actions are selected later, from the cache.  An npz is one
    pickled dict, so both files are loaded into memory, about 1.2 GB for Human3.6M.

    mark_missing  see PrepareFlags.
    """

    annotation = ""

    def __init__(self, root: Path, dataset: str, keypoints: str) -> None:
        self.root, self.dataset, self.keypoints = root, dataset, keypoints
        self.mark_missing = False
        self.path_3d, self.path_2d = (root / name for name in file_names(dataset, keypoints))
        self.facts = FACTS[dataset]
        self.notes: list[str] = []
        self.cut_frames: dict[str, int] = {}
        self._records: list[dict] = []

    @property
    def missing(self) -> list[Path]:
        """The files of the pair that do not exist."""
        return [path for path in (self.path_3d, self.path_2d) if not path.is_file()]

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
                valid = np.ones(info.length, dtype=bool)
                size = info.width, info.height
                where, confidence = f"{self.path_2d}: {info.name}", None
                if self.mark_missing:
                    pixels, confidence = fill_missing(where, pixels, info.fps)
                else:
                    check_found(where, pixels, "glagcn prepare --mark_missing fills the gaps and marks them.")
                check_poses(where, pixels, millimetres, root, valid, size)
                yield Sequence(info, pixels, millimetres, valid, confidence=confidence)

    def provenance(self) -> dict:
        """See Source."""
        return {
            "kind": "VideoPose3D npz",
            "root": str(self.root.resolve()),
            "cut_frames": self.cut_frames,
            "files": self._records,
        }

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
        self._records = [file_record(path, self.root) for path in (self.path_3d, self.path_2d)]
        check_metadata(self.path_2d, load_metadata(self.path_2d), self.skeleton)
        poses_3d, poses_2d = load_poses(self.path_3d, "positions_3d"), load_poses(self.path_2d, "positions_2d")
        self._check_splits(poses_3d)
        self._note_without_3d(poses_3d, poses_2d)
        takes = self._make_takes(poses_3d, poses_2d)
        if self.cut_frames:
            most = max(self.cut_frames.values())
            self.notes.append(f"2D longer than 3D in {len(self.cut_frames)} takes: cut by at most {most} frames")
        for split, subjects in self.facts.subjects.items():
            if not takes[split]:
                raise UserError(
                    f"{self.path_3d}: no take of {', '.join(subjects)} is usable, so the {split} split is empty; "
                    "get a complete file"
                )
        self._compare([take for split in takes.values() for take in split])
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
            self.notes.append(
                f"warning: {self.path_3d.name} has no 3D of {', '.join(absent)}: {self.facts.title} is incomplete, and "
                "results are not comparable with published ones"
            )
        unknown = [subject for subject in poses_3d if subject not in wanted]
        if unknown:
            self.notes.append(f"left out subjects without known cameras: {', '.join(unknown)}")

    def _note_without_3d(self, poses_3d: Poses, poses_2d: Poses) -> None:
        left_out = []
        for subject, actions in poses_2d.items():
            with_3d = poses_3d.get(subject, {})
            extra = [f"{subject}/{action}" for action in actions if action not in with_3d]
            left_out += extra if with_3d else [subject]
        if left_out:
            self.notes.append(f"left out 2D without 3D: {', '.join(left_out)}")

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
            self.notes.append(f"left out corrupt takes (NaN in the 3D): {', '.join(corrupt)}")
        return takes

    def _world(self, where: str, value: object) -> np.ndarray | None:
        """The 3D of a take for the skeleton's joints, [T,V,3] metres; None if it has NaN and `drops_nan` is set."""
        joints, kept = self.facts.joints, self.facts.kept
        if not isinstance(value, np.ndarray):
            raise UserError(f"{where}: the 3D is {kind(value)}; expected an array (frames, {joints}, 3)")
        if joints != len(kept) and value.shape[1:] == (len(kept), 3):
            # Some programs save the poses after VideoPose3D's loader has removed joints.
            self._note(f"the 3D has {len(kept)} joints instead of {joints}: read as the joints of {self.skeleton}")
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
            self._note("the 2D has a third value for each joint: taken for a confidence and left out")
            view = view[..., :2]
        pixels = as_frames(where, "the 2D", view, joints, 2)
        if len(pixels) < frames:
            raise UserError(
                f"{where}: {len(pixels)} frames of 2D but {frames} frames of 3D in {self.path_3d.name}. "
                "The files are of different versions or one is damaged; get both again."
            )
        return pixels[:frames]

    def _compare(self, takes: list[Take]) -> None:
        """Add a warning for subjects and cameras with a large reprojection error, if intrinsics are known."""
        distances = []
        for subject in dict.fromkeys(take.subject for take in takes):
            of_subject = [(take, reprojection.thinned(len(take.world))) for take in takes if take.subject == subject]
            for number, camera in enumerate(of_subject[0][0].cameras):
                if camera.focal is not None:
                    poses = np.concatenate([take.in_camera(number, frames) for take, frames in of_subject])
                    pixels = np.concatenate([take.views[number][frames] for take, frames in of_subject])
                    distances.append((f"{subject} cam{number}", reprojection.distance(camera, poses, pixels)))
        self._note(reprojection.reprojection_warning(self.keypoints, distances))

    def _note(self, note: str | None) -> None:
        if note and note not in self.notes:
            self.notes.append(note)
