"""`glagcn export`: write a checkpoint's weights without the optimiser, or several as one model."""

import logging

from glagcn.checkpoints.find import model_path
from glagcn.config.options import without_paths
from glagcn.errors import UserError

logger = logging.getLogger(__name__)


def export(options: dict) -> None:
    """Write the weights of `options["checkpoint"]` to `options["out"]`, in our layout or another program's.

    Of several checkpoints the mean of the poses is written, as an ensemble (model/ensemble.py).
    """
    given, target, layout, half = (options[name] for name in ("checkpoint", "out", "layout", "half"))
    sources = [model_path(source) for source in given]
    if half and layout != "safetensors":
        raise UserError(f"invalid --half with --layout {layout}: only --layout safetensors has half precision")
    if layout == "onnx":
        from glagcn.checkpoints.exports import export_onnx

        export_onnx(sources, target)
    elif layout == "safetensors":
        from glagcn.checkpoints.exports import export_safetensors

        export_safetensors(sources, target, half)
    else:
        from glagcn.checkpoints import ours as checkpoint
        from glagcn.checkpoints.exports import load_together

        content = checkpoint.require_glagcn(load_together(sources).content, sources[0])
        weights = {name: content[name] for name in checkpoint.WEIGHTS}
        checkpoint.save(target, weights | {"config": without_paths(content["config"])})
    logger.info(f"{target}: the weights of {' and '.join(map(str, sources))}, for sharing")
