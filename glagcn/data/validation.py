"""The sequences that are held out of training to choose the best state by, so that the test set is read once."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from glagcn.data.cache.reader import Split
from glagcn.errors import UserError


def hold_out(train: Split, names: Sequence[str]) -> tuple[np.ndarray, Split]:
    """-> whether each sequence of a training split is trained on [S] bool, and the others as a split of their own.

    names  what the names of held-out sequences begin with, word by word: "S4/Seq1" is "S4/Seq1/cam0", ...,
           "S8" is all of S8 and nothing of S81.
    The held-out split shares the arrays of `train`, and its frames have the same numbers.
    Raises UserError where a name fits no sequence, or nothing is left to train on.
    """
    held = np.zeros(len(train.sequences), dtype=bool)
    for name in names:
        fits = [_begins(info.name, name) for info in train.sequences]
        if not any(fits):
            raise UserError(
                f"--validation {name}: no such training sequence; the data has {_listed(train)}. Give the beginning of "
                "names, or choose without held-out sequences: --select-on last or --select-on test"
            )
        held |= fits
    if held.all():
        raise UserError(f"--validation {','.join(names)} leaves nothing to train on; hold out fewer sequences")
    rows = np.flatnonzero(held)
    return ~held, replace(train, sequences=tuple(train.sequences[row] for row in rows), starts=train.starts[rows])


def frames_of(split: Split) -> np.ndarray:
    """The valid frames [n] int64 of a split's sequences, increasing; its arrays may hold more sequences."""
    pieces = [
        start + np.flatnonzero(split.valid[start : start + info.length])
        for info, start in zip(split.sequences, split.starts, strict=True)
    ]
    return np.concatenate(pieces)


def _begins(name: str, beginning: str) -> bool:
    """Whether a name begins with whole words of another: up to a slash, or a space before the number of a take."""
    return name.startswith(beginning) and name[len(beginning) :][:1] in ("", "/", " ")


def _listed(split: Split, most: int = 20) -> str:
    takes = list(dict.fromkeys(info.name.partition("/cam")[0] for info in split.sequences))
    return ", ".join(takes[:most]) + (", ..." if len(takes) > most else "")
