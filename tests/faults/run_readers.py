"""The readers of the files of a run, with a small valid file for each."""

from tests.faults.readers import Reader

RUN_READERS: dict[str, Reader] = {}
