"""What preparation says: progress while it reads, and afterwards a table of what it read."""

import numpy as np

from glagcn.data.cache.reader import Split
from glagcn.data.sources.mpi_inf_3dhp.facts import KNOWN_VALID_FRAMES, TRAIN_SEQUENCES


def summary_lines(split: Split, cut_frames: dict[str, int]) -> list[str]:
    """A table of the sequences of a split, the cameras of one take in one row, with a total."""
    rows: list[tuple] = [("sequence", "frames", "cameras", "cut", "fps", "image", "valid")]
    takes: dict[str, list[int]] = {}
    for i, info in enumerate(split.sequences):
        takes.setdefault(info.name.partition("/cam")[0], []).append(i)
    for name, members in takes.items():
        info = split.sequences[members[0]]
        valid = sum(int(_frames_of(split.valid, split, i).sum()) for i in members)
        image = f"{info.width}x{info.height}"
        rows.append((name, info.length, len(members), cut_frames.get(name, 0), f"{info.fps:g}", image, valid))
    rows.append(("all views", len(split.valid), "", "", "", "", int(split.valid.sum())))
    return _aligned(rows)


def subject_lines(split: Split, cut_frames: dict[str, int]) -> list[str]:
    """A table of the subjects of a split, for data sets of many takes; frames are those of one camera."""
    rows: list[tuple] = [("subject", "actions", "takes", "frames", "cameras", "cut", "fps", "images")]
    for subject in dict.fromkeys(info.subject for info in split.sequences):
        infos = [info for info in split.sequences if info.subject == subject]
        takes = {info.name.partition("/cam")[0]: info.length for info in infos}
        rows.append(
            (
                subject,
                len({info.kind_of_action for info in infos}),
                len(takes),
                sum(takes.values()),
                len({info.camera for info in infos}),
                sum(cut_frames.get(name, 0) for name in takes),
                "/".join(dict.fromkeys(f"{info.fps:g}" for info in infos)),
                "/".join(dict.fromkeys(f"{info.width}x{info.height}" for info in infos)),
            )
        )
    rows.append(("all views", "", "", len(split.valid), "", "", "", ""))
    return _aligned(rows)


def _aligned(rows: list[tuple]) -> list[str]:
    widths = [max(len(str(row[k])) for row in rows) for k in range(len(rows[0]))]
    return ["  ".join(str(cell).rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def valid_frames_line(test: Split) -> str:
    """What the numbers of valid frames of TS1..TS6 say about the release; a warning when they are of neither."""
    counts = tuple(int(_frames_of(test.valid, test, i).sum()) for i in range(len(test.sequences)))
    for name, known in KNOWN_VALID_FRAMES.items():
        if counts == known:
            return f"valid test frames {'/'.join(map(str, counts))}: the {name}"
    expected = " or ".join(f"{'/'.join(map(str, known))} ({name})" for name, known in KNOWN_VALID_FRAMES.items())
    return (
        f"warning: valid test frames {'/'.join(map(str, counts))}, {sum(counts)} in all; expected {expected}. "
        "Results will not be comparable with published ones."
    )


def short_sequences_line(train: Split) -> str | None:
    """A note when training sequences of 3DHP are shorter than the official table has them, else None."""
    lengths = {info.name.partition("/cam")[0]: info.length for info in train.sequences}
    short = [name for name, length in lengths.items() if length < TRAIN_SEQUENCES[name][0]]
    if not short:
        return None
    official = sum(TRAIN_SEQUENCES[name][0] for name in lengths)
    names = ", ".join(short[:3]) + (", ..." if len(short) > 3 else "")
    which = "training sequence is" if len(short) == 1 else "training sequences are"
    return (
        f"note: {len(short)} {which} shorter than officially ({names}): "
        f"{sum(lengths.values())} frames per camera instead of {official}"
    )


def _frames_of(values: np.ndarray, split: Split, i: int) -> np.ndarray:
    return values[split.starts[i] : split.starts[i] + split.sequences[i].length]
