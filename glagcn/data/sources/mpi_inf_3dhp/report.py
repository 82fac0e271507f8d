"""Compare a cache of MPI-INF-3DHP with the official lengths and valid frames."""

from glagcn.data.cache.reader import Split
from glagcn.data.report import frames_of_sequence
from glagcn.data.sources.mpi_inf_3dhp.facts import KNOWN_VALID_FRAMES, TRAIN_SEQUENCES


def valid_frames_line(test: Split) -> str:
    """The release that the numbers of valid frames of TS1..TS6 belong to; a warning if they match none."""
    counts = tuple(int(frames_of_sequence(test.valid, test, i).sum()) for i in range(len(test.sequences)))
    for name, known in KNOWN_VALID_FRAMES.items():
        if counts == known:
            return f"valid test frames {'/'.join(map(str, counts))}: the {name}"
    expected = " or ".join(f"{'/'.join(map(str, known))} ({name})" for name, known in KNOWN_VALID_FRAMES.items())
    return (
        f"warning: valid test frames {'/'.join(map(str, counts))}, {sum(counts)} in total; expected {expected}. "
        "Results are not comparable with published ones."
    )


def short_sequences_line(train: Split) -> str | None:
    """A note if training sequences are shorter than their official lengths, else None."""
    lengths = {info.name.partition("/cam")[0]: info.length for info in train.sequences}
    short = [name for name, length in lengths.items() if length < TRAIN_SEQUENCES[name][0]]
    if not short:
        return None
    official = sum(TRAIN_SEQUENCES[name][0] for name in lengths)
    names = ", ".join(short[:3]) + (", ..." if len(short) > 3 else "")
    which = "training sequence is" if len(short) == 1 else "training sequences are"
    return (
        f"note: {len(short)} {which} shorter than the official length ({names}): "
        f"{sum(lengths.values())} frames per camera instead of {official}"
    )
