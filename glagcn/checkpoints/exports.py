"""Models for other programs: as safetensors, which hold only tensors and text, and as ONNX, which needs no PyTorch."""

import io
import json
import logging
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from glagcn.checkpoints import ours as checkpoint
from glagcn.checkpoints.load import Loaded, load
from glagcn.config.options import without_paths
from glagcn.errors import UserError
from glagcn.files import write_atomically
from glagcn.model.ensemble import Ensemble
from glagcn.model.interface import Model
from glagcn.model.registry import model_config, name_of
from glagcn.poses.ray import EARLIER, Rays, turned_back
from glagcn.version import __version__

logger = logging.getLogger(__name__)

# The formula of poses.normalise.
NORMALISATION = "x = 2 * pixel_x / width - 1; y = (2 * pixel_y - height) / width"
OPSET = 17
TRIED_LENS = (1.5, 1.5, 0.0, 0.0)
TRACED, TRIED = 2, 3  # windows; not the same number, so that one that the trace took for a constant is noticed
LARGEST_DIFFERENCE = 1e-4  # of the largest coordinate, between ONNX Runtime and PyTorch


def load_together(sources: Sequence[Path]) -> Loaded:
    """The model of a checkpoint, or one that lifts to the mean of several, whose content is that of a checkpoint.

    Its training options are those of the first, and `configs` of the description has those of all.
    Raises UserError where one cannot be read, is published, or does not fit the others.
    """
    loaded = [load(source) for source in sources]
    if len(loaded) == 1:
        return loaded[0]
    contents = [checkpoint.require_glagcn(each.content, each.path) for each in loaded]
    model = Ensemble([each.model for each in loaded]).eval()
    content = contents[0] | {"model_config": model_config(model), "model": model.state_dict()}
    content["description"] = {"configs": json.dumps([without_paths(each["config"]) for each in contents])}
    return Loaded(model, loaded[0].path, content, loaded[0].keypoints, ())


def export_safetensors(sources: Sequence[Path], target: Path, half: bool = False) -> None:
    """Write the weights of checkpoints of this program as `target`, which load reads like a checkpoint.

    The options, without folders, and the form of the model are in the metadata as JSON, with its description.
    half  weights in half precision; statistics of BatchNorm and the graph stay as they are.
    Raises UserError where the name does not end in .safetensors.
    """
    if target.suffix != ".safetensors":
        raise UserError(f"--out {target}: expected a name that ends in .safetensors")
    loaded = load_together(sources)
    content = checkpoint.require_glagcn(loaded.content, sources[0])
    # Tensors of their own, whose numbers lie in order.
    weights = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in content["model"].items()}
    if half:
        weights |= {name: parameter.detach().half() for name, parameter in loaded.model.named_parameters()}
    metadata = description(loaded.model) | {
        "format": checkpoint.FORMAT,
        "version": json.dumps(checkpoint.VERSION),
        "config": json.dumps(without_paths(content["config"])),
        "model_config": json.dumps(content["model_config"]),
    }
    if configs := content.get("description", {}).get("configs"):
        metadata["configs"] = configs
    metadata["digest"] = checkpoint.digest(checkpoint.assemble(metadata, weights))
    write_atomically(target, lambda file: file.write(safetensors.torch.save(weights, metadata)))


class Lifted(nn.Module):
    """The model as exported: normalised keypoints [N,T,input joints,C] to poses [N,V,3] in metres, the root at 0.

    A model of the ray frame reads HISTORY - 1 frames more, before the window, and the lens [4] (`normalised_lens`); its
    poses are turned back to the axes of the camera.
    """

    others: Tensor
    blank: Tensor

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model.for_prediction()
        self.pose_shape = model.skeleton.num_joints, 3
        others = torch.arange(model.skeleton.num_joints) != model.skeleton.root
        self.register_buffer("others", others.float().unsqueeze(1))
        self.rays = Rays(model.skeleton, torch.device("cpu")) if model.frame == "ray" else None
        self.register_buffer("blank", torch.zeros(1, *input_shape(model)))

    def forward(self, keypoints: Tensor, lens: Tensor | None = None) -> Tensor:
        """The pose of the target frame of each window."""
        # ONNX Runtime cannot reshape maps of no windows, so that for N = 0 the model gets one, whose pose is cut off.
        count = keypoints.shape[0]
        windows = torch.cat([keypoints, self.blank])[: torch.as_tensor(count).clamp(min=1)]
        rotations = None
        if self.rays is not None:
            assert lens is not None
            windows, rotations = self.rays(windows, lens)
            rotations = rotations[:, self.model.target_frame]
        return turned_back(self.model(windows).target[:, 0], rotations)[:count] * self.others


def input_shape(model: Model) -> tuple[int, int, int]:
    """The shape (frames, input joints, C) of a window as exported."""
    frames, *rest = model.window_shape
    return (frames + EARLIER[model.frame], *rest)  # type: ignore[return-value]


def export_onnx(sources: Sequence[Path], target: Path) -> None:
    """Write the model of checkpoints of this program, or of a published one, as the ONNX file `target`.

    The file has the input `keypoints`, for a model of the ray frame also `lens`, and one output, `poses` (see Lifted),
    for any N from 0, and says what they are in its metadata (`description`).  It is run and compared with the model
    before it is written.
    Raises UserError where the name does not end in .onnx, a package is missing, or the outputs differ.
    """
    if target.suffix != ".onnx":
        raise UserError(f"--out {target}: expected a name that ends in .onnx")
    onnx, onnxruntime = _package("onnx"), _package("onnxruntime")
    loaded = load_together(sources)
    for assumption in loaded.assumed:
        logger.warning(assumption)
    lifted = Lifted(loaded.model).eval()
    graph = onnx.load_model_from_string(_traced(lifted))
    # The trace names the sizes of its output; programs that plan memory ahead need numbers.
    for size, value in zip(graph.graph.output[0].type.tensor_type.shape.dim[1:], lifted.pose_shape, strict=True):
        size.dim_value = value
    onnx.helper.set_model_props(graph, description(loaded.model, exported=True))
    onnx.checker.check_model(graph)
    content = graph.SerializeToString()
    _check_same(lifted, content, onnxruntime, sources[0])
    write_atomically(target, lambda file: file.write(content))


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise UserError(
            f"--layout onnx needs the package {name}, which cannot be imported ({error}); pip install glagcn[onnx]"
        ) from None


def _inputs(model: Model, count: int) -> dict[str, Tensor]:
    """Made-up inputs of a model, of `count` windows; the same every time."""
    generator = torch.Generator().manual_seed(0)
    keypoints = torch.rand(count, *input_shape(model), generator=generator) * 2 - 1
    return {"keypoints": keypoints} | ({"lens": torch.tensor(TRIED_LENS)} if model.frame == "ray" else {})


@torch.no_grad()
def _traced(lifted: Lifted) -> bytes:
    """The operations of a model for one window after another, as ONNX."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        # It warns that this exporter is the older one, and of every comparison of a shape that it does not trace.
        warnings.simplefilter("ignore")
        inputs = _inputs(lifted.model, TRACED)
        torch.onnx.export(
            lifted, tuple(inputs.values()), file,  # type: ignore[arg-type]  # the older one takes any file
            dynamo=False, opset_version=OPSET, input_names=list(inputs), output_names=["poses"],
            dynamic_axes={"keypoints": {0: "N"}, "poses": {0: "N"}},
        )  # fmt: skip
    return file.getvalue()


@torch.no_grad()
def _check_same(lifted: Lifted, content: bytes, onnxruntime: Any, source: Path) -> None:
    """Raise UserError where the ONNX file `content` does not give the poses of the model, for another N too."""
    inputs = _inputs(lifted.model, TRIED)
    expected = lifted(*inputs.values()).numpy()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the threads that it takes otherwise wait without sleeping
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    difference = np.abs(found - expected).max() / np.abs(expected).max()
    if not difference <= LARGEST_DIFFERENCE:
        raise UserError(
            f"{source}: as ONNX it gives other poses than in PyTorch, by {difference:.1g} of the largest coordinate "
            f"(at most {LARGEST_DIFFERENCE:g} is rounding); nothing was written"
        )


def description(model: Model, *, exported: bool = False) -> dict[str, str]:
    """Entries for the metadata of a file, text or JSON; docs/export.md says what each means.

    exported  the file holds Lifted, which may read more frames than the model.
    """
    skeleton = model.skeleton
    values = {
        "model_config": model_config(model),
        "joints": skeleton.joints,
        "parents": skeleton.parents,
        "root": skeleton.root,
        "mirror": skeleton.mirror,
        "input_channels": list(model.input),
        "input_joints": skeleton.num_input_joints,
        "input_mirror": skeleton.input_mirror,
        "joint_map": skeleton.joint_map,
        "frames": input_shape(model)[0] if exported else model.frames,
        "target_frame": model.target_frame + (input_shape(model)[0] - model.frames if exported else 0),
        "causal": model.causal,
    }
    return {
        "glagcn_version": __version__,
        "model_kind": name_of(model),
        "skeleton": skeleton.name,
        "normalisation": NORMALISATION,
        "frame": model.frame,
        "units": "metres relative to the root",
    } | {name: json.dumps(value) for name, value in values.items()}
