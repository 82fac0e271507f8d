"""Pickles in npz files: those of NumPy are read, and those made to harm are refused by name and not executed."""

import copyreg
import importlib
import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from glagcn import safe_pickle
from glagcn.data.videopose3d.files import VideoPose3DFiles
from glagcn.errors import UserError
from tests.data import tiny_3dhp, tiny_videopose3d

GLOBAL, REDUCE, MARK, TUPLE, STOP = b"c", b"R", b"(", b"t", b"."


@pytest.fixture
def witness(tmp_path):
    """A file that a successful attack creates."""
    return tmp_path / "witness"


@pytest.fixture(scope="module")
def content():
    return tiny_videopose3d.h36m_content(("gt",), frames=3, actions=("Walking",), subjects=("S1", "S9"))


class Call:
    """Unpickles to function(*arguments), then a state is set."""

    def __init__(self, function, *arguments, state=None):
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.parts


def text(value):
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def name(module, attribute):
    return GLOBAL + f"{module}\n{attribute}\n".encode()


def shell(witness):
    return f"touch {witness}"


def array(values=(1.0,), **changes):
    """A pickled array whose parts can be forged: code, dtype_state, shape, content."""
    parts = {"code": "f8", "dtype_state": (3, "<", None, None, None, -1, -1, 0), "shape": (len(values),)}
    parts |= {"content": np.array(values).tobytes()} | changes
    kind = Call(np.dtype, parts["code"], False, True, state=parts["dtype_state"])
    reconstruct = np.array(0).__reduce__()[0]
    return Call(reconstruct, np.ndarray, (0,), b"b", state=(1, parts["shape"], kind, False, parts["content"]))


def objects(*values):
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


SYSTEM = name("os", "system")

# What the pickle holds, given the witness's path: bytes, or something to be pickled.
ATTACKS = {
    "os.system": lambda w: SYSTEM + MARK + text(shell(w)) + TUPLE + REDUCE + STOP,
    "protocol 0, INST": lambda w: MARK + b"V" + shell(w).encode() + b"\n" + b"ios\nsystem\n" + STOP,
    "OBJ": lambda w: MARK + SYSTEM + text(shell(w)) + b"o" + STOP,
    "STACK_GLOBAL": lambda w: text("os") + text("system") + b"\x93" + text(shell(w)) + b"\x85" + REDUCE + STOP,
    "NEWOBJ": lambda w: name("subprocess", "Popen") + text(shell(w)) + b"\x85" + b"\x81" + STOP,
    "eval": lambda w: {"S1": Call(eval, f"open({str(w)!r}, 'w').close()")},
    "numpy.load": lambda w: Call(np.load, str(w), "r", True),
    "numpy's dotted os": lambda w: b"\x80\x04" + text("numpy") + text("os.system") + b"\x93" + STOP,
    "copyreg.add_extension": lambda w: Call(copyreg.add_extension, "os", "system", 77),
    "hidden deep": lambda w: {"S1": {"Walking": objects(objects([(objects(Call(os.mkdir, str(w))),)]))}},
    "hidden in a key": lambda w: {("S1", Call(os.mkdir, str(w))): 1},
    "hidden in a dtype's state": lambda w: array(dtype_state=(3, "<", *[None] * 3, -1, -1, Call(os.mkdir, str(w)))),
    "extension, unknown": lambda w: b"\x80\x02\x82\x4d" + STOP,
    "a state for a class": lambda w: name("numpy.core.multiarray", "scalar") + b"N}" + text("value") + b"K\x01s\x86b.",
    "a deep nest": lambda w: b"(" * 5000 + b"t" * 5000 + STOP,
    "no end": lambda w: text("S1"),
    "a huge string that is not there": lambda w: b"\x8d" + (2**40).to_bytes(8, "little") + b"abc" + STOP,
    "3D of objects": lambda w: {"S1": {"Walking": np.full((3, 32, 3), None)}},
}
FORGED = {
    "a structured dtype": lambda: np.zeros(3, dtype=[("S1", "f8"), ("x", "O")]),
    "fields through the state": lambda: array(dtype_state=(3, "|", None, ("a",), {"a": ("O", 0)}, 8, 1, 16)),
    "a buffer that is an array of objects": lambda: Call(
        importlib.import_module("numpy._core.numeric")._frombuffer, objects(1, 2), Call(np.dtype, "u8"), (2,), "C"
    ),
    "objects of raw bytes": lambda: array(code="O8", dtype_state=(3, "|", None, None, None, -1, -1, 63)),
    "a dtype with metadata": lambda: np.zeros(3, np.dtype("f8", metadata={"x": 1})),
    "a sub-array dtype": lambda: array(code="(2,3)f8"),
    "a shape beyond the bytes": lambda: array(shape=(10**12, 32, 3)),
    "a shape that overflows": lambda: array(shape=(2**63, 2**63)),
    "a negative shape": lambda: array(shape=(-1,)),
}


def put(path, member, pickled):
    """Replace one member of an npz by a pickle."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": ()})
    members[f"{member}.npy"] = header.getvalue() + pickled
    with zipfile.ZipFile(path, "w") as archive:
        for filename, data in members.items():
            archive.writestr(filename, data)


def refusal(root, content, member, made):
    """The error for files whose `member` is a pickle of what is given, or that pickle."""
    tiny_videopose3d.save(root, "h36m", content)
    path = root / ("data_3d_h36m.npz" if member == "positions_3d" else "data_2d_h36m_gt.npz")
    put(path, member, made if isinstance(made, bytes) else pickle.dumps(made, 4))
    with pytest.raises(UserError) as caught:
        list(VideoPose3DFiles(root, "h36m", "gt").read("train"))
    assert path.name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("attack", "member"), [*((attack, "positions_3d") for attack in ATTACKS), ("os.system", "metadata")]
)
def test_hostile_files_are_refused_and_nothing_is_executed(tmp_path, witness, content, attack, member):
    before = vars(safe_pickle._Values).copy(), dict(copyreg._extension_registry)
    refusal(tmp_path / "data", content, member, ATTACKS[attack](witness))
    assert not witness.exists()
    assert (vars(safe_pickle._Values), copyreg._extension_registry) == before


@pytest.mark.parametrize("forged", FORGED)
def test_forged_arrays_are_refused_while_the_pickle_is_read(tmp_path, content, forged):
    """Not later, for being in a place where no array belongs."""
    assert "'positions_3d' is damaged" in refusal(tmp_path, content, "positions_3d", FORGED[forged]())


@pytest.mark.parametrize("attack", ["os.system", "STACK_GLOBAL", "eval", "hidden deep", "protocol 0, INST"])
def test_the_attacks_are_real(witness, attack):
    """Python's own unpickler executes them; without this, the test above might prove nothing."""
    made = ATTACKS[attack](witness)
    pickle.loads(made if isinstance(made, bytes) else pickle.dumps(made, 4))
    assert witness.exists()


# ---------------------------------------------------------------- harmless ones that must be read


@pytest.mark.parametrize(("protocol", "core"), [(2, b"core"), (3, b"core"), (4, b"_core"), (5, b"_core")])
def test_every_protocol_of_numpy_1_and_2_is_read(tmp_path, content, protocol, core):
    tiny_videopose3d.save(tmp_path, "h36m", content)
    plain = list(VideoPose3DFiles(tmp_path, "h36m", "gt").read("train"))
    for member, part in ({"positions_3d": content["3d"]} | content["gt"]).items():
        pickled = pickle.dumps(np.array(part, dtype=object), protocol).replace(b"numpy._core.", b"numpy." + core + b".")
        put(tmp_path / ("data_3d_h36m.npz" if member == "positions_3d" else "data_2d_h36m_gt.npz"), member, pickled)
    for found, expected in zip(VideoPose3DFiles(tmp_path, "h36m", "gt").read("train"), plain, strict=True):
        assert found.info == expected.info
        np.testing.assert_array_equal(found.pixels, expected.pixels)
        np.testing.assert_array_equal(found.millimetres, expected.millimetres)


def test_arrays_containers_and_scalars_come_back(tmp_path):
    content = {
        "numbers": np.arange(6, dtype=">i4").reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "text": np.array(["a", "bc"]),
        "empty": np.zeros((0, 17, 2)),
        "objects": np.array([np.arange(3), [1, "two"]], dtype=object),
        "scalar": np.float32(1.5),
        "plain": [1, 2.5, None, ("x", b"y"), {3: True}],
        "keys": {np.str_("TS1"): 1, (np.int64(2), "x"): {np.float32(0.5)}},
    }
    found = load(tmp_path / "a.npz", pickle.dumps(np.array(content, dtype=object), 4))
    assert found.keys() == content.keys()
    for key in ("numbers", "fortran", "text", "empty"):
        np.testing.assert_array_equal(found[key], content[key])
        assert found[key].dtype == content[key].dtype.newbyteorder("=")  # NumPy swaps bytes as it reads
    np.testing.assert_array_equal(found["objects"][0], np.arange(3))
    assert found["objects"][1] == [1, "two"]
    assert all(found[key] == content[key] for key in ("scalar", "plain", "keys"))


def load(path, pickled):
    """What a pickle in the member "data" of an npz holds."""
    np.savez(path, data=np.zeros(1))
    put(path, "data", pickled)
    return safe_pickle.load_object(path, "data", "expected a test file")


def test_files_that_are_no_such_npz(tmp_path):
    path = tmp_path / "a.npz"
    tiny_3dhp.save_npz(path, {"a": np.random.default_rng(0).normal(size=2000)})
    good = path.read_bytes()
    for content in (b"", b"hello", good[: len(good) // 2], good[:-30]):
        path.write_bytes(content)
        with pytest.raises(UserError, match="truncated"):
            safe_pickle.load_object(path, "data", "hint")
    path.write_bytes(good[: len(good) // 2] + b"!!" + good[len(good) // 2 + 2 :])
    with pytest.raises(UserError, match=r"a\.npz"):
        safe_pickle.load_object(path, "data", "hint")
    np.savez(path, part=np.ones(3), S=np.ones(3))
    with pytest.raises(UserError, match="no key 'data'; found part, S"):
        safe_pickle.load_object(path, "data", "hint")
    with pytest.raises(UserError, match=r"'S' is an array of float64 \(3,\), expected one pickled dict"):
        safe_pickle.load_object(path, "S", "hint")
