"""The number of parameters and operations of a model."""

from glagcn.model.interface import Model


def count_cost(model: Model) -> tuple[int, int]:
    """(number of parameters, floating-point operations of the forward pass of one window; see Model.flops)."""
    return sum(parameter.numel() for parameter in model.parameters()), model.flops()
