"""Human3.6M and HumanEva-I, from VideoPose3D's files, as data sets."""

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
    """A pair of npz files, the 2D one of any 2D source."""

    def find(self, root: Path, keypoints: str, annotation: str) -> "Source":
        """See DataSet."""
        from glagcn.data.sources.videopose3d.find import find_videopose3d

        del annotation
        return find_videopose3d(root, self.name, keypoints)

    def source_of(self, flags: PrepareFlags) -> "Source":
        """See DataSet."""
        assert flags.npz is not None
        return self.find(flags.npz, flags.keypoints or "gt", "")

    def skeleton_name(self, keypoints: str) -> str | None:
        """See DataSet."""
        return skeleton_name(self.name, keypoints)

    def summary(self, cache: "Cache") -> Iterable[str]:
        """See DataSet: by subject, for there are many takes."""
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
# Presets: the defaults of the published scripts, whose network has no sequence stage and a shared head; flips, in
# training and testing, are off there until -da and -tta.  Their micro-batches are the share of a GPU in the published
# runs: one of two for h36m, unknown for humaneva15.  "tuned" does not move the camera, which needs 2D that projects
# from the 3D: not so with every 2D source.
H36M = VideoPose3DDataSet(
    name="h36m",
    title=FACTS["h36m"].title,
    skeletons=("h36m17",),
    keypoints=None,
    benchmark="by_action",
    prepared_by=("npz", "keypoints"),
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
    prepared_by=("npz", "keypoints"),
    presets={
        "recipe": "published", "annotation": "", "flip": "none", "test_flip": False, "frames": 27, "channels": 96,
        "sequence_layers": 0, "head": "shared", "epochs": 1000, "batch_size": 1024, "micro_batch": 512,
        "actions": ("Walk", "Jog", "Box"),
        "graph": "humaneva15_tree", "validation": ("Train/S1/Box", "Train/S2/Walking", "Train/S3/Jog"),
    },
    recipes={"tuned": {}, "published": PUBLISHED},
)
# fmt: on
