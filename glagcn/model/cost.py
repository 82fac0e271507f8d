"""What a model costs: its parameters, and the arithmetic of one window."""

from glagcn.model.interface import Model


def count_cost(model: Model) -> tuple[int, int]:
    """(parameters, floating-point operations of lifting one window forward: see Model.flops)."""
    return sum(parameter.numel() for parameter in model.parameters()), model.flops()
