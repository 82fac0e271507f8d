"""The temporal convolutional network of VideoPose3D, a baseline.

Pavllo, Feichtenhofer, Grangier and Auli, "3D human pose estimation in video with temporal convolutions and
semi-supervised training", CVPR 2019; implemented from section 3 and the appendix on training with strided convolutions.
"""

from collections.abc import Iterator, Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glagcn.model.interface import Model, Prediction
from glagcn.model.layers import BatchNorm, Dropout, PoseInput, without_autocast
from glagcn.model.widths import check_widths
from glagcn.skeletons import Skeleton

ALIGNED = 8  # numbers: tensor cores need bfloat16 rows of a multiple of 16 bytes
OUTPUT_SCALE = 0.1  # factor on the output layer's weights in the tuned initialisation


class Layer(nn.Module):
    """Linear layer, BatchNorm, ReLU and dropout: [N,C] to [N,C'].

    coordinates  the input is 2D coordinates and confidences, which bfloat16 would round to steps of several pixels.
    """

    def __init__(self, inputs: int, outputs: int, dropout: float, *, coordinates: bool = False) -> None:
        super().__init__()
        self.coordinates = coordinates
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.norm = BatchNorm(outputs)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Rows [N,C] to rows [N,C']."""
        weight = self.linear.weight
        if self.coordinates and x.device.type != "meta" and torch.is_autocast_enabled(x.device.type):
            rounded = x.to(torch.bfloat16)
            x = torch.cat([rounded, (x - rounded).to(torch.bfloat16)], dim=1)  # and the rounding error
            weight = torch.cat([weight, weight], dim=1)
        if missing := -x.shape[1] % ALIGNED:
            x, weight = F.pad(x, (0, missing)), F.pad(weight, (0, missing))
        return self.dropout(F.relu(self.norm(F.linear(x, weight))))

    def along(self, x: Tensor, width: int = 1, dilation: int = 1) -> Tensor:
        """A convolution along a sequence [T,C], in eval mode: [T - (width - 1) * dilation, C'].

        One product for each tap, added up: on a CPU faster than a dilated convolution, which copies the map first.
        """
        taps = self.linear.weight.unflatten(1, (width, -1)).transpose(0, 2)  # [C,width,C']
        frames = len(x) - (width - 1) * dilation
        result = x[:frames] @ taps[:, 0]
        for tap in range(1, width):
            result.addmm_(x[tap * dilation :][:frames], taps[:, tap])
        return F.relu_(self.norm(result))


class Block(nn.Module):
    """A convolution over `width` frames and one over single frames, with a residual: [N,T,C] to [N,T/width,C].

    The residual is the middle frame of each group of `width` frames, or the last in a causal model.
    """

    def __init__(self, channels: int, width: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.width, self.kept = width, width - 1 if causal else width // 2
        self.wide, self.narrow = Layer(width * channels, channels, dropout), Layer(channels, channels, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Features [N,T,C] to features [N,T/width,C]."""
        n, t, c = x.shape
        y = self.narrow(self.wide(x.reshape(n * t // self.width, self.width * c)))
        return x[:, self.kept :: self.width] + y.view(n, t // self.width, c)

    def along(self, x: Tensor, dilation: int) -> Tensor:
        """The block for all windows of a sequence [T,C], in eval mode: [T - (width - 1) * dilation, C]."""
        y = self.narrow.along(self.wide.along(x, self.width, dilation))
        return y.add_(x[self.kept * dilation :][: len(y)])


class TemporalConv(Model):
    """Temporal convolutions on the flattened 2D joints, in the strided form that predicts one pose per window.

    Each layer reduces the T = product of `widths` frames by its width, down to one frame.  The stride equals the width,
    so each convolution is a matrix product on a reshaped map.

    widths    filter widths; odd, so that there is a middle frame.
    channels  features of a frame, C in the shapes of layers.
    input     see PoseInput.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        widths: Sequence[int],
        channels: int,
        *,
        dropout: float = 0.25,
        causal: bool = False,
        input: str = "xy",
        relative_input: bool = False,
    ) -> None:
        super().__init__()
        check_widths(widths)
        self.skeleton, self.widths, self.channels = skeleton, tuple(widths), channels
        self.frames, self.causal, self.dropout = prod(widths), causal, dropout
        self.input, self.relative_input = input, relative_input
        self.pose_input = PoseInput(skeleton, relative_input, input)
        first, *others = self.widths
        self.expand = Layer(first * len(input) * skeleton.num_joints, channels, dropout, coordinates=True)
        self.blocks = nn.ModuleList(Block(channels, width, dropout, causal) for width in others)
        self.shrink = nn.Linear(channels, 3 * skeleton.num_joints)

    def forward(self, x: Tensor) -> Prediction:
        """Normalised 2D poses [N,T,input joints,C] to a Prediction in metres.  Raises UserError: see `check_input`."""
        self.check_input(x)
        n, left = x.shape[0], self.frames // self.widths[0]
        x = self.pose_input(x).reshape(n * left, -1)  # rows of the first width's 2D poses
        x = self.expand(x).view(n, left, self.channels)
        for block in self.blocks:
            x = block(x)
        x = x[:, 0].to(self.dtype)
        with without_autocast(x):  # bfloat16 would round one metre to steps of 4 mm
            pose = self.shrink(x)
        return Prediction(pose.view(n, 1, self.skeleton.num_joints, 3), None)

    def predict_sequence(self, x: Tensor) -> Tensor:
        """See Model.  Each layer is computed once, as a dilated convolution along the sequence."""
        x = self.expand.along(self.pose_input(x[None])[0].flatten(1), self.widths[0])
        dilation = self.widths[0]
        for block, width in zip(self.blocks, self.widths[1:], strict=True):
            assert isinstance(block, Block)
            x = block.along(x, dilation)
            dilation *= width
        return self.shrink(x).unflatten(1, (-1, 3))

    @property
    def sequence_map(self) -> int:
        """See Model."""
        return max(len(self.input) * self.skeleton.num_joints, self.channels)

    @torch.no_grad()
    def initialise(self, recipe: str, mean_pose: Tensor) -> None:
        """Use PyTorch's default initialisation; with "tuned", the output starts near the mean training pose [V,3]."""
        for module in self.modules():
            if isinstance(module, nn.Linear | BatchNorm):
                module.reset_parameters()
        if recipe == "tuned":
            self.shrink.weight.mul_(OUTPUT_SCALE)
            self.shrink.bias.copy_(mean_pose.flatten())

    def output_weights(self) -> Iterator[Tensor]:
        """The weights of the output layer."""
        yield self.shrink.weight

    @property
    def map_size(self) -> int:
        """The size in numbers of the largest feature map of one window."""
        numbers = len(self.input) * self.skeleton.num_joints
        return max(self.frames * numbers, self.frames // self.widths[0] * self.channels)

    def describe(self) -> str:
        """Frames, filter widths and channels."""
        return f"{self.frames} frames ({'x'.join(map(str, self.widths))}), {self.channels} channels"
