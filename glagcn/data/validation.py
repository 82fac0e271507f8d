"""Hold out training sequences for validation: the best checkpoint is selected on them, not on the test set."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from glagcn.data.cache.reader import Split
from glagcn.errors import UserError


def hold_out(train: Split, names: Sequence[str]) -> tuple[np.ndarray, Split]:
    """Split a training split into training and validation sequences.

    names  beginnings of the names of held-out sequences, in whole words: "S4/Seq1" matches "S4/Seq1/cam0", ...;
           "S8" matches all of S8 but not S81.
    Returns a mask [S] bool of the sequences to train on, and the held-out sequences as a split.  That split shares the
    arrays and frame numbers of `train`.
    Raises UserError if a name matches no sequence, or no sequence is left to train on.
    """
    held = np.zeros(len(train.sequences), dtype=bool)
    for name in names:
        fits = [_begins(info.name, name) for info in train.sequences]
        if not any(fits):
            raise UserError(
                f"invalid --validation {name}: must be the beginning of the name of a training sequence, of which the "
                f"data has {_listed(train)}. To hold out no sequence, give --select_on last or --select_on test"
            )
        held |= fits
    if held.all():
        raise UserError(f"--validation {','.join(names)} leaves no sequence to train on; hold out fewer sequences")
    rows = np.flatnonzero(held)
    return ~held, replace(train, sequences=tuple(train.sequences[row] for row in rows), starts=train.starts[rows])


def frames_of(split: Split) -> np.ndarray:
    """The numbers [n] int64 of the valid frames of a split's sequences, increasing.

    The arrays of the split may contain other sequences too; see `hold_out`.
    """
    pieces = [
        start + np.flatnonzero(split.valid[start : start + info.length])
        for info, start in zip(split.sequences, split.starts, strict=True)
    ]
    return np.concatenate(pieces)


def _begins(name: str, beginning: str) -> bool:
    """Whether `name` starts with `beginning`, up to its end, a slash, or a space before the number of a take."""
    return name.startswith(beginning) and name[len(beginning) :][:1] in ("", "/", " ")


def _listed(split: Split, most: int = 20) -> str:
    takes = list(dict.fromkeys(info.name.partition("/cam")[0] for info in split.sequences))
    return ", ".join(takes[:most]) + (", ..." if len(takes) > most else "")
