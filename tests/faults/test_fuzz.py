"""Spoilt files for every reader: it reads them, or says in one message what is wrong; it never crashes or hangs.

A few files a reader, always the same; FUZZ_FILES=N tries N of each, FUZZ_SEED=N others, and -k NAME selects a reader.
"""

import contextlib
import faulthandler
import os
import resource
import traceback
from pathlib import Path
from random import Random

import pytest

from glagcn.errors import UserError
from tests.faults.mutations import spoil_bytes
from tests.faults.readers import READERS

FEW, CHEAP = 5, 20  # files; the latter of a reader of one small text or array
SEED = os.environ.get("FUZZ_SEED", "")
PATIENCE_S = 120.0  # for one file, on a machine that does other things too
MEMORY = 2 << 30  # bytes that reading a spoilt file may add to those of the process


@pytest.fixture
def bounds():
    """A reader that takes too much memory fails; one that hangs, in C too, ends the process, which pytest reports."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
def test_a_spoilt_file_is_read_or_refused_with_one_message(bounds, tmp_path, name):
    """In each case, one of the files that the reader needs is spoilt and the others are whole."""
    reader, folder = READERS[name], tmp_path
    target = reader.write(folder)
    files = {path: path.read_bytes() for path in (sorted(target.iterdir()) if target.is_dir() else [target])}
    reader.read(target)
    for number in range(int(os.environ.get("FUZZ_FILES", CHEAP if reader.cheap else FEW))):
        rng = Random(f"{name} {number}{SEED}")
        for path, content in files.items():
            path.write_bytes(content)
        path = rng.choice(list(files))
        spoilt = False
        if reader.spoil and rng.random() < 0.7:
            with contextlib.suppress(Exception):  # the format cannot hold such a value
                reader.spoil(rng, path)
                spoilt = True
        if not spoilt:
            path.write_bytes(spoil_bytes(rng, files[path]))
        faulthandler.dump_traceback_later(PATIENCE_S, exit=True)
        try:
            reader.read(target)
        except UserError as error:
            if str(folder) not in str(error) or len(str(error)) > 3000:
                pytest.fail(f"file {number} is not named, or the message is long: {error}")
        except Exception:  # noqa: BLE001  (what is looked for)
            pytest.fail(f"file {number}: {traceback.format_exc()}")
