"""Read HDF5 files that nobody has checked."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import h5py

from glagcn.errors import UserError

Kind = TypeVar("Kind", h5py.Group, h5py.Dataset)
# What h5py raises on damaged files.  MemoryError is for sizes that a damaged header claims.
ERRORS = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, MemoryError)


@contextlib.contextmanager
def reading(refusal: Callable[[str], UserError]) -> Iterator[None]:
    """Turn any exception that h5py raises in the block into `refusal(reason)`.  A UserError passes through."""
    try:
        yield
    except UserError:
        raise
    except ERRORS as error:
        raise refusal(f"{type(error).__name__}: {error}") from error


def member(group: h5py.Group, name: str, kind: type[Kind]) -> Kind:
    """The group or dataset `name` of a group, which lies in the same file.

    Raises LookupError if there is none, and ValueError if it is of another kind, empty, or refers to another place.
    """
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name} is a link, not an object of this file")  # noqa: TRY004
    found = group[name]
    if not isinstance(found, kind):
        raise ValueError(f"{name} is a {type(found).__name__}, not a {kind.__name__}")  # noqa: TRY004
    if isinstance(found, h5py.Dataset) and (found.shape is None or found.external or found.is_virtual):
        raise ValueError(f"{name} has no values in this file")
    return found
