"""Human3.6M and HumanEva-I as DataSets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glagcn.data.dataset import DataSet, PrepareFlags, SequenceInfo
from glagcn.data.videopose3d.facts import FACTS, skeleton_name

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from glagcn.data.dataset import Source


class _VideoPose3D(DataSet):
    """A data set of VideoPose3D: one npz file with 3D, and one with the 2D of each 2D source."""

    def find(self, root: Path, keypoints: str, annotation: str) -> Source:
        from glagcn.data.videopose3d.files import find_videopose3d

        del annotation
        return find_videopose3d(root, self.name, keypoints)

    def source_of(self, flags: PrepareFlags) -> Source:
        from glagcn.data.videopose3d.files import find_videopose3d

        assert flags.npz is not None
        return find_videopose3d(flags.npz, self.name, flags.keypoints or "gt", bool(flags.mark_missing))

    def skeleton_name(self, keypoints: str) -> str | None:
        return skeleton_name(self.name, keypoints)

    def camera_rotation(self, info: SequenceInfo) -> np.ndarray | None:
        from glagcn.data.videopose3d.cameras import axes_of, cameras_of

        cameras = cameras_of(self.name, info.subject)
        return axes_of(cameras[info.camera]) if cameras else None

    def lens(self, info: SequenceInfo) -> np.ndarray | tuple[float, ...] | None:
        """See DataSet: that of Human3.6M, without its distortion."""
        from glagcn.data.videopose3d.cameras import cameras_of

        cameras = cameras_of(self.name, info.subject)
        camera = cameras[info.camera] if cameras else None
        return (*camera.focal, *camera.centre) if camera and camera.focal and camera.centre else None


H36M, HUMANEVA = (
    _VideoPose3D(
        name=name,
        title=facts.title,
        skeletons=tuple(facts.by_joints.values()),
        keypoints=None,
        benchmark="by_action",
        prepared_by=("npz", "keypoints", "mark_missing"),
        many_takes=True,
        same_cameras=True,
    )
    for name, facts in FACTS.items()
)
