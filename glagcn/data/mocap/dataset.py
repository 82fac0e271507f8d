"""Recorded people before made-up cameras, as data sets: all, more that is made of it, and a demo of minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glagcn.data.dataset import Cache, DataSet, SequenceInfo

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from glagcn.data.dataset import Source


class _Demo(DataSet):
    """A few minutes' worth, made on the spot from motion that comes with the program."""

    def find(self, root: Path, keypoints: str, annotation: str) -> Source:  # noqa: ARG002
        from glagcn.data.mocap.motion import demo_source

        return demo_source()

    def warning(self, cache: Cache) -> str | None:
        """A cache that another version of the program has left."""
        from glagcn.data.mocap.motion import VERSION

        found = cache.provenance
        if (found.get("kind"), found.get("version")) == ("mocap", VERSION):
            return None
        return (
            f"{cache.path} was written by another version of the program, which made other people or cameras; results "
            "will not be comparable. Remove the file: the next training prepares it again"
        )

    def lens(self, info: SequenceInfo) -> np.ndarray | tuple[float, ...] | None:
        """See DataSet: that of the made-up camera."""
        from glagcn.data.mocap.motion import lenses

        return lenses(self.name).get(info.name)


class _Mocap(_Demo):
    """All of it.  The 2D source names the joints."""

    def find(self, root: Path, keypoints: str, annotation: str) -> Source:  # noqa: ARG002
        from glagcn.data.mocap.motion import mocap_source

        return mocap_source(keypoints)

    def skeleton_name(self, keypoints: str) -> str | None:
        return self.skeletons[0] if keypoints == "gt" else keypoints


class _People(_Demo):
    """All of it, and training motion that is mixed from it, before more cameras: for models that meet real people."""

    def find(self, root: Path, keypoints: str, annotation: str) -> Source:  # noqa: ARG002
        from glagcn.data.mocap.motion import people_source

        return people_source()


MOCAP = _Mocap(
    name="mocap",
    title="recorded people (CMU) before made-up cameras",
    skeletons=("mpi3dhp17", "h36m17", "humaneva15"),
    keypoints=("gt", "h36m17", "humaneva15"),
    # Not that of MPI-INF-3DHP, which knows one joint set only.
    benchmark="by_action",
    many_takes=True,
)
PEOPLE = _People(
    name="people",
    title="mocap, with mixed motion and more cameras to train on",
    skeletons=("mpi3dhp17",),
    benchmark="by_action",
    many_takes=True,
)
DEMO = _Demo(
    name="demo",
    title="a part of mocap",
    skeletons=("mpi3dhp17",),
    benchmark="mpi_inf_3dhp",
)
