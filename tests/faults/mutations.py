"""Ways to spoil a file: its bytes, its values, its arrays, its HDF5 objects.  All draws come from a `random.Random`."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np
import torch

DEEP = 100_000
PIECES = (
    b",", b"-", b"9" * 20, b"9" * 5_000, b"\n", b"[", b"nan", b"\0", b"\xff" * 8, b"\x80", b'"', b"[" * DEEP,
    b'{"a":' * DEEP, b"1e999", b"\xff\xfe", b"\xef\xbb\xbf",
)  # fmt: skip
PLAIN = (
    None, True, False, "", "x", "12", "9" * 30, "a" * 10_000, "\0", "\ud800", -1, 0, 1, 3, 2**31, 2**63, -(2**63),
    10**400, 1e308, 1e-320, float("inf"), float("-inf"), float("nan"), {}, [], [[]], [None], [{}], {"x": 1}, {"0": []},
    [[1, 2], [3]], ["a", "b"], [1] * 51, 10**6, 10**9, 0.5, -0.0,
)  # fmt: skip
DTYPES = ("f2", "f4", "f8", ">f8", "i1", "i4", "i8", "u8", "?", "c16", "U8", "S8", "O", "M8[s]", [("a", "f4")])
NUMBERS = (float("nan"), float("inf"), -float("inf"), 1e30, 1e300, -1e9, 2.0**40, 0.0, -1.0, 0.5, 1e6)
Change = Callable[[Random, Any], Any]


def spoil_bytes(rng: Random, content: bytes, begin: int = 0) -> bytes:
    """Bytes changed, removed, put in, or doubled in blocks after `begin`, or the end cut off."""
    for _ in range(rng.choice((1, 1, 1, 3, 30))):
        at = rng.randrange(begin, len(content) + 1)
        block = rng.choice((1, 4, 8, 40, 512))
        choice = rng.random()
        if choice < 0.1:
            content = content[:at]
        elif choice < 0.5:
            content = content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]
        elif choice < 0.6:
            content = content[:at] + content[at + block :]
        elif choice < 0.7:
            content = content[:at] + content[at : at + block] + content[at:]
        else:
            content = content[:at] + rng.choice(PIECES) + content[at + rng.choice((0, 1, block)) :]
    return content


def spoil_value(rng: Random, value: Any, spoil_leaf: Change | None = None) -> Any:
    """`value`, of nested containers, with one of its values replaced, removed or doubled; containers in place.

    spoil_leaf  what else may be done to a value that is no container.
    """
    node: Any = [value]
    top, place = node, 0
    while isinstance(node[place], dict | list) and node[place] and rng.random() < 0.85:
        node = node[place]
        place = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
    choice = rng.random()
    if spoil_leaf and not isinstance(node[place], dict | list) and choice < 0.7:
        node[place] = spoil_leaf(rng, node[place])
    elif choice < 0.75:
        node[place] = rng.choice(PLAIN)
    elif choice < 0.85 and isinstance(node, list):
        node.append(node[place])
    elif choice < 0.9 and isinstance(node, dict):
        node[rng.choice(("x", "", "step", 3, "a" * 300))] = node[place]
    elif node is not top:
        del node[place]
    return top[0] if top else None


def spoil_json(rng: Random, path: Path) -> None:
    """A value of a JSON file, or of one of its lines."""
    text = path.read_text()
    try:
        lines, value = [], json.loads(text)
    except ValueError:
        lines = text.splitlines()
        at = rng.randrange(len(lines))
        value = json.loads(lines[at])
    value = spoil_value(rng, value)
    spoilt = json.dumps(value, skipkeys=True)
    if lines:
        lines[at] = spoilt
        spoilt = "\n".join(lines) + "\n"
    path.write_bytes(spoilt.encode(errors="surrogatepass"))


def spoil_array(rng: Random, array: Any) -> Any:
    """An array or tensor of another type or shape, or with other numbers in it; another value for what is neither."""
    if isinstance(array, torch.Tensor):
        kinds: list[Callable[[], Any]] = [
            array.half, array.bfloat16, array.long, array.bool, lambda: array.to(torch.complex64),
            lambda: array.to("meta"), array.to_sparse, lambda: torch.zeros(1).expand(10**6, 10**6),
            lambda: torch.zeros(0), lambda: array.reshape(-1)[::2], lambda: torch.full_like(array, float("nan")),
        ]  # fmt: skip
        return rng.choice(kinds)()
    if not isinstance(array, np.ndarray):
        return rng.choice(PLAIN)
    choice = rng.random()
    if choice < 0.25:
        return array.astype(rng.choice(DTYPES))
    if choice < 0.5:
        shapes: list[Callable[[], Any]] = [
            array.ravel, lambda: array[None], lambda: array.T, lambda: array[:0], lambda: array[..., :0],
            lambda: array[:-1], lambda: array[:1], lambda: np.concatenate([array, array]), array.tolist,
            lambda: array[..., None], lambda: np.concatenate([array] * 3, axis=-1), lambda: array.dtype.type(3),
        ]  # fmt: skip
        return rng.choice(shapes)()
    if choice < 0.9 and array.size:
        array = array.copy()
        for _ in range(rng.choice((1, 1, 5))):
            array.reshape(-1)[rng.randrange(array.size)] = rng.choice(NUMBERS)
        if rng.random() < 0.3:
            array[...] = rng.choice(NUMBERS)
        return array
    return rng.choice(PLAIN)


def spoil_hdf5(rng: Random, path: Path) -> None:
    """An object of an HDF5 file: removed, of another kind, type or shape, linked elsewhere, or huge."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = rng.choice(names)
        held = file[name]
        attributes, array = dict(held.attrs), held[()] if isinstance(held, h5py.Dataset) else None
        if attributes and rng.random() < 0.3:
            attributes[rng.choice(list(attributes))] = rng.choice(
                (0, -1, 2**40, 1.5, float("nan"), "x", b"\xff", [1, 2])
            )
        del file[name]
        if array is not None and rng.random() < 0.5:
            file[name] = spoil_array(rng, array)
        else:
            makers: list[Callable[[], Any]] = [
                lambda: None, lambda: file.create_group(name),
                lambda: file.create_dataset(name, data=h5py.Empty("f4")),
                lambda: file.create_dataset(name, (10**12, 17, 2), "f4", chunks=(1000, 17, 2)),
                lambda: file.create_dataset(name, data=["a", "b"]), lambda: file.create_dataset(name, data=3.0),
                lambda: file.__setitem__(name, h5py.SoftLink(f"/{name}")),
                lambda: file.__setitem__(name, h5py.ExternalLink("/dev/zero", "/x")),
            ]  # fmt: skip
            rng.choice(makers)()
        if name in file:
            file[name].attrs.update(attributes)
