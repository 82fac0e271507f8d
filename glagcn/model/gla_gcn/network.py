"""GLA-GCN: lifts a window of 2D poses to the 3D pose of its centre frame, or of its last frame (causal)."""

import copy
import math
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from glagcn.errors import UserError
from glagcn.model.gla_gcn.blocks import (
    AGCN,
    NUM_SUBSETS,
    AdaptiveGraphConv,
    Conv,
    ConvNorm,
    GraphLinear,
    StridedModule,
    is_plain,
)
from glagcn.model.gla_gcn.heads import HEADS, JointHead, SequenceHead, UnsharedLinear
from glagcn.model.gla_gcn.prepared import PreparedAGCN
from glagcn.model.interface import Model, Prediction
from glagcn.model.layers import BatchNorm, Folded, PoseInput
from glagcn.model.widths import check_widths
from glagcn.skeletons import Skeleton, get_skeleton, graph_flag, graph_skeleton

OUTPUT_SCALE = 0.1  # factor on the output layers' weights in the tuned initialisation


class LiftingNetwork(Model):
    """The full model of the paper, and (sequence_layers=0, head="shared") the published S-AGCN.

    Input normalisation, expand block AGCN(2, C, 1), `sequence_layers` blocks AGCN(C, C, 1) whose output feeds the
    sequence head and the strided stage (one StridedModule per filter width), mean over the remaining frames, head.

    skeleton    joint set of input and output.
    widths      filter widths of the strided stage; their product is T, the frames of a window.
    channels    C.
    graph       a skeleton with the same number of joints whose links replace those of `skeleton`.  The published 3DHP
                script uses the links of "h36m17" for 3DHP joints.
    head        see JointHead; also for the output layer of the sequence head.
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
        dropout: float = 0.1,
        causal: bool = False,
        input: str = "xy",
        relative: bool = False,
        input_norm: bool = True,
    ):
        super().__init__()
        graph = graph or skeleton
        check_widths(widths)
        if graph.num_joints != skeleton.num_joints:
            raise UserError(
                f"invalid --graph {graph.name}: it has {graph.num_joints} joints, but {skeleton.name} has "
                f"{skeleton.num_joints}; give a graph with the same number of joints"
            )
        self.skeleton, self.graph = skeleton, graph
        self.widths = tuple(widths)
        self.frames = prod(widths)
        self.causal, self.input = causal, input
        self.channels = channels
        self.head_kind, self.dropout = head, dropout

        joints = skeleton.num_joints
        self.register_buffer("adjacency", torch.from_numpy(graph.adjacency()))
        self.pose_input = PoseInput(skeleton, relative, input)
        self.input_norm = BatchNorm(2 * joints) if input_norm else None
        self.expand = AGCN(len(input), channels, joints, dropout=dropout, coordinates=True)
        self.sequence = nn.ModuleList(AGCN(channels, channels, joints, dropout=dropout) for _ in range(sequence_layers))
        self.sequence_head = SequenceHead(channels, joints, head, dropout) if sequence_layers else None
        self.strided = nn.ModuleList(StridedModule(channels, joints, width, dropout, causal) for width in widths)
        self.head = JointHead(channels, joints, head)
        init_published(self)

    @property
    def predicts_sequence(self) -> bool:
        """Whether predictions include all frames of the window."""
        return self.sequence_head is not None

    def forward(self, x: Tensor) -> Prediction:
        """Normalised 2D poses [N,T,input joints,2|3] to a Prediction in metres; raises UserError: see `check_input`."""
        self.check_input(x)
        x = self.expand(self._features(x), self.adjacency)
        for block in self.sequence:
            x = block(x, self.adjacency)
        sequence = None if self.sequence_head is None else self.sequence_head(x, self.adjacency)
        return Prediction(self._target(x), sequence)

    def predict_sequence(self, x: Tensor) -> Tensor:
        """See Model.

        After `for_prediction`, on a CPU, windows share what the first block computes of single frames.  Its graph
        depends on the whole window, so that every map after its first aggregation does.
        """
        if not isinstance(self.expand, PreparedAGCN) or not is_plain(x):
            return super().predict_sequence(x)
        x = self.expand.windows(self._features(x[None]), self.frames)
        for block in self.sequence:
            x = block(x, self.adjacency)
        return self._target(x)[:, 0]

    def _target(self, x: Tensor) -> Tensor:
        """Features [N,C,T,V] of windows to the poses [N,1,V,3] of their target frames."""
        for module in self.strided:
            x = module(x, self.adjacency)
        return self.head(x.mean(dim=2, keepdim=True))

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
        rest.pop("mix", None)
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
            "mix": HEADS["mixed"],  # as checkpoints have it
            "dropout": self.dropout,
            "causal": self.causal,
            "input": self.input,
            "relative": self.pose_input.relative,
            "input_norm": self.input_norm is not None,
        }

    def options(self) -> Mapping[str, Any]:
        """See Model."""
        stages = {"head": self.head_kind, "sequence_layers": len(self.sequence), "graph": graph_flag(self.graph)}
        return {**super().options(), **stages}

    @torch.no_grad()
    def initialise(self, recipe: str, mean_pose: Tensor) -> None:
        """Initialise as published; with "tuned", graph convolutions are active and the output is near `mean_pose`.

        The BatchNorm of graph convolutions then has gamma 1.  The weights of output layers are multiplied by 0.1, and
        their bias is the mean pose; a shared layer has one bias for all joints, the mean over joints.
        """
        init_published(self)
        if recipe == "tuned":
            for module in self.modules():
                if isinstance(module, AdaptiveGraphConv):
                    nn.init.ones_(cast(BatchNorm, module.bn).weight)
                elif isinstance(module, JointHead):
                    _start_at(module, mean_pose)

    @property
    def map_size(self) -> int:
        """The size in numbers of a feature map [C,T,V]."""
        return self.channels * self.frames * self.skeleton.num_joints

    def describe(self) -> str:
        """Frames, filter widths, channels and graph."""
        widths = "x".join(map(str, self.widths))
        return f"{self.frames} frames ({widths}), {self.channels} channels, graph {self.graph.name}"

    def for_prediction(self) -> "LiftingNetwork":
        """A faster copy in eval mode that predicts the same target frame up to rounding.

        It has no sequence head, whose output only the loss uses.  BatchNorm is folded into the layers before, in
        float64, and rounded once.  Its blocks lift without what depends on weights alone; see `PreparedAGCN`.
        """
        result = copy.deepcopy(self).eval()
        result.sequence_head = None
        with torch.no_grad():
            for module in result.modules():
                if isinstance(module, AdaptiveGraphConv):
                    module.bn = _folded(module.mix, module.bn)
                elif isinstance(module, AGCN):
                    module.bn = _folded(module.temporal, module.bn)
                elif isinstance(module, ConvNorm):
                    module[1] = _folded(module.conv, module[1])
            for module in list(result.modules()):
                for name, child in module.named_children():
                    prepared = isinstance(module, PreparedAGCN)
                    if isinstance(child, AGCN) and not prepared and not child.graph_conv.mixes_first:
                        setattr(module, name, PreparedAGCN(child, self.adjacency))
        return result


@torch.no_grad()
def init_published(model: nn.Module) -> None:
    """Initialise as the published code does.

    2D convolutions: Kaiming normal over the fan-out, bias 0.  W_k: normal with variance 2 / (C' * C * 3), bias 0.
    B: 1e-6.  BatchNorm: gamma 1 (in graph convolutions 1e-6), beta 0.  Output layers: PyTorch's default.
    """
    for module in model.modules():
        if isinstance(module, Conv):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)
        elif isinstance(module, GraphLinear):
            out_channels, in_channels = module.weight.shape[:2]
            nn.init.normal_(module.weight, std=math.sqrt(2 / (out_channels * in_channels * NUM_SUBSETS)))
            nn.init.zeros_(module.bias)
        elif isinstance(module, BatchNorm | UnsharedLinear | nn.Linear):
            module.reset_parameters()
    for module in model.modules():
        if isinstance(module, AdaptiveGraphConv):
            # The published code has six convolutions, each with a sixth of the fan-out of the fused one.
            nn.init.normal_(module.embed.weight, std=math.sqrt(2 / module.embed_channels))
            nn.init.constant_(module.free_graph, 1e-6)
            nn.init.constant_(cast(BatchNorm, module.bn).weight, 1e-6)


def _start_at(head: JointHead, mean_pose: Tensor) -> None:
    """Make a head predict about `mean_pose` [V,3] for any input."""
    layers = [layer for layer in (head.unshared, head.shared) if layer is not None]
    for layer in layers:
        layer.weight.mul_(OUTPUT_SCALE)
    if head.shared is not None:
        head.shared.bias.copy_(mean_pose.mean(dim=0))
    if head.unshared is not None:
        # In a mixed head, the unshared bias adds the part that the shared bias cannot represent.
        rest = mean_pose if head.shared is None else mean_pose - (1 - head.mix) * mean_pose.mean(dim=0)
        head.unshared.bias.copy_(rest / head.mix)


def _folded(layer: Conv | GraphLinear, norm: nn.Module) -> Folded:
    """Fold the scale and shift of `norm` into `layer`; a GraphLinear has three biases, of which the sum counts."""
    if isinstance(norm, Folded):
        return norm
    assert isinstance(norm, BatchNorm)
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    shift = norm.bias.double() - norm.running_mean.double() * scale
    bias = layer.bias.double() * scale
    first = bias[0] if bias.dim() == 2 else bias
    first += shift
    layer.weight.copy_(layer.weight.double() * scale.view(-1, 1, 1, 1))
    layer.bias.copy_(bias)
    return Folded()
