"""The DataSets of Human3.6M and HumanEva-I, from VideoPose3D's files."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from glagcn.data.dataset import DataSet, PrepareFlags
from glagcn.data.sources.videopose3d.facts import FACTS, skeleton_name

if TYPE_CHECKING:
    import numpy as np

    from glagcn.data.cache.reader import Cache
    from glagcn.data.sequence import SequenceInfo
    from glagcn.data.sources.source import Source


class VideoPose3DDataSet(DataSet):
    """A data set of VideoPose3D: one npz file with 3D, and one with the 2D of each 2D source."""

    def find(self, root: Path, keypoints: str, annotation: str) -> "Source":
        """See DataSet."""
        from glagcn.data.sources.videopose3d.find import find_videopose3d

        del annotation
        return find_videopose3d(root, self.name, keypoints)

    def source_of(self, flags: PrepareFlags) -> "Source":
        """See DataSet."""
        from glagcn.data.sources.videopose3d.find import find_videopose3d

        assert flags.npz is not None
        source = find_videopose3d(flags.npz, self.name, flags.keypoints or "gt")
        source.mark_missing = bool(flags.mark_missing)
        return source

    def skeleton_name(self, keypoints: str) -> str | None:
        """See DataSet."""
        return skeleton_name(self.name, keypoints)

    def summary(self, cache: "Cache") -> Iterable[str]:
        """See DataSet.  The table is by subject, because there are many takes."""
        from glagcn.data.report import subject_lines

        cut = cache.provenance.get("cut_frames", {})
        return [*subject_lines(cache.train, cut), *subject_lines(cache.test, cut)]

    def camera_rotation(self, info: "SequenceInfo") -> "np.ndarray | None":
        """See DataSet."""
        from glagcn.data.sources.videopose3d.cameras import axes_of, cameras_of

        cameras = cameras_of(self.name, info.subject)
        return axes_of(cameras[info.camera]) if cameras else None


H36M = VideoPose3DDataSet(
    name="h36m",
    title=FACTS["h36m"].title,
    skeletons=("h36m17",),
    keypoints=None,
    benchmark="by_action",
    prepared_by=("npz", "keypoints", "mark_missing"),
)
HUMANEVA = VideoPose3DDataSet(
    name="humaneva15",
    title=FACTS["humaneva15"].title,
    skeletons=("humaneva15", "humaneva15_coco17"),
    keypoints=None,
    benchmark="by_action",
    prepared_by=("npz", "keypoints", "mark_missing"),
)
