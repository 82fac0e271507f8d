"""GLA-GCN: lifts a window of 2D poses to the 3D pose of its centre frame, or of its last frame (causal)."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Self

import torch
from torch import Tensor, nn

from glagcn.errors import UserError
from glagcn.model.gla_gcn.blocks import AGCN, StridedModule, folded
from glagcn.model.gla_gcn.heads import HEADS, JointHead, SequenceHead, init_published, init_tuned
from glagcn.model.interface import BatchNorm, Model, Prediction, check_size
from glagcn.model.pose_input import PoseInput
from glagcn.model.widths import check_widths
from glagcn.skeletons import Skeleton, get_skeleton, graph_flag, graph_skeleton

MAX_LAYERS = 100  # layers of the sequence stage; a checkpoint with more is damaged


class LiftingNetwork(Model):
    """The full model of the paper, and (sequence_layers=0, head="shared") the published S-AGCN.

    Input normalisation, expand block AGCN(2, C, 1), `sequence_layers` blocks AGCN(C, C, 1) whose output feeds the
    sequence head and the strided stage (one StridedModule per filter width), mean over the remaining frames, head.

    skeleton    joint set of input and output.
    widths      filter widths of the strided stage; their product is T, the frames of a window.
    channels    C.
    graph       a skeleton with the same number of joints whose links replace those of `skeleton`.  The published 3DHP
                script uses the links of "h36m17" for 3DHP joints.
    head, mix   see JointHead; also for the output layer of the sequence head.
    dropout     dropout in the graph convolutions and after the units of the strided stage.
    causal      the target frame is the last frame of the window, so that no future frames are needed.
    input       see PoseInput; the input normalisation leaves confidences as they are.
    relative    see PoseInput; input normalisation alone does not separate joint movement from the person's position.
    input_norm  False: no input normalisation.  The published model for COCO input never applies its own.

    Starts with the published initialisation.  Raises UserError for invalid widths, head or graph.
    """

    constant = ("adjacency",)
    adjacency: Tensor

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
        input: str = "xy",
        relative: bool = False,
        input_norm: bool = True,
    ):
        super().__init__()
        graph = graph or skeleton
        _check_arguments(skeleton, graph, widths, channels, sequence_layers, head)
        self.skeleton, self.graph = skeleton, graph
        self.widths = tuple(widths)
        self.frames = prod(widths)
        self.causal, self.input = causal, input
        self.channels = channels
        self.head_kind, self.mix, self.dropout = head, mix, dropout

        joints = skeleton.num_joints
        self.register_buffer("adjacency", torch.from_numpy(graph.adjacency()))
        self.pose_input = PoseInput(skeleton, relative, input)
        self.input_norm = BatchNorm(2 * joints) if input_norm else None
        self.expand = AGCN(len(input), channels, joints, dropout=dropout, coordinates=True)
        self.sequence = nn.ModuleList(AGCN(channels, channels, joints, dropout=dropout) for _ in range(sequence_layers))
        self.sequence_head = SequenceHead(channels, joints, head, mix, dropout) if sequence_layers else None
        self.strided = nn.ModuleList(StridedModule(channels, joints, width, dropout, causal) for width in widths)
        self.head = JointHead(channels, joints, head, mix)
        init_published(self)

    @property
    def predicts_sequence(self) -> bool:
        """Whether predictions include all frames of the window."""
        return self.sequence_head is not None

    def forward(self, x: Tensor) -> Prediction:
        """Normalised 2D poses [N,T,input joints,2|3] to a Prediction in metres; raises UserError: see `check_input`."""
        self.check_input(x)
        x = self._features(x)
        x = self.expand(x, self.adjacency)
        for block in self.sequence:
            x = block(x, self.adjacency)
        sequence = None if self.sequence_head is None else self.sequence_head(x, self.adjacency)
        for module in self.strided:
            x = module(x, self.adjacency)
        return Prediction(self.head(x.mean(dim=2, keepdim=True)), sequence)

    def _features(self, x: Tensor) -> Tensor:
        """The input feature map [N,2 or 3,T,V]; x and y are normalised per joint and axis over batch and time.

        Confidences are not: in data without them all are 1, and their variance is 0.
        """
        x = self.pose_input(x)
        n, t, v, _ = x.shape
        if self.input_norm is not None:
            rows = x[..., :2].reshape(n, t, v * 2).transpose(1, 2)
            normalised = self.input_norm(rows).transpose(1, 2).reshape(n, t, v, 2)
            x = normalised if self.input == "xy" else torch.cat([normalised, x[..., 2:]], dim=3)
        return x.permute(0, 3, 1, 2)

    @classmethod
    def build(cls, skeleton: Skeleton, options: Any) -> Self:
        """See Model."""
        return cls(
            skeleton, options.widths, options.channels,
            graph=graph_skeleton(options.graph) if options.graph else skeleton,
            sequence_layers=options.sequence_layers, head=options.head, dropout=options.dropout, causal=options.causal,
            input=options.input, relative=options.relative_input,
            # The published model for COCO input never applies its input normalisation; ours on this graph must match.
            input_norm=options.graph != "humaneva15_coco17",
        )  # fmt: skip

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """See Model."""
        rest = dict(config)
        skeleton, graph = get_skeleton(rest.pop("skeleton")), get_skeleton(rest.pop("graph"))
        return cls(skeleton, rest.pop("widths"), rest.pop("channels"), graph=graph, **rest)

    def config(self) -> dict[str, Any]:
        """See Model."""
        return {
            "skeleton": self.skeleton.name,
            "graph": self.graph.name,
            "widths": list(self.widths),
            "channels": self.channels,
            "sequence_layers": len(self.sequence),
            "head": self.head_kind,
            "mix": self.mix,
            "dropout": self.dropout,
            "causal": self.causal,
            "input": self.input,
            "relative": self.pose_input.relative,
            "input_norm": self.input_norm is not None,
        }

    def options(self) -> Mapping[str, Any]:
        """See Model."""
        return {
            "frames": self.frames,
            "channels": self.channels,
            "architecture": self.widths,
            "head": self.head_kind,
            "sequence_layers": len(self.sequence),
            "graph": graph_flag(self.graph),
            "causal": self.causal,
            "input": self.input,
        }

    def initialise(self, recipe: str, mean_pose: Tensor) -> None:
        """See Model, and model.gla_gcn.initialisation."""
        if recipe == "tuned":
            init_tuned(self, self.skeleton, mean_pose)
        else:
            init_published(self)

    @property
    def map_size(self) -> int:
        """The size in numbers of a feature map [C,T,V]."""
        return self.channels * self.frames * self.skeleton.num_joints

    def describe(self) -> str:
        """Frames, filter widths, channels and graph."""
        widths = "x".join(map(str, self.widths))
        return f"{self.frames} frames ({widths}), {self.channels} channels, graph {self.graph.name}"

    def for_prediction(self) -> "LiftingNetwork":
        """A copy without sequence head, with BatchNorm folded into the previous layers."""
        return folded(self)


def _check_arguments(
    skeleton: Skeleton, graph: Skeleton, widths: Sequence[int], channels: int, sequence_layers: int, head: str
) -> None:
    check_widths(widths)
    check_size(channels, prod(widths))
    if not isinstance(sequence_layers, int) or not 0 <= sequence_layers <= MAX_LAYERS:
        raise UserError(f"invalid --sequence_layers {sequence_layers}: must be a number from 0 to {MAX_LAYERS}")
    if head not in HEADS:
        raise UserError(f"unknown head {head!r}: must be one of {', '.join(HEADS)}")
    if graph.num_joints != skeleton.num_joints:
        raise UserError(
            f"invalid --graph {graph.name}: it has {graph.num_joints} joints, but {skeleton.name} has "
            f"{skeleton.num_joints}; give a graph with the same number of joints"
        )
