"""The source of Human3.6M and HumanEva-I: VideoPose3D's npz pair, one file with 3D and one with 2D and metadata."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from glagcn.data.checks import as_frames, check_3d, check_found, check_sequence, checked_sequences, fill_missing, kind
from glagcn.data.dataset import DEMO_HINT, Sequence, SequenceInfo, Source, SplitName, cache_name
from glagcn.data.videopose3d.cameras import Camera, cameras_of, reprojection_error, to_camera
from glagcn.data.videopose3d.facts import DATASETS_PAGE, FACTS, skeleton_name
from glagcn.errors import UserError
from glagcn.safe_pickle import load_object
from glagcn.skeletons import get_skeleton

# Names appear in messages and in sequence names "<subject>/<action>/cam<k>", which have 64 bytes in the cache.
SUBJECT = re.compile(r"\w[\w/-]{0,31}", re.ASCII)
ACTION = re.compile(r"\w[\w .()+-]{0,35}", re.ASCII)

FRAMES_COMPARED = 8  # of a take, with their projection
# The error of ground-truth 2D is below a pixel, of detectors about ten pixels, of swapped cameras hundreds of pixels.
MAX_GROUND_TRUTH_PX, MAX_DETECTED_PX = 5.0, 40.0

# The 17 joints of COCO: the nose, then left and right alternating.
COCO_LEFT, COCO_RIGHT = tuple(range(1, 17, 2)), tuple(range(2, 17, 2))

HINT = (
    "expected positions_3d {subject: {action: [T,V,3]}}, or positions_2d {subject: {action: [one [T,V,2] per camera]}} "
    f"and metadata, as VideoPose3D writes them, see {DATASETS_PAGE}"
)

Poses = dict[str, dict[str, object]]


def find_videopose3d(root: Path, dataset: str, keypoints: str, mark_missing: bool = False) -> "VideoPose3DFiles":
    """The source for Human3.6M ("h36m") or HumanEva-I ("humaneva15") in `root`, with the 2D source `keypoints`.

    mark_missing  see PrepareFlags.
    Raises UserError that names the missing files, the available 2D sources, and how to get the files.
    """
    source = VideoPose3DFiles(root, dataset, keypoints, mark_missing)
    if not source.missing:
        return source
    lines = [
        f"no {source.facts.title} with the 2D source {keypoints!r} found in {root}. Looked for the cache "
        f"{cache_name(dataset, keypoints, '')}, and for the npz pair {source.path_3d.name} and {source.path_2d.name}, "
        f"of which {' and '.join(path.name for path in source.missing)} is missing"
    ]
    prefix = f"data_2d_{dataset}_"
    if others := sorted(path.stem.removeprefix(prefix) for path in root.glob(f"{prefix}*.npz")):
        lines.append(f"Available 2D sources: {', '.join(others)}; select one with -k NAME (--keypoints)")
    raise UserError("\n".join([*lines, f"How to get the files: {DATASETS_PAGE} (see docs/data.md)", DEMO_HINT]))


@dataclass(frozen=True)
class View:
    """One action of one subject, from one camera.

    world   [T,V,3] float32, world coordinates, metres.
    pixels  [T,V,2] float32.
    """

    info: SequenceInfo
    camera: Camera
    world: np.ndarray
    pixels: np.ndarray

    def poses(self, frames: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The 3D of the given frames in the coordinates of the camera: [T,V,3], millimetres."""
        return to_camera(1000.0 * self.world[frames].astype(np.float64), self.camera)


class VideoPose3DFiles(Source):
    """The pair of files in one folder.

    It reads all takes with 3D, 2D and cameras; subjects and actions are selected later, from the cache.  An npz is one
    pickled dict, so both files are loaded into memory, about 1.2 GB for Human3.6M.

    mark_missing  see PrepareFlags.
    """

    kind = "VideoPose3D npz"

    def __init__(self, root: Path, dataset: str, keypoints: str, mark_missing: bool = False) -> None:
        self.dataset, self.keypoints, self.mark_missing = dataset, keypoints, mark_missing
        self.facts = FACTS[dataset]
        if not re.fullmatch(r"\w[\w.-]*", keypoints, re.ASCII):
            raise UserError(
                f"invalid --keypoints {keypoints!r}: must be the NAME of a file data_2d_{dataset}_NAME.npz, such as gt "
                f"or {self.facts.example}"
            )
        self.path_3d, self.path_2d = root / f"data_3d_{dataset}.npz", root / f"data_2d_{dataset}_{keypoints}.npz"
        self.without_2d: list[str] = []  # cameras
        super().__init__(root, {"3d": self.path_3d, "2d": self.path_2d})

    @cached_property
    def skeleton(self) -> str:  # type: ignore[override]  # read from the file when it is needed
        """See Source.  For an unknown 2D source it is read from the metadata of the 2D file.  Raises UserError."""
        if known := skeleton_name(self.dataset, self.keypoints):
            return known
        joints = load_metadata(self.path_2d)["num_joints"]
        if not isinstance(joints, int | np.integer) or joints not in self.facts.by_joints:
            raise UserError(
                f"{self.path_2d}: metadata has num_joints {joints!r:.150}; expected 15 (HumanEva) or 17 (COCO). "
                "Other joint sets are not supported; see docs/data.md."
            )
        return self.facts.by_joints[int(joints)]

    def infos(self, split: SplitName) -> list[SequenceInfo]:
        """See Source.  The first call loads both files and adds notes about cut and skipped data."""
        return [view.info for view in self._views[split]]

    def read(self, split: SplitName) -> Iterator[Sequence]:
        """See Source."""
        return checked_sequences(self, split, self._read(split))

    def _read(self, split: SplitName) -> Iterator[Sequence]:
        """All frames are valid; there are no activities."""
        for view in self._views[split]:
            where, pixels, confidence = f"{self.path_2d}: {view.info.name}", view.pixels, None
            if self.mark_missing:
                pixels, confidence = fill_missing(where, pixels, view.info.fps)
            else:
                check_found(where, pixels)
            valid = np.ones(view.info.length, dtype=bool)
            sequence = Sequence(view.info, pixels, view.poses().astype(np.float32), valid, confidence=confidence)
            check_sequence(where, sequence, get_skeleton(self.skeleton).root)
            yield sequence

    @cached_property
    def _views(self) -> dict[str, list[View]]:
        """The views of each split, by subject, action and camera.  The values of the 2D are not checked yet."""
        for path in self.paths.values():
            self.record(path)
        check_metadata(self.path_2d, load_metadata(self.path_2d), self.skeleton)
        poses_3d, poses_2d = load_poses(self.path_3d, "positions_3d"), load_poses(self.path_2d, "positions_2d")
        self._note_subjects(poses_3d, poses_2d)
        views: dict[str, list[View]] = {}
        corrupt: list[str] = []
        for split, subjects in self.facts.subjects.items():
            views[split] = []
            takes = [(name, *take) for name in subjects for take in sorted(poses_3d.get(name, {}).items())]
            for subject, action, value in takes:
                world = self._world(f"{self.path_3d}: {subject}/{action}", value)
                if world is None:
                    corrupt.append(f"{subject}/{action}")
                else:
                    views[split] += self._views_of(subject, action, world, poses_2d)
            if not views[split]:
                raise UserError(
                    f"{self.path_3d}: no usable take of {', '.join(subjects)}, so the {split} split is empty; found 3D "
                    f"of {', '.join(poses_3d) or 'no subject'}. Get a complete file of {self.facts.title}."
                )
        if corrupt:
            self.note(f"left out corrupt takes (NaN in the 3D): {', '.join(corrupt)}")
        if self.cut_frames:
            most = max(self.cut_frames.values())
            self.note(f"2D longer than 3D in {len(self.cut_frames)} takes: cut by at most {most} frames")
        if self.without_2d:
            self.note(f"left out cameras without 2D: {', '.join(self.without_2d)}")
        self._compare_files([view for split in views.values() for view in split])
        return views

    def _note_subjects(self, poses_3d: Poses, poses_2d: Poses) -> None:
        """Add notes about missing and unknown subjects, and about 2D without 3D."""
        wanted = [subject for subjects in self.facts.subjects.values() for subject in subjects]
        absent = [subject for subject in wanted if not poses_3d.get(subject)]
        if absent:
            self.note(
                f"warning: {self.path_3d.name} has no 3D of {', '.join(absent)}: {self.facts.title} is incomplete, and "
                "results are not comparable with published ones"
            )
        unknown = [subject for subject in poses_3d if subject not in wanted]
        if unknown:
            self.note(f"left out subjects without known cameras: {', '.join(unknown)}")
        left_out = []
        for subject, actions in poses_2d.items():
            with_3d = poses_3d.get(subject, {})
            extra = [f"{subject}/{action}" for action in actions if action not in with_3d]
            left_out += extra if with_3d else [subject]
        if left_out:
            self.note(f"left out 2D without 3D: {', '.join(left_out)}")

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
        check_3d(where, world, get_skeleton(self.skeleton).root, "metres", np.ones(len(world), dtype=bool))
        return world

    def _views_of(self, subject: str, action: str, world: np.ndarray, poses_2d: Poses) -> list[View]:
        name, cameras = f"{subject}/{action}", cameras_of(self.dataset, subject)
        if action not in poses_2d.get(subject, {}):
            raise UserError(
                f"{self.path_3d} has the 3D of {name}, but {self.path_2d} has no 2D of it. "
                "The files are of different versions; get both again."
            )
        where, found = f"{self.path_2d}: {name}", poses_2d[subject][action]
        many = isinstance(found, list | tuple) or (isinstance(found, np.ndarray) and found.ndim > 0)
        arrays = list(found) if many else []  # type: ignore[call-overload]
        if len(arrays) != len(cameras):
            raise UserError(
                f"{where}: the 2D is {kind(found)}; expected a list of {len(cameras)} arrays, one for each camera: "
                f"{', '.join(camera.id for camera in cameras)}. Get the file again."
            )
        views = []
        for number, (array, camera) in enumerate(zip(arrays, cameras, strict=True)):
            if array is None or len(array if isinstance(array, list) else np.atleast_1d(array)) == 0:
                self.without_2d.append(f"{name}/cam{number}")
                continue
            pixels = self._pixels(f"{where}/cam{number}", array, len(world))
            if cut := len(array) - len(world):
                self.cut_frames[name] = max(cut, self.cut_frames.get(name, 0))
            size = camera.width, camera.height
            info = SequenceInfo(f"{name}/cam{number}", subject, number, len(world), self.facts.fps, *size)
            views.append(View(info, camera, world, pixels))
        return views

    def _pixels(self, where: str, view: object, frames: int) -> np.ndarray:
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

    def _compare_files(self, views: list[View]) -> None:
        """Add a warning for subjects and cameras with a large reprojection error, if intrinsics are known."""
        bound, far = MAX_GROUND_TRUTH_PX if self.keypoints == "gt" else MAX_DETECTED_PX, []
        cameras: dict[tuple[str, int], list[View]] = {}
        for view in views:
            if view.camera.focal is not None:
                cameras.setdefault((view.info.subject, view.info.camera), []).append(view)
        for (subject, number), own in cameras.items():
            some = [np.unique(np.linspace(0, view.info.length - 1, FRAMES_COMPARED).astype(int)) for view in own]
            poses = np.concatenate([view.poses(frames) for view, frames in zip(own, some, strict=True)])
            pixels = np.concatenate([view.pixels[frames] for view, frames in zip(own, some, strict=True)])
            error = reprojection_error(own[0].camera, poses, pixels)
            if not error <= bound:
                far.append(f"{subject} cam{number} {error:.0f} px")
        if far:
            listed = ", ".join(far[:8]) + (", ..." if len(far) > 8 else "")
            self.note(
                f"warning: large reprojection error in {len(far)} views (median: {listed}; expected < {bound:g} px): "
                "the cameras are in another order, or 2D and 3D are of different versions. Results are meaningless"
            )


# ---- The structure of the files.


def load_poses(path: Path, key: str) -> Poses:
    """{subject: {action: unchecked value}} of the npz member `key`.  Raises UserError for another structure."""
    subjects = load_object(path, key, HINT)
    if not isinstance(subjects, dict):
        raise UserError(f"{path}: {key} is {kind(subjects)}; {HINT}")
    for subject, actions in subjects.items():
        if not isinstance(actions, dict):
            raise UserError(f"{path}: {key} of {subject} is {kind(actions)}; {HINT}")
        for name, pattern in ((subject, SUBJECT), *((action, ACTION) for action in actions)):
            if not isinstance(name, str) or not pattern.fullmatch(name):
                raise UserError(
                    f"{path}: {key} has the name {name!r:.80}; expected short names of subjects and actions, of ASCII "
                    "letters, digits and spaces, such as S1 and Walking 1"
                )
    return subjects


def load_metadata(path: Path) -> dict:
    """The metadata of a 2D file, with at least "num_joints" and "keypoints_symmetry".  Raises UserError."""
    metadata = load_object(path, "metadata", HINT)
    if not isinstance(metadata, dict) or not {"num_joints", "keypoints_symmetry"} <= metadata.keys():
        found = f"the keys {', '.join(map(str, metadata)):.200}" if isinstance(metadata, dict) else kind(metadata)
        raise UserError(f"{path}: metadata has {found}; expected num_joints and keypoints_symmetry; {HINT}")
    return metadata


def check_metadata(path: Path, metadata: dict, skeleton: str) -> None:
    """Raise UserError unless the metadata of a 2D file match the joints and sides of the skeleton's input."""
    known = get_skeleton(skeleton)
    left, right = (COCO_LEFT, COCO_RIGHT) if skeleton == "humaneva15_coco17" else (known.left, known.right)
    expected = (known.num_input_joints, sorted(left), sorted(right))
    try:
        found = (int(metadata["num_joints"]), *(sorted(map(int, side)) for side in metadata["keypoints_symmetry"]))
    except (TypeError, ValueError, OverflowError):
        found = None
    if found != expected:
        joints, sides = (metadata[name] for name in ("num_joints", "keypoints_symmetry"))
        raise UserError(
            f"{path}: metadata has num_joints {joints!r:.150} and the left and right joints {sides!r:.150}; expected "
            f"{expected[0]} and {list(expected[1:])} for {skeleton}. Other joint sets and orders are not supported; "
            "see docs/data.md."
        )
