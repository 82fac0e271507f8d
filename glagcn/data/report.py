"""Tables of the content of a cache, printed after it is written."""

import numpy as np

from glagcn.data.cache import Split
from glagcn.tables import Table


def summary_lines(split: Split, cut_frames: dict[str, int]) -> list[str]:
    """A table of the takes of a split, with a total.  The cameras of a take share a row."""
    table = Table("sequence", "frames", "cameras", "cut", "fps", "image", "valid")
    takes: dict[str, list[int]] = {}
    for i, info in enumerate(split.sequences):
        takes.setdefault(info.name.partition("/cam")[0], []).append(i)
    for name, members in takes.items():
        info = split.sequences[members[0]]
        valid = sum(int(frames_of_sequence(split.valid, split, i).sum()) for i in members)
        image = f"{info.width}x{info.height}"
        table.add(name, info.length, len(members), cut_frames.get(name, 0), f"{info.fps:g}", image, valid)
    table.add("all views", len(split.valid), "", "", "", "", int(split.valid.sum()))
    return table.text().splitlines()


def subject_lines(split: Split, cut_frames: dict[str, int]) -> list[str]:
    """A table of the subjects of a split, for data sets of many takes.  Frames are counted for one camera."""
    table = Table("subject", "actions", "takes", "frames", "cameras", "cut", "fps", "images")
    for subject in dict.fromkeys(info.subject for info in split.sequences):
        infos = [info for info in split.sequences if info.subject == subject]
        takes = {info.name.partition("/cam")[0]: info.length for info in infos}
        table.add(
            subject,
            len({info.kind_of_action for info in infos}),
            len(takes),
            sum(takes.values()),
            len({info.camera for info in infos}),
            sum(cut_frames.get(name, 0) for name in takes),
            "/".join(dict.fromkeys(f"{info.fps:g}" for info in infos)),
            "/".join(dict.fromkeys(f"{info.width}x{info.height}" for info in infos)),
        )
    table.add("all views", "", "", len(split.valid), "", "", "", "")
    return table.text().splitlines()


def frames_of_sequence(values: np.ndarray, split: Split, i: int) -> np.ndarray:
    """The rows of an array [F,...] of a split that belong to its i-th sequence."""
    return values[split.starts[i] : split.starts[i] + split.sequences[i].length]
