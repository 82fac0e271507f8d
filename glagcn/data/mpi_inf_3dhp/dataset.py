"""MPI-INF-3DHP: facts that its files do not contain (lengths, rates, image sizes, valid frames), and its DataSet.

A cache is compared with the official lengths and valid frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from glagcn.data.dataset import DataSet, PrepareFlags, Split
from glagcn.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from glagcn.data.dataset import Cache, Source

# Frames per camera and frames per second of the training sequences, as in P-STMO common/utils_3dhp.py, margipose and
# mmpose.  The files can contain more frames, which have no images.
TRAIN_SEQUENCES: dict[str, tuple[int, int]] = {
    "S1/Seq1": (6416, 25), "S1/Seq2": (12430, 50),
    "S2/Seq1": (6502, 25), "S2/Seq2": (6081, 25),
    "S3/Seq1": (12488, 50), "S3/Seq2": (12283, 50),
    "S4/Seq1": (6171, 25), "S4/Seq2": (6675, 25),
    "S5/Seq1": (12820, 50), "S5/Seq2": (12312, 50),
    "S6/Seq1": (6188, 25), "S6/Seq2": (6145, 25),
    "S7/Seq1": (6239, 25), "S7/Seq2": (6320, 25),
    "S8/Seq1": (6468, 25), "S8/Seq2": (6054, 25),
}  # fmt: skip
SUBJECTS = tuple(dict.fromkeys(name.partition("/")[0] for name in TRAIN_SEQUENCES))

TEST_SEQUENCES = ("TS1", "TS2", "TS3", "TS4", "TS5", "TS6")
TEST_FPS = 25.0
TRAIN_IMAGE_SIZE = (2048, 2048)
TEST_IMAGE_SIZES = {name: (1920, 1080) if name in ("TS5", "TS6") else (2048, 2048) for name in TEST_SEQUENCES}

NUM_CAMERAS = 14
# The VNect cameras, on which published methods train.
DEFAULT_CAMERAS = (0, 1, 2, 4, 5, 6, 7, 8)

# Training files have 28 joints.  RELEVANT_JOINTS are the 17 that the test set has too, in the order of skeleton
# "mpi3dhp17" (mpii_get_joints.m, "relevant").
NUM_ANNOTATED_JOINTS = 28
RELEVANT_JOINTS = (7, 5, 14, 15, 16, 9, 10, 11, 23, 24, 25, 18, 19, 20, 4, 3, 6)

# The variable in the official files for each annotation.
ANNOTATION_VARIABLES = {"univ": "univ_annot3", "annot3": "annot3"}

# Valid frames of TS1..TS6.  Other counts cause a warning, not an error.
KNOWN_VALID_FRAMES = {
    "old release, 2929 frames": (603, 540, 505, 553, 276, 452),
    "current files, 2875 frames": (603, 540, 506, 558, 276, 392),
}


class MpiInf3dhpDataSet(DataSet):
    """MPI-INF-3DHP, from the official release or from an npz pair converted from it."""

    def find(self, root: Path, keypoints: str, annotation: str) -> Source:
        """See DataSet.  Prefers the release to the npz pair."""
        from glagcn.data.mpi_inf_3dhp.files import find_3dhp

        del keypoints
        return find_3dhp(root, annotation, DEFAULT_CAMERAS)

    def source_of(self, flags: PrepareFlags) -> Source:
        """See DataSet.  Without --annotation, a release is read as "univ" and an npz pair as its name implies."""
        from glagcn.data.mpi_inf_3dhp.files import pair_in, release_in

        cameras = DEFAULT_CAMERAS if flags.cameras is None else flags.cameras
        if not cameras or len(set(cameras)) != len(cameras) or not set(cameras) <= set(range(NUM_CAMERAS)):
            raise UserError(
                f"invalid --cameras {','.join(map(str, cameras))}: must be different numbers from 0 to "
                f"{NUM_CAMERAS - 1}, such as 0,2,4"
            )
        if flags.raw:
            return release_in(flags.raw, flags.annotation or self.default_annotation, cameras, flags.subjects)
        assert flags.npz is not None
        if flags.subjects:
            raise UserError(
                "glagcn prepare 3dhp takes --subjects only with --raw; of npz files, train on a part with "
                "--subjects_train"
            )
        return pair_in(flags.npz, flags.annotation, cameras)

    def variant(self, source: Source) -> tuple[str, str] | None:
        """See DataSet.  Caches with other than the default cameras get names such as "3dhp_gt_univ_cam0-2.h5"."""
        cameras = source.provenance()["cameras"]
        if set(cameras) == set(DEFAULT_CAMERAS):
            return None
        usual = self.cache_name(source.keypoints, source.annotation)
        return (
            f"{usual.removesuffix('.h5')}_cam{'-'.join(map(str, cameras))}.h5",
            f"cameras {','.join(map(str, cameras))} are not the default ones, so the cache is not named {usual} and "
            "training will not use it. To train on some of the default cameras, prepare all of them and pass --cameras "
            f"to training. To train on this cache, rename it to {usual} in a separate folder and pass that folder as "
            "--cache_dir",
        )

    def summary(self, cache: Cache) -> Iterable[str]:
        """See DataSet.  Also compares sequence lengths and valid frames with the official ones."""
        notes = filter(None, (short_sequences_line(cache.train), valid_frames_line(cache.test)))
        return [*super().summary(cache), *notes]

    def warning(self, cache: Cache) -> str | None:
        """See DataSet.  Warns about a part of the training subjects, and other than the default training cameras."""
        subjects = dict.fromkeys(info.subject for info in cache.train.sequences)
        if set(subjects) != set(SUBJECTS):
            return f"{cache.path}: {part_note(subjects)}"
        cameras = cache.provenance.get("cameras")
        if not isinstance(cameras, list):
            return None
        found, default = (",".join(sorted(map(str, numbers))) for numbers in (cameras, DEFAULT_CAMERAS))
        if found == default:
            return None
        return (
            f"{cache.path} has the training cameras {found} instead of the default {default}; results are not "
            "comparable with published ones. For the default cameras, remove the file; training writes it again"
        )


def part_note(subjects: Iterable[str]) -> str:
    """What to know of a cache with a part of the training subjects."""
    return (
        f"the training set is only {', '.join(subjects)} of the {len(SUBJECTS)} subjects; results are not comparable "
        "with published ones"
    )


def valid_frames_line(test: Split) -> str:
    """The release that the numbers of valid frames of TS1..TS6 belong to; a warning if they match none."""
    counts = tuple(int(test.valid[test.frames(row)].sum()) for row in range(len(test.sequences)))
    for name, known in KNOWN_VALID_FRAMES.items():
        if counts == known:
            return f"valid test frames {'/'.join(map(str, counts))}: the {name}"
    expected = " or ".join(f"{'/'.join(map(str, known))} ({name})" for name, known in KNOWN_VALID_FRAMES.items())
    return (
        f"warning: valid test frames {'/'.join(map(str, counts))}, {sum(counts)} in total; expected {expected}. "
        "Results are not comparable with published ones."
    )


def short_sequences_line(train: Split) -> str | None:
    """A note if training sequences are shorter than their official lengths, else None."""
    lengths = {info.take: info.length for info in train.sequences}
    short = [name for name, length in lengths.items() if length < TRAIN_SEQUENCES[name][0]]
    if not short:
        return None
    official = sum(TRAIN_SEQUENCES[name][0] for name in lengths)
    names = ", ".join(short[:3]) + (", ..." if len(short) > 3 else "")
    which = "training sequence is" if len(short) == 1 else "training sequences are"
    return (
        f"note: {len(short)} {which} shorter than the official length ({names}): "
        f"{sum(lengths.values())} frames per camera instead of {official}"
    )


MPI_INF_3DHP = MpiInf3dhpDataSet(
    name="3dhp",
    title="MPI-INF-3DHP",
    skeletons=("mpi3dhp17",),
    annotations=tuple(ANNOTATION_VARIABLES),
    benchmark="mpi_inf_3dhp",
    prepared_by=("raw", "npz", "keypoints", "annotation", "cameras", "subjects"),
)
