"""The DataSet of the demo: joints, benchmark and recipes of MPI-INF-3DHP, and presets for a run of minutes."""

from pathlib import Path
from typing import TYPE_CHECKING

from glagcn.data.dataset import DataSet
from glagcn.data.sources.mpi_inf_3dhp.dataset import CAMERA_AUGMENTATION, PUBLISHED

if TYPE_CHECKING:
    from glagcn.data.sources.source import Source


class DemoDataSet(DataSet):
    """Synthetic data, generated without files."""

    def find(self, root: Path, keypoints: str, annotation: str) -> "Source":
        """See DataSet."""
        from glagcn.data.sources.demo.source import DemoSource

        del root, keypoints, annotation
        return DemoSource(seed=0)


# fmt: off
DEMO = DemoDataSet(
    name="demo",
    title="synthetic people",
    skeletons=("mpi3dhp17",),
    benchmark="mpi_inf_3dhp",
    presets={
        "recipe": "tuned", "annotation": "", "flip": "random", "test_flip": True, "frames": 27, "channels": 32,
        "sequence_layers": 1, "head": "unshared", "epochs": 2, "batch_size": 128, "micro_batch": 64,
        "log_steps": 10,
        "validation": ("S4/Seq1", "S8/Seq2"),
    },
    recipes={"tuned": CAMERA_AUGMENTATION | {"batch_size": 128, "warmup": 1000}, "published": PUBLISHED},
    reference={"tuned": ((28_000, 0.192),), "published": ((28_000, 1.248),)},  # measured with these presets
)
# fmt: on
