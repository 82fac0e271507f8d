"""`glagcn export`: write a checkpoint's weights without the optimiser."""

import logging

from glagcn.checkpoints.find import model_path
from glagcn.config.options import without_paths
from glagcn.errors import UserError

logger = logging.getLogger(__name__)


def export(options: dict) -> None:
    """Write the weights of `options["checkpoint"]` to `options["out"]`, in our layout or another program's."""
    source, target, layout, half = (options[name] for name in ("checkpoint", "out", "layout", "half"))
    source = model_path(source)
    if half and layout != "safetensors":
        raise UserError(f"invalid --half with --layout {layout}: only --layout safetensors has half precision")
    if layout == "onnx":
        from glagcn.checkpoints.exports import export_onnx

        export_onnx(source, target)
    elif layout == "safetensors":
        from glagcn.checkpoints.exports import export_safetensors

        export_safetensors(source, target, half)
    else:
        from glagcn.checkpoints import ours as checkpoint
        from glagcn.checkpoints.load import load

        content = checkpoint.require_glagcn(load(source).content, source)
        weights = {name: content[name] for name in checkpoint.WEIGHTS}
        checkpoint.save(target, weights | {"config": without_paths(content["config"])})
    logger.info(f"{target}: the weights of {source}, for sharing")
