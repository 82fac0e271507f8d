"""GLA-GCN: a window of 2D poses to the 3D pose of its centre frame, or causally of its last."""

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from glagcn.errors import UserError
from glagcn.model.blocks import AGCN, StridedModule, full_precision
from glagcn.model.heads import HEADS, JointHead, SequenceHead
from glagcn.model.initialisation import init_published
from glagcn.model.norm import BatchNorm
from glagcn.skeleton import Skeleton, get_skeleton
from glagcn.widths import check_widths, target_frame


class Prediction(NamedTuple):
    """What the network returns, in metres relative to the root."""

    center: Tensor  # [N,1,V,3], the target frame: the centre, or the last of a causal model
    sequence: Tensor | None  # [N,T,V,3], every frame of the window; None without a sequence stage


class LiftingNetwork(nn.Module):
    """The full model of the paper, and (sequence_layers=0, head="shared") the published S-AGCN.

    Input normalisation, expand block AGCN(2, C, 1), `sequence_layers` blocks AGCN(C, C, 1) whose output feeds the
    sequence head and the strided stage (one StridedModule per filter width), mean over frames that are left, head.

    skeleton    the joints of input and output, their root and mirror pairs.
    widths      filter widths of the strided stage; their product is T, the frames of a window.
    channels    C.
    graph       a skeleton whose links replace the skeleton's own: the same number of joints.  The published 3DHP
                script convolves 3DHP joints over the links of "h36m17".
    head, mix   see JointHead; the sequence head's output layer is of the same kind.
    dropout     inside the graph convolutions and after the units of the strided stage.
    causal      the target is the last frame of the window, so that lifting needs no frames to come.
    relative    the 2D joints are read relative to the root, and the root as it is: what a joint does is small beside
                where the person stands, and the input normalisation alone cannot tell the two apart.
    input_norm  False leaves the input normalisation out: the published model fed COCO joints never applies its own.

    A skeleton with a joint map reads num_input_joints joints and averages them to its V.
    Starts with the published initialisation.  Raises UserError on widths, head or graph that cannot be.
    """

    adjacency: Tensor
    joint_map: Tensor | None
    others: Tensor

    def __init__(
        self,
        skeleton: Skeleton,
        widths: Sequence[int],
        channels: int,
        *,
        graph: Skeleton | None = None,
        sequence_layers: int = 3,
        head: str = "unshared",
        mix: float = 0.5,
        dropout: float = 0.1,
        causal: bool = False,
        relative: bool = False,
        input_norm: bool = True,
    ):
        super().__init__()
        graph = graph or skeleton
        _check_arguments(skeleton, graph, widths, channels, sequence_layers, head)
        self.skeleton, self.graph = skeleton, graph
        self.widths = tuple(widths)
        self.frames = prod(widths)
        self.causal, self.relative = causal, relative
        self.channels = channels
        self.head_kind, self.mix, self.dropout = head, mix, dropout

        joints = skeleton.num_joints
        self.register_buffer("adjacency", torch.from_numpy(graph.adjacency()))
        self.register_buffer("joint_map", _joint_map(skeleton), persistent=False)
        others = (torch.arange(joints) != skeleton.root).float().view(joints, 1)
        self.register_buffer("others", others, persistent=False)  # 1 for every joint but the root
        self.input_norm = BatchNorm(2 * joints) if input_norm else None
        self.expand = AGCN(2, channels, joints, dropout=dropout, coordinates=True)
        self.sequence = nn.ModuleList(AGCN(channels, channels, joints, dropout=dropout) for _ in range(sequence_layers))
        self.sequence_head = SequenceHead(channels, joints, head, mix, dropout) if sequence_layers else None
        self.strided = nn.ModuleList(StridedModule(channels, joints, width, dropout, causal) for width in widths)
        self.head = JointHead(channels, joints, head, mix)
        init_published(self)

    @property
    def target_frame(self) -> int:
        """The frame of a window, counted from 0, whose pose is predicted."""
        return target_frame(self.frames, self.causal)

    @property
    def predicts_sequence(self) -> bool:
        """Whether predictions hold all frames of the window beside the target frame."""
        return self.sequence_head is not None

    def forward(self, x: Tensor) -> Prediction:
        """Normalised 2D poses [N,T,V,2] to a Prediction in metres.

        Raises UserError unless x is a tensor of the model's type with the frames and joints of this model.
        """
        kind = self.adjacency.dtype
        if not isinstance(x, Tensor) or x.dtype != kind:
            found = f"a tensor of {x.dtype}" if isinstance(x, Tensor) else f"{type(x).__name__}"
            raise UserError(f"the model reads a tensor of {kind}, found {found}; convert it first, e.g. x.float()")
        expected = (self.frames, self.skeleton.num_input_joints, 2)
        if x.dim() != 4 or tuple(x.shape[1:]) != expected:
            raise UserError(
                f"the model reads windows of shape [N, {', '.join(map(str, expected))}] (frames, joints of "
                f"{self.skeleton.name}, x and y), found {list(x.shape)}"
            )
        x = self._features(x)
        x = self.expand(x, self.adjacency)
        for block in self.sequence:
            x = block(x, self.adjacency)
        sequence = None if self.sequence_head is None else self.sequence_head(x, self.adjacency)
        for module in self.strided:
            x = module(x, self.adjacency)
        return Prediction(self.head(x.mean(dim=2, keepdim=True)), sequence)

    def _features(self, x: Tensor) -> Tensor:
        """Poses [N,T,V,2] to the feature map [N,2,T,V], normalised per joint and axis over batch and time."""
        if self.joint_map is not None:
            with full_precision(x):  # a matrix product, which autocast would round
                x = torch.einsum("vj,ntjc->ntvc", self.joint_map, x)
        n, t, v, _ = x.shape
        if self.relative:
            x = x - x[:, :, self.skeleton.root, None] * self.others
        if self.input_norm is not None:
            x = self.input_norm(x.reshape(n, t, v * 2).transpose(1, 2)).transpose(1, 2).reshape(n, t, v, 2)
        return x.permute(0, 3, 1, 2)


def model_config(model: LiftingNetwork) -> dict[str, Any]:
    """What from_config needs to build this model again: plain values only, as stored in checkpoints."""
    return {
        "skeleton": model.skeleton.name,
        "graph": model.graph.name,
        "widths": list(model.widths),
        "channels": model.channels,
        "sequence_layers": len(model.sequence),
        "head": model.head_kind,
        "mix": model.mix,
        "dropout": model.dropout,
        "causal": model.causal,
        "relative": model.relative,
        "input_norm": model.input_norm is not None,
    }


def from_config(config: dict[str, Any]) -> LiftingNetwork:
    """The model that model_config described, with fresh weights.  Raises UserError on an unknown or missing entry."""
    rest = dict(config)
    try:
        skeleton, graph = get_skeleton(rest.pop("skeleton")), get_skeleton(rest.pop("graph"))
        return LiftingNetwork(skeleton, rest.pop("widths"), rest.pop("channels"), graph=graph, **rest)
    except (KeyError, TypeError) as error:
        raise UserError(f"model configuration {config}: missing or unknown entry ({error})") from error


def _check_arguments(
    skeleton: Skeleton, graph: Skeleton, widths: Sequence[int], channels: int, sequence_layers: int, head: str
) -> None:
    check_widths(widths)
    if channels < 1:
        raise UserError(f"--channel {channels}: expected at least 1")
    if sequence_layers < 0:
        raise UserError(f"{sequence_layers} sequence layers: expected 0 (no sequence stage) or more")
    if head not in HEADS:
        raise UserError(f"unknown head {head!r}; expected one of {', '.join(HEADS)}")
    if graph.num_joints != skeleton.num_joints:
        raise UserError(
            f"--graph {graph.name} links {graph.num_joints} joints, but {skeleton.name} has {skeleton.num_joints}; "
            "expected a graph of as many joints"
        )


def _joint_map(skeleton: Skeleton) -> Tensor | None:
    """[V, input joints]: each row averages the input joints that make up one joint; None without a map."""
    if skeleton.joint_map is None:
        return None
    weights = torch.zeros(skeleton.num_joints, skeleton.num_input_joints)
    for joint, sources in enumerate(skeleton.joint_map):
        weights[joint, list(sources)] = 1 / len(sources)
    return weights
