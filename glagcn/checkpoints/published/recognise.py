"""Which network a published checkpoint holds: from its tensors as far as they tell, then from its name and flags."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from torch import Tensor

from glagcn.checkpoints.published.layout import count_widths
from glagcn.errors import UserError
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.skeleton import Skeleton, get_skeleton

WIDTH = 3  # of every stage of every published model
SKELETONS = ("h36m17", "humaneva15", "humaneva15_coco17")
NAME = re.compile(r"\d+_(?P<keypoints>\w+)_(?P<frames>\d+)_supervised")


@dataclass(frozen=True)
class Hints:
    """What the caller knows of a published file.

    skeleton, widths, channels  None: channels from the tensors; skeleton and widths from the tensors' number of joints
                   and of stages, and the file's name.
    data_skeleton  of the data at hand, which decides where neither tensors nor name tell the skeleton.
    """

    skeleton: Skeleton | None = None
    widths: Sequence[int] | None = None
    channels: int | None = None
    data_skeleton: Skeleton | None = None


NO_HINTS = Hints()


@dataclass(frozen=True)
class PublishedForm:
    """The network that some published weights belong to.

    keypoints  the 2D source that its file's name tells; None where it does not.
    assumed    notes on what neither the tensors nor the caller told.
    """

    skeleton: Skeleton
    widths: tuple[int, ...]
    channels: int
    keypoints: str | None
    assumed: tuple[str, ...]

    def build(self) -> LiftingNetwork:
        """The network with fresh weights.  The published one that is fed COCO joints never applies its input norm."""
        return LiftingNetwork(
            self.skeleton, self.widths, self.channels, sequence_layers=0, head="shared",
            input_norm=self.skeleton.joint_map is None,
        )  # fmt: skip


def recognise(path: Path, weights: Mapping[str, Tensor], hints: Hints = NO_HINTS) -> PublishedForm:
    """The form of published `weights` (names without "module.") read from `path`.

    Raises UserError where they do not fit the hints, or nothing tells the skeleton.
    """
    skeleton, widths = hints.skeleton, hints.widths
    try:
        joints, held = weights["expand_gcn.gcn1.PA"].shape[-1], weights["fc.weight"].shape[1]
    except (KeyError, IndexError) as error:
        raise UserError(f"{path}: not the weights of a published S-AGCN (no usable {error})") from error
    named = NAME.search(path.name)
    assumed = []
    if skeleton is None:
        skeleton, reason = _guess_skeleton(path, joints, hints.data_skeleton)
        assumed.append(
            f"{path.name} does not hold its skeleton: assumed {skeleton.name}, {reason}; give -d and -k (skeleton=) "
            "otherwise"
        )
    if skeleton.num_joints != joints:
        raise UserError(
            f"{path}: weights for {joints} joints, but skeleton {skeleton.name!r} has {skeleton.num_joints}"
        )
    if skeleton.name not in SKELETONS:
        assumed.append(
            f"{path.name}: weights taken for the graph of {skeleton.name} and for metres, which no published file is "
            "known for"
        )
    if widths is None:
        widths = (WIDTH,) * count_widths(weights)
        _check_frames(path, named, widths)
        assumed.append(f"{path.name} does not hold its filter widths: assumed {widths}; give -arc (widths=) otherwise")
    elif named and int(named["frames"]) != prod(widths):
        assumed.append(
            f"{path.name}: its name says {named['frames']} frames, and the filter widths given, {tuple(widths)}, are "
            f"{prod(widths)}: the poses are wrong unless it was trained so"
        )
    return PublishedForm(
        skeleton, tuple(widths), hints.channels or held, named["keypoints"] if named else None, tuple(assumed)
    )


def _guess_skeleton(path: Path, joints: int, data_skeleton: Skeleton | None) -> tuple[Skeleton, str]:
    """The skeleton of a published file, from its joint count and name, else that of the data; and the reason."""
    if joints == 17:
        return get_skeleton("h36m17"), "the published one of 17 joints"
    if joints == 15 and "_coco" in path.name:
        return get_skeleton("humaneva15_coco17"), "by its name"
    if joints == 15 and "_gt" in path.name:
        return get_skeleton("humaneva15"), "by its name"
    if data_skeleton is not None and data_skeleton.num_joints == joints:
        return data_skeleton, "as the data has"
    raise UserError(
        f"{path}: weights for {joints} joints, and neither they nor the file's name say which skeleton; "
        "give skeleton='h36m17' (17 joints), 'humaneva15' or 'humaneva15_coco17' (15 joints)"
    )


def _check_frames(path: Path, named: re.Match | None, widths: tuple[int, ...]) -> None:
    frames = WIDTH ** len(widths)
    if named and int(named["frames"]) != frames:
        raise UserError(
            f"{path}: its name says {named['frames']} frames, and its {len(widths)} stages of width {WIDTH} are "
            f"{frames}; give the widths with -arc (widths=)"
        )
