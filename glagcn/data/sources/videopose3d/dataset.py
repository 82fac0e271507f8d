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


# fmt: off
PUBLISHED = {
    "optimizer": "ranger", "schedule": "cosine", "lr": 0.01, "lr_final": 1e-5, "bn_momentum_final": 0.001,
}
# The presets are the defaults of the published scripts.  Their network has no sequence stage and a shared head; flips
# in training and testing are off unless -da and -tta are given.  The micro-batch is the share of one GPU: of two in the
# published h36m runs; assumed for humaneva15.  "tuned" has no camera augmentation, because not every 2D source matches
# the projected 3D.
H36M = VideoPose3DDataSet(
    name="h36m",
    title=FACTS["h36m"].title,
    skeletons=("h36m17",),
    keypoints=None,
    benchmark="by_action",
    prepared_by=("npz", "keypoints", "mark_missing"),
    presets={
        "recipe": "published", "annotation": "", "flip": "none", "test_flip": False, "frames": 243, "channels": 96,
        "sequence_layers": 0, "head": "shared", "epochs": 80, "batch_size": 512, "micro_batch": 256,
        "validation": ("S8",),
    },
    recipes={"tuned": {}, "published": PUBLISHED},
)
HUMANEVA = VideoPose3DDataSet(
    name="humaneva15",
    title=FACTS["humaneva15"].title,
    skeletons=("humaneva15", "humaneva15_coco17"),
    keypoints=None,
    benchmark="by_action",
    prepared_by=("npz", "keypoints", "mark_missing"),
    presets={
        "recipe": "published", "annotation": "", "flip": "none", "test_flip": False, "frames": 27, "channels": 96,
        "sequence_layers": 0, "head": "shared", "epochs": 1000, "batch_size": 1024, "micro_batch": 512,
        "actions": ("Walk", "Jog", "Box"),
        "graph": "humaneva15_tree", "validation": ("Train/S1/Box", "Train/S2/Walking", "Train/S3/Jog"),
    },
    recipes={"tuned": {}, "published": PUBLISHED},
)
# fmt: on
