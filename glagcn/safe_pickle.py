"""Read npz members with pickled containers of arrays, without executing any code from the pickle."""

import math
import pickle
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from glagcn.errors import UserError

PLAIN_DTYPE = re.compile(r"(b1|[iu][1248]|f[248]|S\d+|U\d+|O8?|\?)")
ZIP_ERRORS = (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError)  # the last: said to be encrypted


def load_object(path: Path, key: str, hint: str, many: bool = False) -> object:
    """The Python object in the 0-d object array `key` of an npz.

    many  an object array of any shape is read too, as the array.
    hint  part of the error messages, such as "expected an npz with the key 'data'".
    Raises UserError for a truncated file, a file that is not an npz, a missing key, or a forbidden name in the pickle.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if f"{key}.npy" not in archive.namelist():
                found = ", ".join(name.removesuffix(".npy") for name in archive.namelist()) or "nothing"
                raise UserError(f"{path}: no key {key!r}; found {found}; {hint}")  # noqa: TRY301
            with archive.open(f"{key}.npy") as member:
                np.lib.format.read_magic(member)
                shape, _, dtype = np.lib.format.read_array_header_1_0(member)  # later versions: structured dtypes only
                if dtype.kind != "O" or (shape != () and not many):
                    found = f"an array of {dtype} {shape}"
                    raise UserError(f"{path}: {key!r} is {found}, expected one pickled dict; {hint}")  # noqa: TRY301
                value = _Unpickler(member).load()
                member.read()  # zipfile compares the checksum at the end of the member
    except UserError as error:
        raise UserError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    except ZIP_ERRORS as error:
        raise UserError(f"{path} is not an npz or is truncated ({error}); {hint}; get it again") from error
    except Exception as error:  # NumPy and the unpickler raise exceptions of any kind for damaged content
        raise UserError(f"{path}: {key!r} is damaged ({type(error).__name__}: {error}); {hint}") from error
    return value.item() if isinstance(value, np.ndarray) and value.shape == () else value


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        """The allowed class of this name.  Raises UserError for any other, which could run code."""
        # NumPy 2 renamed numpy.core to numpy._core; files with both names exist.
        found = ALLOWED.get(f"{module.replace('numpy._core', 'numpy.core')}.{name}")
        if found is None:
            raise UserError(
                f"the pickle inside asks for {module}.{name}; only NumPy arrays and plain containers are allowed. "
                "Nothing was executed. Do not use this file unless you trust its origin."
            )
        return found


class _Dtype:
    """Stands for numpy.dtype.  A structured dtype that is made up would let NumPy take any number for an object."""

    def __init__(self, code: str, *_: object) -> None:
        if not PLAIN_DTYPE.fullmatch(code):
            raise ValueError(f"dtype {code!r} is not a plain number or string type")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        # (version, byte order, sub-array, names, fields, size, alignment, flags): only the byte order is used.
        if any(part is not None for part in state[2:5]) or len(state) > 8:
            raise ValueError("structured dtypes and dtypes with metadata are not allowed")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray):
    def __new__(cls, *_: object) -> "_Array":
        return super().__new__(cls, (0,))

    def __setstate__(self, state: tuple) -> None:
        version, shape, kind, fortran, content = state
        if min(shape, default=0) < 0 or (isinstance(content, list) and len(content) != math.prod(shape)):
            raise ValueError(f"an array of shape {shape}")
        super().__setstate__((version, shape, kind.dtype, fortran, content))  # NumPy compares shape and bytes


class _Values:
    """The array or scalar of a buffer.  A class with __setstate__: of a function, a pickle could set attributes."""

    def __new__(cls, content: Any, kind: Any, shape: tuple = (), order: Any = "C") -> Any:
        if isinstance(content, _Dtype):  # a scalar, whose arguments are dtype and bytes
            return cls(kind, content)[()]
        if not isinstance(content, bytes | bytearray):
            raise TypeError("an array of unknown content")
        return np.frombuffer(content, kind.dtype).reshape(shape, order=order)

    def __setstate__(self, state: object) -> None:
        raise ValueError("a state of a function")


class _Bytes(_Values):
    def __new__(cls, text: str = "", encoding: str = "latin1") -> bytes:  # type: ignore[misc]  # noqa: ARG004
        return text.encode("latin1")


ALLOWED = {
    "numpy.dtype": _Dtype, "numpy.ndarray": _Array, "numpy.core.multiarray._reconstruct": _Array,
    "numpy.core.multiarray.scalar": _Values, "numpy.core.numeric._frombuffer": _Values,
    "_codecs.encode": _Bytes, "__builtin__.bytes": _Bytes,
}  # fmt: skip
