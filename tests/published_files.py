"""A folder as a user of the published project has it: VideoPose3D's files in data/, the published checkpoints in
checkpoint/ under their names.  Everything is small, and the layouts are the real ones.
"""

from pathlib import Path

import numpy as np
import torch

from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.skeletons import get_skeleton
from tests.data import tiny_videopose3d
from tests.reference_model import published_weights

CHECKPOINTS = {
    "96_cpn_ft_h36m_dbb_243_supervised.bin": ("h36m17", 5),
    "h36m/96_gt_243_supervised.bin": ("h36m17", 5),
    "humaneva/96_detectron_pt_coco_27_supervised_epoch_990.bin": ("humaneva15_coco17", 3),
    "humaneva/96_gt_27_supervised_epoch_819.bin": ("humaneva15", 3),
}


def write_folder(root: Path) -> Path:
    """Write data/ and checkpoint/ below `root`; returns it."""
    tiny_videopose3d.write_h36m(root / "data")
    tiny_videopose3d.write_humaneva(root / "data", actions=("Walking 1", "Jog 1", "Box 1"))
    for name, (skeleton, widths) in CHECKPOINTS.items():
        write_published(root / "checkpoint" / name, skeleton, widths)
    return root


def write_published(path: Path, skeleton: str, widths: int, channels: int = 8) -> LiftingNetwork:
    """A checkpoint in the published layout of a model with fresh weights, which is returned."""
    torch.manual_seed(0)
    coco = skeleton == "humaneva15_coco17"
    model = LiftingNetwork(
        get_skeleton(skeleton), (3,) * widths, channels, sequence_layers=0, head="shared", input_norm=not coco
    ).eval()
    weights = published_weights(model)
    if coco:  # it owns an input normalisation that it never applies
        unused = torch.nn.BatchNorm1d(30).state_dict()
        weights |= {f"data_bn.{name}": tensor for name, tensor in unused.items()}
    content = {
        "epoch": 7,
        "lr": 0.001,
        "random_state": np.random.RandomState(0),
        "optimizer": {"state": {}, "param_groups": []},
        "model_pos": {f"module.{name}": tensor for name, tensor in weights.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return model
