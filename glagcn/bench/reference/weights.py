"""Copies our weights to the reference model, so that both compute the same function."""

from typing import Any

import torch
from torch import Tensor

from glagcn.bench.reference.model import ReferenceModel
from glagcn.checkpoints.published.layout import published_weights
from glagcn.model.gla_gcn.blocks import AGCN
from glagcn.model.interface import Model
from glagcn.model.network import LiftingNetwork
from glagcn.skeleton import get_skeleton


def reference_of(model: Model) -> ReferenceModel:
    """The reference model with the options and weights of `model`, on its device and in its mode.

    Raises ValueError for a mixed head and TypeError for another kind of model.
    """
    if not isinstance(model, LiftingNetwork):
        raise TypeError(f"the reference is a GLA-GCN, not a {type(model).__name__}")
    reference = ReferenceModel(
        model.skeleton,
        model.widths,
        model.channels,
        graph=model.graph,
        sequence_layers=len(model.sequence),
        head=model.head_kind,
        dropout=model.dropout,
        causal=model.causal,
        input_norm=model.input_norm is not None,
    )
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
