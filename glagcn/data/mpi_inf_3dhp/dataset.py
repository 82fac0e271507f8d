"""MPI-INF-3DHP as a DataSet.  A cache is compared with the official lengths and numbers of valid frames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from glagcn.data.dataset import DataSet, PrepareFlags, SequenceInfo, Split, cache_name
from glagcn.data.mpi_inf_3dhp import facts

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from glagcn.data.dataset import Cache, Source


class _MpiInf3dhp(DataSet):
    """MPI-INF-3DHP, from the official release or from an npz pair converted from it."""

    def find(self, root: Path, keypoints: str, annotation: str) -> Source:  # noqa: ARG002
        """Prefers the release to the npz pair."""
        from glagcn.data.mpi_inf_3dhp.files import find_3dhp

        return find_3dhp(root, annotation, facts.DEFAULT_CAMERAS)

    def source_of(self, flags: PrepareFlags) -> Source:
        from glagcn.data.mpi_inf_3dhp.files import source_of

        return source_of(flags)

    def variant(self, source: Source) -> tuple[str, str] | None:
        """Caches with other than the default cameras get names such as "3dhp_gt_univ_cam0-2.h5"."""
        cameras = source.provenance()["cameras"]
        if set(cameras) == set(facts.DEFAULT_CAMERAS):
            return None
        usual = cache_name(self.name, source.keypoints, source.annotation)
        return (
            f"{usual.removesuffix('.h5')}_cam{'-'.join(map(str, cameras))}.h5",
            f"training will use the cache of these cameras only if it is renamed to {usual} in a folder of its own, "
            "which is passed as --cache_dir. For some of the default ones, prepare all and pass --cameras to training",
        )

    def lens(self, info: SequenceInfo) -> np.ndarray | tuple[float, ...] | None:
        """See DataSet: the cameras of the test set, whose calibration comes with its evaluation."""
        return facts.TEST_LENSES.get(info.name)

    def summary(self, cache: Cache) -> Iterable[str]:
        """Also compares sequence lengths and valid frames with the official ones."""
        notes = filter(None, (short_sequences_line(cache.train), valid_frames_line(cache.test)))
        return [*super().summary(cache), *notes]

    def warning(self, cache: Cache) -> str | None:
        """Warns about a part of the training subjects, and other than the default training cameras."""
        subjects = dict.fromkeys(info.subject for info in cache.train.sequences)
        if set(subjects) != set(facts.SUBJECTS):
            return f"{cache.path}: {facts.part_note(subjects)}"
        cameras = sorted(cache.provenance.get("cameras", facts.DEFAULT_CAMERAS))
        if cameras == sorted(facts.DEFAULT_CAMERAS):
            return None
        found, default = (",".join(map(str, numbers)) for numbers in (cameras, facts.DEFAULT_CAMERAS))
        return (
            f"{cache.path} has the training cameras {found} instead of the default {default}; results are not "
            "comparable with published ones. For the default cameras, remove the file; training writes it again"
        )


def valid_frames_line(test: Split) -> str:
    """The release that the numbers of valid frames of TS1..TS6 belong to; a warning if they match none."""
    counts = tuple(int(test.valid[test.frames(row)].sum()) for row in range(len(test.sequences)))
    for name, known in facts.KNOWN_VALID_FRAMES.items():
        if counts == known:
            return f"valid test frames {'/'.join(map(str, counts))}: the {name}"
    expected = " or ".join(f"{'/'.join(map(str, known))} ({name})" for name, known in facts.KNOWN_VALID_FRAMES.items())
    return (
        f"warning: valid test frames {'/'.join(map(str, counts))}, {sum(counts)} in total; expected {expected}. "
        "Results are not comparable with published ones."
    )


def short_sequences_line(train: Split) -> str | None:
    """A note if training sequences are shorter than their official lengths, else None."""
    lengths = {info.take: info.length for info in train.sequences}
    short = [name for name, length in lengths.items() if length < facts.TRAIN_SEQUENCES[name][0]]
    if not short:
        return None
    official = sum(facts.TRAIN_SEQUENCES[name][0] for name in lengths)
    names = ", ".join(short[:3]) + (", ..." if len(short) > 3 else "")
    return (
        f"note: {len(short)} training sequences are shorter than the official length ({names}): "
        f"{sum(lengths.values())} frames per camera instead of {official}"
    )


MPI_INF_3DHP = _MpiInf3dhp(
    name="3dhp",
    title="MPI-INF-3DHP",
    skeletons=("mpi3dhp17",),
    annotations=tuple(facts.ANNOTATION_VARIABLES),
    benchmark="mpi_inf_3dhp",
    prepared_by=("raw", "npz", "keypoints", "annotation", "cameras", "subjects"),
)
