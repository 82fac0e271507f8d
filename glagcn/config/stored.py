"""Check options that a file stores, such as a checkpoint or config.json, before anything uses them."""

import math
from collections.abc import Mapping
from types import UnionType
from typing import Any, get_args, get_origin

from glagcn.config.checks import check_number
from glagcn.config.config import GROUPS
from glagcn.config.options import flag_of, key_of, options_of
from glagcn.errors import UserError

LARGEST = 2**63
# Their types in older versions: resolve.from_dict converts them.
OLDER_TYPES = {"compile": bool}


def check_stored(values: Mapping[Any, Any]) -> None:
    """Raise UserError unless every known option in `values`, by key, has a type and value that its flag may have.

    Unknown keys are those of other versions, and pass.
    """
    types = {key_of(option): option.type for _, option in options_of(*GROUPS.values())}
    for _, option in options_of(*GROUPS.values()):
        key, off = key_of(option), option.metadata["off"]
        if key not in values:
            continue
        value = values[key]
        if off is not None and value == off:
            continue
        if not _fits(value, types[key]) and not isinstance(value, OLDER_TYPES.get(key, ())):
            raise UserError(f"the option {key} is {value!r:.80}; expected a value of {flag_of(option)}")
        check_number(flag_of(option), key, value)


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value read from a file is of a type such as `float | None` or `tuple[int, ...]`."""
    if get_origin(kind) is UnionType or isinstance(kind, UnionType):
        return any(_fits(value, part) for part in get_args(kind))
    if get_origin(kind) is tuple:
        return isinstance(value, list | tuple) and all(_fits(part, get_args(kind)[0]) for part in value)
    if kind is float and isinstance(value, float):
        return not math.isnan(value)
    if kind in (int, float):
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST
    return value is None if kind is type(None) else isinstance(value, kind)
