"""The reference model: the network in the layout of the published code, as a baseline for speed.

Eager float32, feature maps [N,C,T,V] (batch, channels, frames, joints), one convolution per subset and factor, one
matrix product per subset, one output layer call per joint.  Nothing is fused, and nothing is slower than this layout
requires.

Parameters have the published names, so that published weights load.  The sequence stage and the unshared head, which
were never published, are written in the same style.  Does not use `glagcn.model`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from glagcn.skeleton import Skeleton

NUM_SUBSETS = 3
KERNEL = 9


class TemporalConv(nn.Module):
    """Convolution over frames, then BatchNorm: [N,C,T,V] to [N,C',ceil(T/stride),V]."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = KERNEL, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, (kernel, 1), stride=(stride, 1), padding=(kernel // 2, 0))
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Features [N,C,T,V] to features [N,C',ceil(T/stride),V]."""
        return self.bn(self.conv(x))


class GraphConv(nn.Module):
    """Adaptive graph convolution, one subset after the other."""

    A: Tensor

    def __init__(self, in_channels: int, out_channels: int, adjacency: Tensor, dropout: float):
        super().__init__()
        inter = out_channels // 4 or 3
        self.register_buffer("A", adjacency, persistent=False)
        self.PA = nn.Parameter(torch.full_like(adjacency, 1e-6))
        self.conv_a = nn.ModuleList(nn.Conv2d(in_channels, inter, 1) for _ in range(NUM_SUBSETS))
        self.conv_b = nn.ModuleList(nn.Conv2d(in_channels, inter, 1) for _ in range(NUM_SUBSETS))
        self.conv_d = nn.ModuleList(nn.Conv2d(in_channels, out_channels, 1) for _ in range(NUM_SUBSETS))
        self.bn = nn.BatchNorm2d(out_channels)
        self.drop = nn.Dropout(dropout)
        self.relu = nn.ReLU(inplace=True)
        self.down: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.down = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Features [N,C,T,V] to features [N,C',T,V]."""
        n, c, t, v = x.shape
        fixed = self.A + self.PA
        flat = x.reshape(n, c * t, v)
        total = None
        for k in range(NUM_SUBSETS):
            theta = self.conv_a[k](x).permute(0, 3, 1, 2).reshape(n, v, -1)
            phi = self.conv_b[k](x).reshape(n, -1, v)
            graph = torch.softmax(torch.matmul(theta, phi) / phi.shape[1], dim=-2) + fixed[k]
            mixed = self.conv_d[k](torch.matmul(flat, graph).view(n, c, t, v))
            total = mixed if total is None else total + mixed
        return self.relu(self.drop(self.bn(total)) + self.down(x))


class Block(nn.Module):
    """Graph convolution, temporal convolution, residual, ReLU; `activation` False leaves out the last ReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        adjacency: Tensor,
        dropout: float,
        *,
        stride: int = 1,
        residual: bool = True,
        activation: bool = True,
    ):
        super().__init__()
        self.gcn1 = GraphConv(in_channels, out_channels, adjacency, dropout)
        self.tcn1 = TemporalConv(out_channels, out_channels, stride=stride)
        self.residual: nn.Module | None = None
        if residual:
            same = in_channels == out_channels and stride == 1
            self.residual = nn.Identity() if same else TemporalConv(in_channels, out_channels, 1, stride)
        self.relu = nn.ReLU(inplace=True) if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Features [N,C,T,V] to features [N,C',ceil(T/stride),V]."""
        y = self.tcn1(self.gcn1(x))
        return self.relu(y if self.residual is None else y + self.residual(x))


class JointOutput(nn.Module):
    """[N,C,T,V] to [N,T,V,3], one Conv1d call per joint, with one layer for all joints or one per joint."""

    def __init__(self, channels: int, num_joints: int, shared: bool):
        super().__init__()
        self.shared, self.num_joints = shared, num_joints
        self.layers = nn.ModuleList(nn.Conv1d(channels, 3, 1) for _ in range(1 if shared else num_joints))

    def forward(self, x: Tensor) -> Tensor:
        """Features [N,C,T,V] to positions [N,T,V,3] in metres."""
        outputs = [self.layers[0 if self.shared else joint](x[..., joint]) for joint in range(self.num_joints)]
        return torch.stack(outputs, dim=-1).permute(0, 2, 3, 1)


class ReferenceModel(nn.Module):
    """S-AGCN as published (sequence_layers 0, head "shared"), or with the sequence stage and an unshared head.

    skeleton, graph, widths, channels, sequence_layers, head, dropout, causal, input_norm as in
    `glagcn.model.network.LiftingNetwork`; "mixed" heads are left out.  Raises ValueError for another head.
    """

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
        input_norm: bool = True,
    ):
        super().__init__()
        if head not in ("shared", "unshared"):
            raise ValueError(f"invalid head {head!r}: must be shared or unshared")
        joints, shared = skeleton.num_joints, head == "shared"
        adjacency = torch.from_numpy((graph or skeleton).adjacency())
        self.skeleton, self.widths = skeleton, tuple(widths)
        self.kept = [width - 1 if causal else width // 2 for width in widths]
        self.data_bn = nn.BatchNorm1d(2 * joints) if input_norm else None
        self.expand_gcn = Block(2, channels, adjacency, dropout)
        self.sequence = nn.Sequential(*(Block(channels, channels, adjacency, dropout) for _ in range(sequence_layers)))
        self.sequence_head: nn.Module | None = None
        if sequence_layers:
            self.sequence_head = Block(channels, 3, adjacency, dropout, activation=False)
            self.sequence_fc = JointOutput(3, joints, shared)
        units = []
        for width in widths:
            units.append(Block(channels, channels, adjacency, dropout))
            units.append(Block(channels, channels, adjacency, dropout, stride=width, residual=False))
        self.layers_tcngcn = nn.ModuleList(units)
        self.drop = nn.Dropout(dropout)
        self.fc = JointOutput(channels, joints, shared)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Normalised 2D poses [N,T,V,2] to the target frame [N,1,V,3] and, where there is a sequence stage, all
        frames [N,T,V,3], in metres."""
        x = self.sequence(self.expand_gcn(self._features(x)))
        sequence = None if self.sequence_head is None else self.sequence_fc(self.sequence_head(x))
        for number, (width, kept) in enumerate(zip(self.widths, self.kept, strict=True)):
            skip = x[:, :, kept::width]
            x = self.drop(self.layers_tcngcn[2 * number](x))
            x = self.drop(self.layers_tcngcn[2 * number + 1](x)) + skip
        return self.fc(x.mean(dim=2, keepdim=True)), sequence

    def _features(self, x: Tensor) -> Tensor:
        """Poses [N,T,V,2] to the feature map [N,2,T,V], normalised per joint and axis."""
        if self.skeleton.joint_map is not None:
            x = torch.stack([x[:, :, list(sources)].mean(dim=2) for sources in self.skeleton.joint_map], dim=2)
        n, t, v, c = x.shape
        x = x.permute(0, 2, 3, 1).reshape(n, v * c, t)
        if self.data_bn is not None:
            x = self.data_bn(x)
        return x.view(n, v, c, t).permute(0, 2, 3, 1).contiguous()

    def load_published(self, weights: dict[str, Tensor]) -> None:
        """Load weights under their published names, where the output layer is `fc.weight` and `fc.bias`.

        Raises RuntimeError (of load_state_dict) where a name or a shape does not fit.
        """
        renamed = {name.replace("fc.", "fc.layers.0.") if name[:3] == "fc." else name: w for name, w in weights.items()}
        self.load_state_dict(renamed)
