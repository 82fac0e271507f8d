"""The DataSet of MPI-INF-3DHP."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from glagcn.data.dataset import DataSet, PrepareFlags
from glagcn.data.sources.mpi_inf_3dhp.facts import ANNOTATION_VARIABLES, DEFAULT_CAMERAS
from glagcn.errors import UserError

if TYPE_CHECKING:
    from glagcn.data.cache.reader import Cache
    from glagcn.data.sources.source import Source


class MpiInf3dhpDataSet(DataSet):
    """MPI-INF-3DHP, from the official release or from an npz pair converted from it."""

    def find(self, root: Path, keypoints: str, annotation: str) -> "Source":
        """See DataSet.  Prefers the release to the npz pair."""
        from glagcn.data.sources.mpi_inf_3dhp.find import find_3dhp

        del keypoints
        return find_3dhp(root, annotation, DEFAULT_CAMERAS)

    def source_of(self, flags: PrepareFlags) -> "Source":
        """See DataSet.  Without --annotation, a release is read as "univ" and an npz pair as its name implies."""
        from glagcn.data.sources.mpi_inf_3dhp.find import check_choices, pair_in, release_in

        usual = self.annotations[0]
        cameras = DEFAULT_CAMERAS if flags.cameras is None else flags.cameras
        check_choices(flags.annotation or usual, cameras)
        if flags.raw:
            return release_in(flags.raw, flags.annotation or usual, cameras, flags.subjects)
        assert flags.npz is not None
        if flags.subjects:
            raise UserError(
                "glagcn prepare 3dhp takes --subjects only with --raw; of npz files, train on a part with "
                "--subjects_train"
            )
        return pair_in(flags.npz, flags.annotation, cameras)

    def variant(self, source: "Source") -> tuple[str, str] | None:
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

    def summary(self, cache: "Cache") -> Iterable[str]:
        """See DataSet.  Also compares sequence lengths and valid frames with the official ones."""
        from glagcn.data.sources.mpi_inf_3dhp.report import short_sequences_line, valid_frames_line

        notes = filter(None, (short_sequences_line(cache.train), valid_frames_line(cache.test)))
        return [*super().summary(cache), *notes]

    def warning(self, cache: "Cache") -> str | None:
        """See DataSet.  Warns about a part of the training subjects, and other than the default training cameras."""
        from glagcn.data.sources.mpi_inf_3dhp.facts import SUBJECTS
        from glagcn.data.sources.mpi_inf_3dhp.release import part_note

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


MPI_INF_3DHP = MpiInf3dhpDataSet(
    name="3dhp",
    title="MPI-INF-3DHP",
    skeletons=("mpi3dhp17",),
    annotations=tuple(ANNOTATION_VARIABLES),
    benchmark="mpi_inf_3dhp",
    prepared_by=("raw", "npz", "keypoints", "annotation", "cameras", "subjects"),
)
