"""Models as after training, and their checkpoints."""

from pathlib import Path

import torch

from glagcn.checkpoints import ours as checkpoint
from glagcn.model.interface import Model
from glagcn.model.registry import MODELS, model_config
from glagcn.skeletons import get_skeleton


def a_model(kind: str = "gla_gcn", skeleton: str = "mpi3dhp17", **form) -> Model:
    """A small model of random weights and statistics, in eval mode."""
    torch.manual_seed(0)
    if kind == "gla_gcn":
        form = {"sequence_layers": 1} | form  # exporting takes a second a layer
    model = MODELS[kind].load()(get_skeleton(skeleton), (3, 3), 8, **form)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.dtype == torch.float32 and name not in model.constant:
                tensor += 0.1 * torch.rand_like(tensor)
    return model.eval()


def a_checkpoint(path: Path, model: Model) -> Path:
    """A checkpoint of ours that holds the model."""
    content = {"config": {"dataset": "demo", "lr": 0.01}, "model_config": model_config(model)}
    checkpoint.save(path, content | {"model": model.state_dict()})
    return path
