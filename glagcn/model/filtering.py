"""The convolution over nine frames with five products where the plain one has nine: minimal filtering, F(3,3).

Three outputs of a filter with three taps need five products instead of nine (Winograd's algorithm), of sums of inputs
(`_spread`), of sums of taps (`_taps`), and summed up in three ways (`_collect`); its points are 0, 1, -1, 2 and
infinity.  Nine taps are three such filters, each three frames later, so each reads what the one before it reads a tile
later: their products add up before the last sums.  What remains are five convolutions with three taps over tiles of
three frames.  In float32 the error is 1.4 times that of the plain convolution.

Maps in here are as they lie in memory, [N,V,T,C].
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

TILE, KERNEL = 3, 9
LEAST_FRAMES, LEAST_FLOATS = 27, 1 << 19  # of a map; below, the sums cost more than the products that they save
PART_FLOATS = 1 << 20  # what a part of a map may hold: its sums should stay in the cache
# Sums of three taps, one a product.
TAPS = ((1 / 2, 0, 0), (-1 / 2, -1 / 2, -1 / 2), (-1 / 6, 1 / 6, -1 / 6), (1 / 6, 1 / 3, 2 / 3), (0, 0, 1))


def pays(x: Tensor) -> bool:
    """Whether a map [N,C,V,T] is large enough, for as many channels as the caller knows to be enough."""
    return x.shape[3] >= LEAST_FRAMES and x.numel() >= LEAST_FLOATS


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [N,V,T,C] and weight [C',C,1,9] to [N,V,T,C'], padded by four frames of zeros at both ends."""
    n, v, t, _ = x.shape
    tiles = -(-t // TILE)
    taps = _taps(weight)
    result = x.new_empty(n, v, TILE * tiles, weight.shape[0])
    for part, out in _parts(x, result.view(n, v, tiles, TILE, -1)):
        products = [
            F.conv2d(each.permute(0, 3, 1, 2), tap).permute(0, 2, 3, 1)
            for each, tap in zip(_spread(part, tiles), taps, strict=True)
        ]
        _collect(products, bias, out)
    return result if t == TILE * tiles else result[:, :, :t].clone()


def input_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    """The gradient [N,V,T,C] of x, where `gradient` [N,V,T,C'] is that of the result."""
    return convolve(gradient, weight.flip(3).transpose(0, 1))


def weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """The gradient [C',C,1,9] of the weight, where `gradient` [N,V,T,C'] is that of the result."""
    tiles = -(-x.shape[2] // TILE)
    channels, out_channels = x.shape[3], gradient.shape[3]
    sums = x.new_zeros(len(TAPS), KERNEL // TILE, out_channels, channels)
    for part, given in _parts(x, gradient):
        for number, (read, back) in enumerate(zip(_spread(part, tiles), _spread_back(given, tiles), strict=True)):
            # Rows of `back` that are 0 part the joints, so a shift of all rows is a shift of every joint's tiles.
            rows, outputs = read.reshape(-1, channels), back.view(-1, out_channels)[:-2].t()
            for shift, total in enumerate(sums[number]):
                total.addmm_(outputs, rows[shift : shift + outputs.shape[1]])
    taps = torch.tensor(TAPS, dtype=x.dtype, device=x.device)
    return torch.einsum("pi,pjoc->ocji", taps, sums).reshape(out_channels, channels, 1, KERNEL)


def _parts(x: Tensor, other: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The same few samples of both, in turns."""
    size = max(1, PART_FLOATS * torch.get_num_threads() // x[0].numel())
    return zip(x.split(size), other.split(size), strict=True)


def _spread(x: Tensor, tiles: int) -> list[Tensor]:
    """The five sums of the five frames that a tile reads, each [N,V,tiles+2,C]: two tiles more, for the last taps."""
    length = TILE * (tiles + 2) + 2
    padded = F.pad(x, (0, 0, KERNEL // 2, length - KERNEL // 2 - x.shape[2]))
    a, b, c, d, e = (padded[:, :, i : length - 4 + i : TILE] for i in range(5))
    middle, late = d - b, d - c
    return [
        torch.sub(a, c).mul_(2).add_(middle),
        torch.sub(late, b, alpha=2),
        torch.sub(late, c, alpha=2).add_(b, alpha=2),
        middle,
        torch.sub(e, c).sub_(middle, alpha=2),
    ]


def _taps(weight: Tensor) -> list[Tensor]:
    """The weights [C',C,1,3] of the five convolutions over tiles."""
    thirds = weight.reshape(*weight.shape[:2], KERNEL // TILE, TILE)
    taps = torch.einsum("pi,ocji->pocj", torch.tensor(TAPS, dtype=weight.dtype, device=weight.device), thirds)
    return [tap.unsqueeze(2).contiguous(memory_format=torch.channels_last) for tap in taps]


def _collect(products: list[Tensor], bias: Tensor | None, out: Tensor) -> None:
    """Write the three frames of every tile, of five products [N,V,tiles,C'], to `out` [N,V,tiles,3,C']."""
    first, plus, minus, double, last = products
    if bias is not None:
        plus += bias  # in all three sums
    even, odd = plus + minus, plus.sub_(minus)
    torch.add(even, first.add_(double), out=out[..., 0, :])
    torch.add(odd, double, alpha=2, out=out[..., 1, :])
    torch.add(even.add_(last), double, alpha=4, out=out[..., 2, :])


def _spread_back(gradient: Tensor, tiles: int) -> list[Tensor]:
    """The gradients of the five products, each [N,V,tiles+2,C'], of which the last two tiles are 0."""
    padded = F.pad(gradient, (0, 0, 0, TILE * (tiles + 2) - gradient.shape[2]))
    a, b, c = (padded[:, :, i::TILE] for i in range(TILE))
    even = a + c
    return [
        a.contiguous(),
        even + b,
        torch.sub(even, b),
        torch.add(a, b, alpha=2).add_(c, alpha=4),
        c.contiguous(),
    ]
