"""Write a checkpoint's weights as a safetensors file, which many programs read and which can run nothing."""

import json
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from glagcn.checkpoints import checkpoint
from glagcn.checkpoints.describe import description
from glagcn.checkpoints.load import Loaded, load
from glagcn.checkpoints.read_safetensors import assemble, digest
from glagcn.errors import UserError
from glagcn.files import write_atomically


def export_safetensors(source: Path, target: Path, half: bool = False) -> None:
    """Write the weights of `source`, a checkpoint of ours, as `target`, which load reads like a checkpoint.

    The options and the form of the model are in the metadata as JSON, and the model's description beside them.
    half  weights in half precision; statistics of BatchNorm and the graph stay as they are.
    Raises UserError where the name does not end in .safetensors or a weight is too large for half precision.
    """
    if target.suffix != ".safetensors":
        raise UserError(f"--out {target}: expected a name that ends in .safetensors")
    loaded = load(source)
    content = checkpoint.must_be_ours(loaded.content, source)
    weights = {
        # A tensor of its own, whose numbers lie in order.
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in content["model"].items()
    }
    if half:
        weights |= _halves(loaded)
    told = description(loaded.model) | {
        "format": checkpoint.FORMAT,
        "version": json.dumps(checkpoint.VERSION),
        "config": json.dumps(content["config"]),
        "model_config": json.dumps(content["model_config"]),
    }
    told["digest"] = digest(assemble(told, weights))
    write_atomically(target, lambda file: file.write(safetensors.torch.save(weights, told)))


def _halves(loaded: Loaded) -> dict[str, Tensor]:
    """The parameters of a model in half precision."""
    halves = {name: parameter.detach().half() for name, parameter in loaded.model.named_parameters()}
    for name, tensor in halves.items():
        if not tensor.isfinite().all():
            raise UserError(
                f"--half: {loaded.path} has weights {name!r} beyond {torch.finfo(torch.float16).max:g}, the largest "
                "number in half precision; export without --half"
            )
    return halves
