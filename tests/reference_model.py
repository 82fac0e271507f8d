"""A plain implementation of the published network, its loader, training step and evaluation, to compare with.

Tests compare results; `glagcn bench --reference` compares speed.  It works like the published code: eager float32,
feature maps [N,C,T,V] (batch, channels, frames, joints), one convolution per subset and factor, one matrix product per
subset, one output layer call per joint, windows cut one by one.  Nothing is fused, and nothing is slower than this
layout requires.

Parameters have the published names.  The sequence stage and the unshared head were never published and are written in
the same style.
"""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from glagcn import dist
from glagcn.bench import Part, Setting, evaluated_frames
from glagcn.checkpoints.published import Place, published_places
from glagcn.data.dataset import Split
from glagcn.data.plan import BatchSpec
from glagcn.data.windows import Batch
from glagcn.model.cores import full_precision
from glagcn.model.gla_gcn.blocks import AGCN
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.model.interface import Model
from glagcn.poses.normalise import MM_PER_METRE, mirror
from glagcn.skeletons import Skeleton, get_skeleton

NUM_SUBSETS = 3
KERNEL = 9


def published_weights(model: LiftingNetwork) -> dict[str, Tensor]:
    """Copies of the weights of `model`, with published names and shapes."""
    state = model.state_dict()
    return {name: published_tensor(place, state).clone() for name, place in published_places(model).items()}


def published_tensor(place: Place, tensors: Mapping[str, Tensor]) -> Tensor:
    """The published tensor's values in `tensors` (weights of a model, or their gradients), in its published shape."""
    return tensors[place.name][place.part].reshape(place.shape)


class TemporalConv(nn.Module):
    """Convolution over frames, then BatchNorm: [N,C,T,V] to [N,C',ceil(T/stride),V]."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = KERNEL, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, (kernel, 1), stride=(stride, 1), padding=(kernel // 2, 0))
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
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

    def __init__(self, in_channels, out_channels, adjacency, dropout, *, stride=1, residual=True, activation=True):
        super().__init__()
        self.gcn1 = GraphConv(in_channels, out_channels, adjacency, dropout)
        self.tcn1 = TemporalConv(out_channels, out_channels, stride=stride)
        self.residual: nn.Module | None = None
        if residual:
            same = in_channels == out_channels and stride == 1
            self.residual = nn.Identity() if same else TemporalConv(in_channels, out_channels, 1, stride)
        self.relu = nn.ReLU(inplace=True) if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.tcn1(self.gcn1(x))
        return self.relu(y if self.residual is None else y + self.residual(x))


class JointOutput(nn.Module):
    """[N,C,T,V] to [N,T,V,3], one Conv1d call per joint, with one layer for all joints or one per joint."""

    def __init__(self, channels: int, num_joints: int, shared: bool):
        super().__init__()
        self.shared, self.num_joints = shared, num_joints
        self.layers = nn.ModuleList(nn.Conv1d(channels, 3, 1) for _ in range(1 if shared else num_joints))

    def forward(self, x: Tensor) -> Tensor:
        outputs = [self.layers[0 if self.shared else joint](x[..., joint]) for joint in range(self.num_joints)]
        return torch.stack(outputs, dim=-1).permute(0, 2, 3, 1)


class ReferenceModel(nn.Module):
    """S-AGCN as published (sequence_layers 0, head "shared"), or with the sequence stage and an unshared head.

    Arguments as those of LiftingNetwork; "mixed" heads are left out.
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
        assert head in ("shared", "unshared")
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


def reference_of(model: Model) -> ReferenceModel:
    """The reference model with the options and weights of `model`, on its device and in its mode."""
    assert isinstance(model, LiftingNetwork)
    reference = ReferenceModel(
        model.skeleton, model.widths, model.channels, graph=model.graph, sequence_layers=len(model.sequence),
        head=model.head_kind, dropout=model.dropout, causal=model.causal, input_norm=model.input_norm is not None,
    )  # fmt: skip
    pairs: list[tuple[Any, Any]] = [(reference.expand_gcn, model.expand)]
    pairs += zip(reference.sequence, model.sequence, strict=True)
    for number, module in enumerate(model.strided):
        pairs.append((reference.layers_tcngcn[2 * number], module.spread))
        pairs.append((reference.layers_tcngcn[2 * number + 1], module.reduce))
    if model.sequence_head is not None:
        pairs.append((reference.sequence_head, model.sequence_head.block))
        _load_output(reference.sequence_fc, model.sequence_head.output)
    for plain, ours in pairs:
        plain.load_state_dict(_block_weights(ours))
    _load_output(reference.fc, model.head)
    if model.input_norm is not None:
        assert reference.data_bn is not None
        reference.data_bn.load_state_dict(model.input_norm.state_dict())
    return reference.to(model.adjacency.device).train(model.training)


def _block_weights(block: AGCN) -> dict[str, Tensor]:
    """The weights of one block, by their published names.

    Only complete models can be converted, so the block becomes the first block of a small model.
    """
    shell = LiftingNetwork(get_skeleton("h36m17"), (3,), 1, sequence_layers=0, head="shared")
    shell.expand = block
    prefix = "expand_gcn."
    weights = published_weights(shell)
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


@torch.no_grad()
def _load_output(plain: Any, head: Any) -> None:
    if head.shared is not None:
        plain.layers[0].weight.copy_(head.shared.weight[..., None])
        plain.layers[0].bias.copy_(head.shared.bias)
        return
    for joint, layer in enumerate(plain.layers):
        layer.weight.copy_(head.unshared.weight[joint].T[..., None])
        layer.bias.copy_(head.unshared.bias[joint])


class ReferenceLoader:
    """Batches of windows of `num_frames` frames, cut one by one from the sequences of a split and then collated.

    It works like one loader process of the published code: each sample copies the whole sequence of float64 poses,
    slices the window, pads it beyond the ends of the sequence, and may mirror it.  Targets are in metres with a zero
    root, as ours (published: millimetres, with the root in absolute coordinates), which does not affect the speed.
    """

    def __init__(self, split: Split, skeleton: Skeleton, num_frames: int) -> None:
        self.starts, self.num_frames = split.starts, num_frames
        self.input_mirror, self.mirror = skeleton.input_mirror, skeleton.mirror
        self.poses_2d, self.poses_3d = [], []
        for info, start in zip(split.sequences, split.starts, strict=True):
            pixels = split.pixels[start : start + info.length].astype(np.float64)
            self.poses_2d.append(pixels / info.width * 2 - [1, info.height / info.width])
            poses = split.millimetres[start : start + info.length].astype(np.float64)
            self.poses_3d.append((poses - poses[:, skeleton.root : skeleton.root + 1]) / MM_PER_METRE)

    def batch(self, ids: BatchSpec) -> Batch:
        """The windows of `ids` as float32 tensors on the host."""
        sequences = np.searchsorted(self.starts, ids.frames, side="right") - 1
        centers = ids.frames - self.starts[sequences]
        picks = zip(sequences.tolist(), centers.tolist(), ids.flips.tolist(), strict=True)
        return Batch(*_collate([self.sample(*pick) for pick in picks]))

    def sample(self, sequence: int, center: int, flip: bool) -> tuple[np.ndarray, np.ndarray]:
        """One window of float64: inputs [T,V,2] in image coordinates, targets [T,V,3] in metres.

        sequence  its number in the split;  center  its middle frame, counted from the start of the sequence.
        """
        inputs = self._cut(self.poses_2d[sequence].copy(), center)
        targets = self._cut(self.poses_3d[sequence].copy(), center)
        if flip:
            inputs[..., 0] *= -1
            inputs = inputs[:, self.input_mirror]
            targets[..., 0] *= -1
            targets = targets[:, self.mirror]
        return inputs, targets

    def _cut(self, poses: np.ndarray, center: int) -> np.ndarray:
        """The window around a frame, its first or last frame repeated beyond the ends of the sequence."""
        begin = center - self.num_frames // 2
        end = begin + self.num_frames
        low, high = max(begin, 0), min(end, len(poses))
        window = poses[low:high]
        if (low, high) == (begin, end):
            return window
        return np.pad(window, ((low - begin, end - high), (0, 0), (0, 0)), "edge")


def _collate(samples: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[torch.Tensor]:
    """Samples to a batch as PyTorch's default_collate does it; then to the model's type."""
    columns = zip(*samples, strict=True)
    return [torch.stack([torch.from_numpy(part) for part in column]).float() for column in columns]


class ReferenceStepper:
    """Adam with amsgrad and default settings, float32; reads the loss after every step."""

    def __init__(self, model: ReferenceModel, rate: float, sequence_weight: float, frame: int) -> None:
        self.model, self.sequence_weight, self.frame = model.train(), sequence_weight, frame
        self.optimizer = torch.optim.Adam(model.parameters(), lr=rate, amsgrad=True)

    def step(self, batch: Batch) -> float:
        """Make one optimiser step.  Returns the loss."""
        center, sequence = self.model(batch.inputs)
        loss = mean_distance(center, batch.targets[:, self.frame : self.frame + 1])
        if sequence is not None:
            loss = loss + self.sequence_weight * mean_distance(sequence, batch.targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def mean_distance(predicted: Tensor, target: Tensor) -> Tensor:
    """The mean Euclidean distance of poses [N,T,V,3]."""
    return torch.mean(torch.norm(predicted - target, dim=-1))


@torch.no_grad()
def reference_mpjpe(
    model: ReferenceModel,
    loader: ReferenceLoader,
    skeleton: Skeleton,
    frames: np.ndarray,
    *,
    frame: int,
    batch_size: int,
) -> float:
    """MPJPE in mm over `frames` [n] of a split, root set to zero, batch by batch.

    A second pass lifts the mirrored windows; every batch is read back and averaged on the host.
    frame  the target frame of a window.
    """
    model.eval()
    device = next(model.parameters()).device
    order = torch.tensor(skeleton.mirror, device=device)
    input_order = torch.tensor(skeleton.input_mirror, device=device)
    total = 0.0
    for begin in range(0, len(frames), batch_size):
        part = frames[begin : begin + batch_size]
        batch = loader.batch(BatchSpec(part, np.zeros(len(part), dtype=bool)))
        inputs, targets = (tensor.to(device) for tensor in batch[:2])
        straight, _ = model(inputs)
        mirrored, _ = model(mirror(inputs, input_order))
        predicted = (straight + mirror(mirrored, order)) / 2
        predicted[:, :, skeleton.root] = 0
        total += mean_distance(predicted, targets[:, frame : frame + 1]).item() * len(part)
    return total / len(frames) * MM_PER_METRE


# ---------------------------------------------------------------- the parts of `glagcn bench`


def input_part(setting: Setting) -> Part:
    """Make training batches: the loader makes a few hundred windows a second, so they are small."""
    plan, data, device = setting.data.plan, setting.data, dist.device()
    loader = ReferenceLoader(data.train_split, data.train.skeleton, data.train.num_frames)
    windows, numbers = min(64, plan.batch_size, plan.num_windows), count()

    def make() -> None:
        batch = loader.batch(plan.batch(0, next(numbers) % plan.steps_per_epoch).part(0, windows))
        _ = [part.to(device) for part in batch[:2]]

    return Part(make, windows)


def step_part(setting: Setting) -> Part:
    """Make optimiser steps on a batch in memory."""
    optim, model = setting.config.optim, setting.model
    batch = setting.data.train.windows(setting.data.plan.batch(0, 0))
    stepper = ReferenceStepper(reference_of(model), optim.lr, optim.sequence_weight, model.target_frame)

    def step() -> None:
        with full_precision():
            stepper.step(batch)

    return Part(step, len(batch.inputs))


def evaluation_part(setting: Setting) -> Part:
    """Score frames, with test-time flip."""
    data, skeleton, frames = setting.data.test, setting.data.test.store.skeleton, evaluated_frames(setting)
    loader, model = ReferenceLoader(data.split, skeleton, data.store.num_frames), reference_of(setting.model)
    how = {"frame": setting.model.target_frame, "batch_size": setting.data.plan.batch_size}
    found: dict[str, float] = {}

    def evaluate() -> None:
        with full_precision():
            found["reference_mpjpe_mm"] = reference_mpjpe(model, loader, skeleton, frames, **how)

    return Part(evaluate, len(frames), found=found)


PARTS = {"input": input_part, "step": step_part, "eval": evaluation_part}
