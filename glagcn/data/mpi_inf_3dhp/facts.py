"""MPI-INF-3DHP: what its files do not contain: lengths, frame rates, image sizes, and the usual cameras."""

from collections.abc import Iterable

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


def part_note(subjects: Iterable[str]) -> str:
    """What to know of a cache with a part of the training subjects."""
    return (
        f"the training set is only {', '.join(subjects)} of the {len(SUBJECTS)} subjects; results are not comparable "
        "with published ones"
    )


# Focal lengths and principal point (fx, fy, cx, cy), pixels, from the test set's own files "ts1-4cameras.calib" (the
# training camera 8) and "ts5-6cameras.calib".
TEST_LENSES = {f"TS{k}": (1500.17, 1500.83, 1017.39, 1043.03) for k in range(1, 5)} | {
    f"TS{k}": (1683.98, 1672.59, 939.86, 560.14) for k in (5, 6)
}
