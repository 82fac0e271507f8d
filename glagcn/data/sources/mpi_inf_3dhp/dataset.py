"""MPI-INF-3DHP as a data set."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from glagcn.data.dataset import DataSet, PrepareFlags
from glagcn.data.sources.mpi_inf_3dhp.facts import ANNOTATION_VARIABLES, DEFAULT_CAMERAS

if TYPE_CHECKING:
    from glagcn.data.cache.reader import Cache
    from glagcn.data.sources.source import Source


class MpiInf3dhpDataSet(DataSet):
    """The official release, or the npz pair that others made of it."""

    def find(self, root: Path, keypoints: str, annotation: str) -> "Source":
        """See DataSet.  The release wins over the pair."""
        from glagcn.data.sources.mpi_inf_3dhp.find import find_3dhp

        del keypoints
        return find_3dhp(root, annotation, DEFAULT_CAMERAS)

    def source_of(self, flags: PrepareFlags) -> "Source":
        """See DataSet.  Without an annotation a release is "univ", and an npz pair what its name says."""
        from glagcn.data.sources.mpi_inf_3dhp.find import check_choices, pair_in, release_in

        usual = self.annotations[0]
        cameras = DEFAULT_CAMERAS if flags.cameras is None else flags.cameras
        check_choices(flags.annotation or usual, cameras)
        if flags.raw:
            return release_in(flags.raw, flags.annotation or usual, cameras)
        assert flags.npz is not None
        return pair_in(flags.npz, flags.annotation, cameras)

    def variant(self, source: "Source") -> tuple[str, str] | None:
        """See DataSet: other cameras than the usual ones, e.g. "3dhp_gt_univ_cam0-2.h5"."""
        cameras = source.provenance()["cameras"]
        if set(cameras) == set(DEFAULT_CAMERAS):
            return None
        usual = self.cache_name(source.keypoints, source.annotation)
        return (
            f"{usual.removesuffix('.h5')}_cam{'-'.join(map(str, cameras))}.h5",
            f"the cameras {','.join(map(str, cameras))} are not the usual ones, so this is not named {usual} and "
            "training will not find it. To train on some of the usual cameras, prepare them all and pass --cameras to "
            f"training; to train on this file, rename it to {usual} in a folder of its own and pass that folder as "
            "--cache_dir",
        )

    def summary(self, cache: "Cache") -> Iterable[str]:
        """See DataSet: also how the lengths and the valid frames compare with the official ones."""
        from glagcn.data.sources.mpi_inf_3dhp.report import short_sequences_line, valid_frames_line

        notes = filter(None, (short_sequences_line(cache.train), valid_frames_line(cache.test)))
        return [*super().summary(cache), *notes]

    def warning(self, cache: "Cache") -> str | None:
        """See DataSet: other training cameras than the usual ones."""
        held = cache.provenance.get("cameras")
        if held is None or set(held) == set(DEFAULT_CAMERAS):
            return None
        found, usual = (",".join(map(str, cameras)) for cameras in (held, DEFAULT_CAMERAS))
        return (
            f"{cache.path} holds the training cameras {found}, not the usual {usual}; results will not be comparable "
            "with published ones. For the usual ones, remove the file: the next training prepares it anew"
        )


# fmt: off
OTHER_VIEWS = {"turn": 180.0, "tilt": 10.0, "roll": 5.0, "distance": 0.2}
# The rate of 1e-3 in the published command is divided by the world size: 1.25e-4 on its eight GPUs.
PUBLISHED = {
    "optimizer": "adam", "schedule": "steps", "lr": 1.25e-4, "lr_decay": 0.95, "lr_decay_large": 0.5,
    "large_decay_epoch": 5, "bn_momentum_final": 0.1,
}
MPI_INF_3DHP = MpiInf3dhpDataSet(
    name="3dhp",
    title="MPI-INF-3DHP",
    skeletons=("mpi3dhp17",),
    annotations=tuple(ANNOTATION_VARIABLES),
    benchmark="mpi_inf_3dhp",
    prepared_by=("raw", "npz", "keypoints", "annotation", "cameras"),
    # 81 frames, 256 channels and 1,200 windows a step are the published command; 49 epochs, flips as copies are what
    # its script does.  A micro-batch is the share of one of the eight GPUs of the published run.
    presets={
        "recipe": "tuned", "annotation": "univ", "flip": "copy", "test_flip": True, "frames": 81, "channels": 256,
        "sequence_layers": 3, "head": "unshared", "epochs": 49, "batch_size": 1200, "micro_batch": 150,
        "validation": ("S4/Seq1", "S8/Seq2"),
    },
    recipes={"tuned": OTHER_VIEWS, "published": PUBLISHED},
    # CMU motion capture in the layout of MPI-INF-3DHP, 32 channels, 27 frames; "published" with a rate and a batch that
    # suit runs so short.
    reference={
        "tuned": (
            (5_000, 0.410), (12_500, 0.344), (25_000, 0.300), (50_000, 0.277), (100_000, 0.250), (300_000, 0.231),
        ),
        "published": ((5_000, 1.928), (12_500, 1.865), (25_000, 1.245), (50_000, 1.022), (100_000, 0.838)),
    },
)
# fmt: on
