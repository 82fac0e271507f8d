"""The description of a model in the metadata of exported files, for programs without glagcn."""

import json

from glagcn import __version__
from glagcn.model.interface import Model
from glagcn.model.registry import model_config, name_of

# The formula of data.windows.store.normalise.
NORMALISATION = "x = 2 * pixel_x / width - 1; y = (2 * pixel_y - height) / width"


def description(model: Model) -> dict[str, str]:
    """Entries for the metadata of a file, text or JSON; docs/export.md says what each means."""
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
        "frames": model.frames,
        "target_frame": model.target_frame,
        "causal": model.causal,
    }
    return {
        "glagcn_version": __version__,
        "model_kind": name_of(model),
        "skeleton": skeleton.name,
        "normalisation": NORMALISATION,
        "units": "metres relative to the root",
    } | {name: json.dumps(value) for name, value in values.items()}
