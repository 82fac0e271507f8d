"""The mean of several models: errors of networks that were trained from other beginnings partly cancel."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from glagcn.errors import UserError
from glagcn.model.interface import Model, Prediction
from glagcn.model.registry import from_config, model_config

ALIKE = ("skeleton", "frames", "causal", "input", "frame")  # attributes that the members share


class Ensemble(Model):
    """Lifts to the mean of the poses of its members, which read the same windows.

    It is not trained, but made of trained models, such as runs with several seeds: `glagcn export A B --out FILE`.
    Raises UserError where there is no member, or they differ in joints, frames, input or axes.
    """

    def __init__(self, members: Sequence[Model]) -> None:
        super().__init__()
        if not members:
            raise UserError("an ensemble has at least one model")
        first = members[0]
        for number, member in enumerate(members[1:], start=2):
            for name in ALIKE:
                one, other = (getattr(each, name) for each in (first, member))
                if one != other:
                    one, other = (getattr(value, "name", value) for value in (one, other))
                    raise UserError(
                        f"models of one ensemble must have the same {name}: the first has {one}, and number {number} "
                        f"has {other}"
                    )
        self.members = nn.ModuleList(members)
        self.skeleton, self.frames, self.causal = first.skeleton, first.frames, first.causal
        self.input, self.frame = first.input, first.frame
        self.constant = tuple(  # type: ignore[misc]  # by what the members are
            f"members.{number}.{name}" for number, member in enumerate(members) for name in member.constant
        )

    @property
    def _models(self) -> list[Model]:
        return list(self.members)  # type: ignore[arg-type]  # PyTorch says that they are modules

    def forward(self, x: Tensor) -> Prediction:
        """See Model."""
        return Prediction(torch.stack([member(x).target for member in self._models]).mean(dim=0), None)

    def predict_sequence(self, x: Tensor) -> Tensor:
        """See Model."""
        return torch.stack([member.predict_sequence(x) for member in self._models]).mean(dim=0)

    @property
    def sequence_map(self) -> int:
        """See Model: members compute one after the other."""
        return max(member.sequence_map for member in self._models)

    @property
    def map_size(self) -> int:
        """See Model."""
        return max(member.map_size for member in self._models)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """See Model."""
        return cls([from_config(member) for member in config["members"]])

    def config(self) -> dict[str, Any]:
        """See Model."""
        return {"skeleton": self.skeleton.name, "members": [model_config(member) for member in self._models]}

    def options(self) -> Mapping[str, Any]:
        """See Model: those in which the members agree."""
        first, *others = [member.options() for member in self._models]
        return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}

    def for_prediction(self) -> Self:
        """See Model."""
        return type(self)([member.for_prediction() for member in self._models]).eval()

    def describe(self) -> str:
        """Frames and number of members."""
        return f"{self.frames} frames, the mean of {len(self.members)} models"
