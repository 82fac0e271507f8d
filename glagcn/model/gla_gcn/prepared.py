"""The blocks of GLA-GCN as they lift on a CPU: what depends on weights alone is computed once, not for each window.

A live stream lifts one window at a time.  A block is then 20 small operators, so each one that is left out counts.
The results are those of the blocks in blocks.py, which GPUs use.  Shapes are plain numbers (int), with -1 for the
windows: a trace for ONNX would else compute them from those of the input at every call.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glagcn.model.gla_gcn.blocks import AGCN, NUM_SUBSETS, TEMPORAL_KERNEL, is_plain

FEW_FRAMES = 9  # up to so many, copying a window's graph for each frame takes less time than a product of its own


class PreparedAGCN(nn.Module):
    """An AGCN in eval mode whose BatchNorms are folded and whose graph convolution aggregates before it mixes.

    R is the number of rows of theta, phi and the term of the scores from phi's bias, of three subsets.
    """

    rows: Tensor
    graph: Tensor
    mix: Tensor
    mix_bias: Tensor
    temporal: Tensor

    def __init__(self, block: AGCN, adjacency: Tensor) -> None:
        super().__init__()
        convolution = block.graph_conv
        self.block, self.embed_channels = block, convolution.embed_channels
        self.stride, self.activation = block.temporal.stride[1], block.activation
        rows = convolution.joint_rows(convolution.embed.weight)
        weights = {
            "rows": rows.flatten(0, 1),  # [R,C]
            "graph": (adjacency + convolution.free_graph).transpose(1, 2),  # [3,V,V], A and B of Eq. 2
            "mix": convolution.mix.weight.permute(0, 2, 3, 1).flatten(1)[..., None, None],  # [C',3*C,1,1]
            "mix_bias": convolution.mix.bias.sum(0),
            "temporal": block.temporal.weight.transpose(2, 3),  # [C',C',9,1]
        }
        for name, weight in weights.items():
            form = torch.channels_last if weight.dim() == 4 else torch.contiguous_format  # as the maps are
            self.register_buffer(name, weight.detach().contiguous(memory_format=form), persistent=False)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """Features [N,C,T,V] and the fixed graph A [3,V,V] to features [N,C',ceil(T/S),V]."""
        if not is_plain(x):
            return self.block(x, adjacency)
        n, (c, t, v) = x.shape[0], map(int, x.shape[1:])
        theta, phi, offset = self._theta_phi(x)
        scores = torch.bmm(phi.transpose(1, 2), theta) + offset.sum(1, keepdim=True)
        graph = self._graph(scores / (self.embed_channels * t))
        rows, lifting = x.permute(0, 2, 3, 1), torch.is_inference_mode_enabled()  # else an export, of any N
        if lifting and n == 1:
            aggregated = torch.bmm(graph.expand(t, -1, -1), rows.squeeze(0))
        elif lifting and t > FEW_FRAMES:
            aggregated = x.new_empty(n, t, NUM_SUBSETS * v, c)
            for each, made, by in zip(rows, aggregated, graph, strict=True):
                torch.bmm(by.expand(t, -1, -1), each, out=made)
        else:
            aggregated = graph[:, None] @ rows
        return self._mixed(aggregated.view(-1, t, v, NUM_SUBSETS * c), self.block.graph_conv.skip(x), self._residual(x))

    def windows(self, x: Tensor, frames: int) -> Tensor:
        """As `forward` for all windows of a sequence [1,C,T,V]: to [T-frames+1,C',frames/S,V].

        Embeddings, their products, the skip and the residual are computed once for each frame; a window's scores are
        sums over it.
        """
        c, t, v = x.shape[1:]
        theta, phi, offset = (rows.view(NUM_SUBSETS, -1, t, v).transpose(1, 2) for rows in self._theta_phi(x))
        scores = (phi.transpose(2, 3) @ theta + offset).double().cumsum(1)  # [3,T,V,V], of the frames so far
        scores = F.pad(scores, (0, 0, 0, 0, 1, 0))
        scores = (scores[:, frames:] - scores[:, :-frames]).transpose(0, 1).to(x.dtype) / (frames * theta.shape[2])
        graph = self._graph(scores.flatten(0, 1))
        # A window's coordinates are neighbours in memory, joint by joint: one product aggregates all its frames.
        points = x[0].permute(2, 1, 0).reshape(v, t * c).unfold(1, frames * c, c).transpose(0, 1)  # [N,V,frames*C]
        gathered = torch.bmm(graph, points).view(-1, v, NUM_SUBSETS, frames, c).permute(0, 3, 1, 2, 4).flatten(3)
        residual = self._residual(x)
        skip = _windows(self.block.graph_conv.skip(x), frames)
        return self._mixed(gathered, skip, None if residual is None else _windows(residual, frames))

    def _theta_phi(self, x: Tensor) -> tuple[Tensor, ...]:
        """Theta and phi [N*3,e*T,V] and the term of the scores from phi's bias [N*3,T,V] of features [N,C,T,V]."""
        c, t, v = map(int, x.shape[1:])
        size = self.embed_channels * t
        rows = (self.rows @ x.reshape(-1, c, t * v)).view(-1, 2 * size + t, v)
        return rows.split_with_sizes([size, size, t], dim=1)

    def _graph(self, scores: Tensor) -> Tensor:
        """The graphs of Eq. 2 [N,V*3,V] from scores [N*3,V,V]: three sums in a row for each receiving joint."""
        v = int(scores.shape[-1])
        graph = torch.softmax(scores, dim=-1).view(-1, NUM_SUBSETS, v, v) + self.graph
        return graph.transpose(1, 2).reshape(-1, NUM_SUBSETS * v, v)

    def _residual(self, x: Tensor) -> Tensor | None:
        return None if self.block.residual is None else self.block.residual(x)

    def _mixed(self, aggregated: Tensor, skip: Tensor, residual: Tensor | None) -> Tensor:
        """The rest of a block from aggregated features [N,T,V,3*C]: to [N,C',ceil(T/S),V]."""
        x = F.conv2d(aggregated.permute(0, 3, 1, 2), self.mix, self.mix_bias)
        x = F.relu_(x.add_(skip))
        x = F.conv2d(x, self.temporal, self.block.temporal.bias, (self.stride, 1), (TEMPORAL_KERNEL // 2, 0))
        if residual is not None:
            x = x.add_(residual)
        return F.relu_(x) if self.activation else x


def _windows(x: Tensor, frames: int) -> Tensor:
    """All windows [T-frames+1,C,frames,V] of a sequence [1,C,T,V], as a view."""
    return x[0].unfold(1, frames, 1).permute(1, 0, 3, 2)
