"""Recognise the network of a published checkpoint from its tensors, its file name and flags."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from torch import Tensor

from glagcn.checkpoints.published.layout import count_widths
from glagcn.errors import UserError
from glagcn.model.network import LiftingNetwork
from glagcn.skeleton import Skeleton, get_skeleton

WIDTH = 3  # filter width of all stages of all published models
SKELETONS = ("h36m17", "humaneva15", "humaneva15_coco17")
NAME = re.compile(r"\d+_(?P<keypoints>\w+)_(?P<frames>\d+)_supervised")


@dataclass(frozen=True)
class Hints:
    """Facts about a published file that the caller knows.

    skeleton       None: from the number of joints and the file name.
    widths         None: from the number of stages and the file name.
    channels       None: from the tensors.
    data_skeleton  joint set of the data, used if neither tensors nor file name determine the skeleton.
    """

    skeleton: Skeleton | None = None
    widths: Sequence[int] | None = None
    channels: int | None = None
    data_skeleton: Skeleton | None = None


NO_HINTS = Hints()


@dataclass(frozen=True)
class PublishedForm:
    """The network of some published weights.

    keypoints  2D source from the file name; None if unknown.
    assumed    notes on assumptions.
    """

    skeleton: Skeleton
    widths: tuple[int, ...]
    channels: int
    keypoints: str | None
    assumed: tuple[str, ...]

    def build(self) -> LiftingNetwork:
        """Build the network with fresh weights.  With COCO input, the published one never applies its input norm."""
        return LiftingNetwork(
            self.skeleton, self.widths, self.channels, sequence_layers=0, head="shared",
            input_norm=self.skeleton.joint_map is None,
        )  # fmt: skip


def recognise(path: Path, weights: Mapping[str, Tensor], hints: Hints = NO_HINTS) -> PublishedForm:
    """The form of published `weights` (names without "module.") read from `path`.

    Raises UserError if they contradict the hints, or if the skeleton is unknown.
    """
    skeleton, widths = hints.skeleton, hints.widths
    try:
        joints, channels = weights["expand_gcn.gcn1.PA"].shape[-1], weights["fc.weight"].shape[1]
    except (KeyError, IndexError) as error:
        raise UserError(f"{path}: not the weights of a published S-AGCN (no usable {error})") from error
    named = NAME.search(path.name)
    assumed = []
    if skeleton is None:
        skeleton, reason = _guess_skeleton(path, joints, hints.data_skeleton)
        assumed.append(
            f"{path.name} does not name its skeleton: assumed {skeleton.name}, {reason}; for another one, give -d and "
            "-k (skeleton=)"
        )
    if skeleton.num_joints != joints:
        raise UserError(
            f"{path}: weights for {joints} joints, but skeleton {skeleton.name!r} has {skeleton.num_joints}"
        )
    if skeleton.name not in SKELETONS:
        assumed.append(
            f"{path.name}: assumed the graph of {skeleton.name} and metres; no published file is known to have this "
            "skeleton"
        )
    if widths is None:
        widths = (WIDTH,) * count_widths(weights)
        _check_frames(path, named, widths)
        assumed.append(
            f"{path.name} does not name its filter widths: assumed {widths}; for others, give -arc (widths=)"
        )
    elif named and int(named["frames"]) != prod(widths):
        assumed.append(
            f"{path.name}: its name says {named['frames']} frames, but the given filter widths {tuple(widths)} make "
            f"{prod(widths)}; poses are wrong unless it was trained with these widths"
        )
    return PublishedForm(
        skeleton, tuple(widths), hints.channels or channels, named["keypoints"] if named else None, tuple(assumed)
    )


def _guess_skeleton(path: Path, joints: int, data_skeleton: Skeleton | None) -> tuple[Skeleton, str]:
    """The skeleton of a published file, from its number of joints and name, else that of the data; and the reason."""
    if joints == 17:
        return get_skeleton("h36m17"), "the only published one with 17 joints"
    if joints == 15 and "_coco" in path.name:
        return get_skeleton("humaneva15_coco17"), "from its name"
    if joints == 15 and "_gt" in path.name:
        return get_skeleton("humaneva15"), "from its name"
    if data_skeleton is not None and data_skeleton.num_joints == joints:
        return data_skeleton, "from the data"
    raise UserError(
        f"{path}: weights for {joints} joints, but neither they nor the file name determine the skeleton; "
        "give skeleton='h36m17' (17 joints), 'humaneva15' or 'humaneva15_coco17' (15 joints)"
    )


def _check_frames(path: Path, named: re.Match | None, widths: tuple[int, ...]) -> None:
    frames = WIDTH ** len(widths)
    if named and int(named["frames"]) != frames:
        raise UserError(
            f"{path}: its name says {named['frames']} frames, but {len(widths)} stages of width {WIDTH} make {frames}; "
            "give the filter widths with -arc (widths=)"
        )
