"""Read npz members with pickled containers of arrays, without executing any code from the pickle.

numpy.load(allow_pickle=True) executes code from the file.  Here a pickle can only build lists, tuples, dicts, sets,
strings, numbers and the placeholder classes below.  NumPy's own unpickling is not used, because forged array and dtype
states can make it read foreign memory; the arrays are made from their raw bytes with `frombuffer` after loading.
"""

import pickle
import re
import zipfile
import zlib
from pathlib import Path
from typing import IO, Literal

import numpy as np

from glagcn.errors import UserError

PLAIN_DTYPE = re.compile(r"(b1|[iu][1248]|f[248]|S\d+|U\d+|O8?|\?)")

BYTES = (bytes, bytearray)
ZIP_ERRORS = (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError)  # the last: said to be encrypted


def load_object(path: Path, key: str, hint: str, many: bool = False) -> object:
    """The Python object in the 0-d object array `key` of an npz; its arrays are views of the bytes read.

    many  an object array of any shape is read too, as the array.
    hint  part of the error messages, such as "expected an npz with the key 'data'".
    Raises UserError for a truncated file, a file that is not an npz, a missing key, or a forbidden name in the pickle.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if f"{key}.npy" not in archive.namelist():
                found = ", ".join(name.removesuffix(".npy") for name in archive.namelist()) or "nothing"
                raise UserError(f"{path}: no key {key!r}; found {found}; {hint}")
            with archive.open(f"{key}.npy") as member:
                value = _read_member(path, key, member, hint, many)
                member.read()  # zipfile compares the checksum at the end of the member
                return value
    except ZIP_ERRORS as error:
        raise UserError(f"{path} is not an npz or is truncated ({error}); {hint}; get it again") from error


def _read_member(path: Path, key: str, member: IO[bytes], hint: str, many: bool) -> object:
    shape, dtype = _read_header(path, key, member, hint)
    if dtype.kind != "O" or (shape != () and not many):
        raise UserError(f"{path}: {key!r} is an array of {dtype} {shape}, expected one pickled dict; {hint}")
    try:
        value = _Resolver().resolve(_ArrayUnpickler(member, path).load())
    except (UserError, *ZIP_ERRORS):
        raise
    except Exception as error:  # a damaged pickle can make the unpickler raise any exception
        raise UserError(f"{path}: the pickle in {key!r} is damaged ({type(error).__name__}: {error})") from error
    return value.item() if isinstance(value, np.ndarray) and value.shape == () else value


def _read_header(path: Path, key: str, member: IO[bytes], hint: str) -> tuple[tuple[int, ...], np.dtype]:
    try:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
    except ZIP_ERRORS:
        raise
    except Exception as error:  # NumPy parses the header as Python, and lets several exceptions of that pass
        raise UserError(f"{path}: {key!r} is not a .npy member ({error}); {hint}") from error
    return shape, dtype


class _Dtype:
    """Placeholder for numpy.dtype; accepts plain numbers, strings and objects only."""

    def __init__(self, code: str, align: bool = False, copy: bool = True) -> None:  # noqa: ARG002
        if not isinstance(code, str) or not PLAIN_DTYPE.fullmatch(code):
            raise ValueError(f"dtype {code!r} is not a plain number or string type")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        # (version, byte order, sub-array, names, fields, size, alignment, flags): only the byte order is used.
        if any(part is not None for part in state[2:5]) or len(state) > 8:
            raise ValueError("structured dtypes and dtypes with metadata are not allowed")
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Placeholder for numpy.ndarray; _Resolver converts it to an array."""

    def __init__(self, *_: object) -> None:
        self.parts: tuple = ()

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, content = state
        self._set(shape, dtype, bool(fortran), content)

    def _set(self, shape: tuple, dtype: _Dtype, fortran: bool, content: bytes | bytearray | list) -> None:
        if not isinstance(dtype, _Dtype) or not isinstance(content, list if dtype.dtype.kind == "O" else BYTES):
            raise ValueError("an array of unknown content")  # noqa: TRY004
        if min(shape, default=0) < 0:
            raise ValueError(f"an array of shape {shape}")
        self.parts = (tuple(int(n) for n in shape), dtype.dtype, fortran, content)


class _Buffer(_Array):
    """Placeholder for the function of pickle protocol 5 that makes arrays from buffers."""

    def __init__(self, content: bytes | bytearray, dtype: _Dtype, shape: tuple, order: str) -> None:
        self._set(shape, dtype, order == "F", content)


class _Scalar:
    """Placeholder for a NumPy scalar."""

    def __init__(self, dtype: _Dtype, content: bytes) -> None:
        self.value = np.frombuffer(content, dtype.dtype, count=1)[0]

    def __setstate__(self, state: object) -> None:
        raise ValueError("a number with a state")


class _Bytes:
    """Placeholder for the function with which pickle protocol 2 makes bytes from Latin-1 text."""

    def __new__(cls, text: str = "", encoding: str = "latin1") -> bytes:  # type: ignore[misc]
        if encoding != "latin1":
            raise ValueError(f"bytes in the encoding {encoding!r}")
        return text.encode("latin1")

    def __setstate__(self, state: object) -> None:
        raise ValueError("bytes with a state")


# Each class has a __setstate__: without it, a pickle could set class attributes and so affect files read later.
# NumPy 2 renamed numpy.core to numpy._core; files with both names exist.
ALLOWED = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Buffer for core in ("core", "_core")},
    ("_codecs", "encode"): _Bytes,
    ("__builtin__", "bytes"): _Bytes,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
}


class _ArrayUnpickler(pickle._Unpickler):
    """The unpickler in Python, not the one in C: the C memo is a list twice as long as the largest entry number in the
    file, so six bytes could allocate gigabytes.  The memo in Python is a dict, and the speed is the same for few large
    arrays.
    """

    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__(file)
        self.path = path

    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in ALLOWED:
            raise UserError(
                f"{self.path}: the pickle inside asks for {module}.{name}; only NumPy arrays and plain containers are "
                "allowed. Nothing was executed. Do not use this file unless you trust its origin."
            )
        return ALLOWED[module, name]

    def get_extension(self, code: int) -> None:
        """Reject registered extension codes, which would bypass `find_class`."""
        raise UserError(f"{self.path}: the pickle inside asks for extension {code}, which is not allowed")


class _Resolver:
    """Replaces every placeholder by its value, in object arrays and all plain containers.

    A shared object is resolved once; otherwise nested sharing would grow exponentially.
    """

    def __init__(self) -> None:
        self.known: dict[int, object] = {}  # by id(), which is unique while the unpickled objects exist
        self.open: set[int] = set()

    def resolve(self, value: object) -> object:
        """The resolved `value`.  Raises ValueError if it contains itself."""
        if isinstance(value, _Scalar):
            return value.value
        if not isinstance(value, _Array | dict | list | tuple | set | frozenset):
            return value
        if id(value) in self.open:
            raise ValueError(f"a {type(value).__name__} that contains itself")
        if id(value) not in self.known:
            self.open.add(id(value))
            self.known[id(value)] = self._make(value)
            self.open.remove(id(value))
        return self.known[id(value)]

    def _make(self, value: object) -> object:
        if isinstance(value, _Array):
            return self._array(*value.parts)
        if isinstance(value, dict):
            return {self.resolve(key): self.resolve(item) for key, item in value.items()}
        items = [self.resolve(item) for item in value]  # type: ignore[attr-defined]  # a container, as resolve looks
        return type(value)(items)  # type: ignore[call-arg]

    def _array(self, shape: tuple[int, ...], dtype: np.dtype, fortran: bool, content: bytes | list) -> np.ndarray:
        order: Literal["F", "C"] = "F" if fortran else "C"
        if dtype.kind != "O":
            return np.frombuffer(content, dtype).reshape(shape, order=order)  # type: ignore[arg-type]
        flat = np.empty(len(content), dtype=object)
        for i, value in enumerate(content):
            flat[i] = self.resolve(value)
        return flat.reshape(shape, order=order)
