"""Pickles in npz files: those of NumPy are read, and those made to harm are refused by name and not executed."""

import copyreg
import importlib
import io
import os
import pickle
import pickletools
import zipfile

import numpy as np
import pytest

from glagcn import safe_pickle
from glagcn.data.videopose3d.files import VideoPose3DFiles
from glagcn.errors import UserError
from tests.data import tiny_3dhp, tiny_videopose3d

GLOBAL, REDUCE, MARK, TUPLE, EMPTY_TUPLE, BUILD, STOP = b"c", b"R", b"(", b"t", b")", b"b", b"."


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


def python(witness):
    return f"open({str(witness)!r}, 'w').close()"


def array(values=(1.0,), **changes):
    """A pickled array whose parts can be forged: code, dtype_state, shape, content."""
    parts = {"code": "f8", "dtype_state": (3, "<", None, None, None, -1, -1, 0), "shape": (len(values),)}
    parts |= {"content": np.array(values).tobytes()} | changes
    kind = Call(np.dtype, parts["code"], False, True, state=parts["dtype_state"])
    reconstruct = np.array(0).__reduce__()[0]
    return Call(reconstruct, np.ndarray, (0,), b"b", state=(1, parts["shape"], kind, False, parts["content"]))


def persistent(witness):
    buffer = io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return shell(witness) if value == "here" else None

    Pickler(buffer).dump({"S1": "here"})
    return buffer.getvalue()


def endless():
    inside = {}
    inside["S1"] = [inside]
    return inside


def objects(*values):
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


SYSTEM = name("os", "system")

# What the pickle holds, given the witness's path: bytes, or something to be pickled.
ATTACKS = {
    "os.system": lambda w: SYSTEM + MARK + text(shell(w)) + TUPLE + REDUCE + STOP,
    "posix.system": lambda w: name("posix", "system") + MARK + text(shell(w)) + TUPLE + REDUCE + STOP,
    "protocol 0, INST": lambda w: MARK + b"V" + shell(w).encode() + b"\n" + b"ios\nsystem\n" + STOP,
    "OBJ": lambda w: MARK + SYSTEM + text(shell(w)) + b"o" + STOP,
    "STACK_GLOBAL": lambda w: text("os") + text("system") + b"\x93" + text(shell(w)) + b"\x85" + REDUCE + STOP,
    "NEWOBJ": lambda w: name("subprocess", "Popen") + text(shell(w)) + b"\x85" + b"\x81" + STOP,
    "eval": lambda w: {"S1": Call(eval, python(w))},
    "exec": lambda w: {"S1": Call(exec, python(w))},
    "getattr": lambda w: Call(getattr, Call(__import__, "os"), "system"),
    "import": lambda w: Call(__import__, "os"),
    "os.mkdir": lambda w: {"S1": {"Walking": Call(os.mkdir, str(w))}},
    "numpy.load": lambda w: Call(np.load, str(w), "r", True),
    "numpy.save": lambda w: Call(np.save, str(w), np.zeros(1)),
    "numpy.memmap": lambda w: name("numpy", "memmap") + MARK + text(str(w)) + TUPLE + REDUCE + STOP,
    "numpy tofile": lambda w: name("numpy", "ndarray.tofile") + MARK + text(str(w)) + TUPLE + REDUCE + STOP,
    "numpy's dotted os": lambda w: b"\x80\x04" + text("numpy") + text("os.system") + b"\x93" + STOP,
    "copyreg": lambda w: name("copyreg", "_reconstructor") + EMPTY_TUPLE + REDUCE + STOP,
    "copyreg.add_extension": lambda w: Call(copyreg.add_extension, "os", "system", 77),
    "hidden in an object array": lambda w: {"S1": objects(np.zeros(3), Call(os.mkdir, str(w)))},
    "hidden deep": lambda w: {"S1": {"Walking": objects(objects([(objects(Call(os.mkdir, str(w))),)]))}},
    "hidden in a key": lambda w: {("S1", Call(os.mkdir, str(w))): 1},
    "hidden in a dtype's state": lambda w: array(dtype_state=(3, "<", *[None] * 3, -1, -1, Call(os.mkdir, str(w)))),
    "persistent id": persistent,
    "extension, unknown": lambda w: b"\x80\x02\x82\x4d" + STOP,
    "a structured dtype": lambda w: np.zeros(3, dtype=[("S1", "f8"), ("x", "O")]),
    "fields through the state": lambda w: array(dtype_state=(3, "|", None, ("a",), {"a": ("O", 0)}, 8, 1, 16)),
    "a buffer that is an array of objects": lambda w: Call(
        importlib.import_module("numpy._core.numeric")._frombuffer, objects(1, 2), Call(np.dtype, "u8"), (2,), "C"
    ),
    "objects of raw bytes": lambda w: array(code="O8", dtype_state=(3, "|", None, None, None, -1, -1, 63)),
    "a dtype with metadata": lambda w: np.zeros(3, np.dtype("f8", metadata={"x": 1})),
    "a sub-array dtype": lambda w: array(code="(2,3)f8"),
    "a void dtype": lambda w: array(code="V8"),
    "a date": lambda w: np.array(["2020-01-01"], dtype="M8[D]"),
    "a shape beyond the bytes": lambda w: array(shape=(10**12, 32, 3)),
    "a shape that overflows": lambda w: array(shape=(2**63, 2**63)),
    "a negative shape": lambda w: array(shape=(-1,)),
    "a string of a terabyte": lambda w: array(code="U250000000000"),
    "a list that holds itself": lambda w: endless(),
    "a state for a class": lambda w: name("numpy.core.multiarray", "scalar") + b"N}" + text("value") + b"K\x01s\x86b.",
    "a deep nest": lambda w: b"(" * 5000 + b"t" * 5000 + STOP,
    "a stack that runs empty": lambda w: b"R" + STOP,
    "no end": lambda w: text("S1"),
    "a huge string that is not there": lambda w: b"\x8d" + (2**40).to_bytes(8, "little") + b"abc" + STOP,
    "3D of strings": lambda w: {"S1": {"Walking": objects(["a", "b"], ["c", "d"])}},
    "3D of objects": lambda w: {"S1": {"Walking": np.full((3, 32, 3), None)}},
}  # fmt: skip


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


def read_with(root, content, member, pickled):
    """Read files whose `member` is the pickle; -> the file that holds it."""
    tiny_videopose3d.save(root, "h36m", content)
    path = root / ("data_3d_h36m.npz" if member == "positions_3d" else "data_2d_h36m_gt.npz")
    put(path, member, pickled)
    source = VideoPose3DFiles(root, "h36m", "gt")
    with pytest.raises(UserError) as caught:
        list(source.read("train"))
    return path, str(caught.value)


@pytest.mark.parametrize(
    ("attack", "member"),
    [*((attack, "positions_3d") for attack in ATTACKS), ("os.system", "positions_2d"), ("os.system", "metadata")],
)
def test_hostile_files_are_refused_and_nothing_is_executed(tmp_path, witness, content, attack, member):
    made = ATTACKS[attack](witness)
    pickled = made if isinstance(made, bytes) else pickle.dumps(made, 4)
    before = vars(safe_pickle._Values).copy(), dict(copyreg._extension_registry)
    path, message = read_with(tmp_path / "data", content, member, pickled)
    assert path.name in message
    assert not witness.exists()
    assert (vars(safe_pickle._Values), copyreg._extension_registry) == before


@pytest.mark.parametrize(
    "attack",
    ["a structured dtype", "fields through the state", "objects of raw bytes", "a dtype with metadata", "a void dtype",
     "a buffer that is an array of objects",
     "a sub-array dtype", "a date", "a shape beyond the bytes", "a shape that overflows", "a negative shape"],
)  # fmt: skip
def test_forged_arrays_are_refused_while_the_pickle_is_read(tmp_path, witness, content, attack):
    """Not later, for being in a place where no array belongs."""
    _, message = read_with(tmp_path, content, "positions_3d", pickle.dumps(ATTACKS[attack](witness), 4))
    assert "'positions_3d' is damaged" in message


@pytest.mark.parametrize(
    "attack", ["os.system", "STACK_GLOBAL", "eval", "os.mkdir", "hidden in an object array", "INST"]
)
def test_the_attacks_are_real(witness, attack):
    """Python's own unpickler executes them; without this, the test above might prove nothing."""
    made = next(make for title, make in ATTACKS.items() if attack in title)(witness)
    pickle.loads(made if isinstance(made, bytes) else pickle.dumps(made, 4))
    assert witness.exists()


# ---------------------------------------------------------------- harmless ones that must be read


@pytest.mark.parametrize(("protocol", "core"), [(2, "core"), (3, "_core"), (4, "core"), (5, "_core")])
def test_every_protocol_of_numpy_1_and_2_is_read(tmp_path, content, protocol, core):
    tiny_videopose3d.save(tmp_path, "h36m", content)
    plain = list(VideoPose3DFiles(tmp_path, "h36m", "gt").read("train"))
    members = {"positions_3d": content["3d"]} | content["gt"]
    for member, part in members.items():
        pickled = pickle.dumps(np.array(part, dtype=object), protocol)
        put(tmp_path / ("data_3d_h36m.npz" if member == "positions_3d" else "data_2d_h36m_gt.npz"), member,
            in_core(pickled, core))  # fmt: skip
    found = list(VideoPose3DFiles(tmp_path, "h36m", "gt").read("train"))
    for a, b in zip(found, plain, strict=True):
        assert a.info == b.info
        np.testing.assert_array_equal(a.pixels, b.pixels)
        np.testing.assert_array_equal(a.millimetres, b.millimetres)


def in_core(pickled, core):
    """The pickle as the other numpy would have written it: with its name, and the length before it."""
    for module in ("multiarray", "numeric"):
        both = [f"numpy.{c}.{module}".encode() for c in ("core", "_core")]
        old, new = both if core == "_core" else both[::-1]
        for prefix, suffix in ((b"c", b"\n"), (b"\x8c%c", b"")):  # GLOBAL, SHORT_BINUNICODE
            framed = [(prefix % len(n) if b"%" in prefix else prefix) + n + suffix for n in (old, new)]
            pickled = pickled.replace(*framed)
    return unframed(pickled)


def unframed(pickled):
    """Without FRAME, which announces a number of bytes that in_core has changed; it is optional."""
    parts, position = [], 0
    for opcode, _, at in pickletools.genops(pickled):
        if opcode.name == "FRAME":
            parts.append(pickled[position:at])
            position = at + 9
    return b"".join([*parts, pickled[position:]])


@pytest.mark.parametrize("protocol", [3, 4])  # what numpy 1 and 2 write
def test_arrays_containers_and_scalars_come_back(tmp_path, protocol):
    content = {
        "numbers": np.arange(6, dtype=">i4").reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "objects": np.array([np.arange(3), [1, "two"]], dtype=object),
        "text": np.array(["a", "bc"]),
        "bool": np.array([True, False]),
        "empty": np.zeros((0, 17, 2)),
        "scalar": np.float32(1.5),
        "plain": [1, 2.5, None, ("x", b"y"), {3: True}],
        "keys": {np.str_("TS1"): 1, (np.int64(2), "x"): 2},
    }
    if protocol == 4:  # earlier ones call `set`
        content["keys"]["set"] = {np.float32(0.5)}
    found = load(tmp_path / "a.npz", pickle.dumps(np.array(content, dtype=object), protocol))
    assert found.keys() == content.keys()
    for key in ("numbers", "fortran", "text", "bool", "empty"):
        np.testing.assert_array_equal(found[key], content[key])
        assert found[key].dtype == content[key].dtype.newbyteorder("=")  # NumPy swaps bytes as it reads
    np.testing.assert_array_equal(found["objects"][0], np.arange(3))
    assert found["objects"][1] == [1, "two"]
    assert (found["scalar"], found["plain"]) == (np.float32(1.5), content["plain"])
    assert found["keys"] == content["keys"]


def load(path, pickled):
    """What a pickle in the member "data" of an npz holds."""
    np.savez(path, data=np.zeros(1))
    put(path, "data", pickled)
    return safe_pickle.load_object(path, "data", "expected a test file")


def test_what_is_shared_is_read_once(tmp_path):
    nested = [np.arange(3)]
    for _ in range(60):
        nested = [nested, nested]
    found = load(tmp_path / "a.npz", pickle.dumps(nested))
    for _ in range(60):
        assert found[0] is found[1]
        found = found[0]
    np.testing.assert_array_equal(found[0], np.arange(3))


def test_files_that_are_no_such_npz(tmp_path):
    path = tmp_path / "a.npz"
    tiny_3dhp.save_npz(path, {"a": np.random.default_rng(0).normal(size=2000)})
    good = path.read_bytes()
    damaged = bytearray(good)
    damaged[len(good) // 2] ^= 0xFF
    for content in (b"", b"hello", good[:100], good[: len(good) // 2], good[:-30], damaged):
        path.write_bytes(content)
        with pytest.raises(UserError, match="truncated" if content is not damaged else "a.npz"):
            safe_pickle.load_object(path, "data", "hint")
    np.savez(path, part=np.ones(3), S=np.ones(3))
    with pytest.raises(UserError, match="no key 'data'; found part, S"):
        safe_pickle.load_object(path, "data", "hint")
    with pytest.raises(UserError, match=r"'S' is an array of float64 \(3,\), expected one pickled dict"):
        safe_pickle.load_object(path, "S", "hint")


def test_no_class_of_the_unpickler_can_be_given_a_state():
    """Else a pickle could change what all later files are read with: BUILD sets attributes where this is missing."""
    assert all(isinstance(made, type) and "__setstate__" in dir(made) for made in safe_pickle.ALLOWED.values())
