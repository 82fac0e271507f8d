"""Hold out training sequences for validation: the best checkpoint is selected on them, not on the test set."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from glagcn.data.cache import Cache, Split
from glagcn.data.dataset import SequenceInfo
from glagcn.errors import UserError

# ---- Select the subjects, actions and frames of a cache for training and testing.


Names = tuple[str, ...] | None
SequenceRow = tuple[str, int]
"""A sequence of a cache: its split, "train" or "test", and its row in that split."""


def select_train(cache: Cache, subjects: Names = None, actions: Names = None, downsample: int = 1) -> Split:
    """The training sequences of these subjects and actions.

    subjects    subjects from either split of the cache; None: those of its train split.
    actions     prefixes of action names: "Walk" selects "Walking 1" and "WalkDog".  None or ("*",): all.  Sequences
                without an action (TS1 of MPI-INF-3DHP) are always selected.
    downsample  n keeps every n-th frame of each sequence, starting with the first, and divides the frame rate by n.
    A split that is selected whole is returned as it is, memory-mapped; otherwise its arrays are copied.
    Raises UserError that names the flag, the unknown value and the known ones.
    """
    return _gather(cache, "train", _choose(_sequences(cache), "train", subjects, actions), downsample)


def select_test(cache: Cache, subjects: Names = None, actions: Names = None, downsample: int = 1) -> Split:
    """The test sequences, as in `select_train`.  Raises UserError also if none of their frames is scored."""
    split = _gather(cache, "test", _choose(_sequences(cache), "test", subjects, actions), downsample)
    if not split.valid.any():
        raise UserError(
            "the selected test sequences have no scored frame; select others with --subjects-test and --actions, or "
            "keep more frames with a smaller --downsample"
        )
    return split


def check_selection(
    train_infos: Iterable[SequenceInfo],
    test_infos: Iterable[SequenceInfo],
    subjects_train: Names = None,
    subjects_test: Names = None,
    actions: Names = None,
) -> None:
    """Raise the UserError that `select_train` or `select_test` would raise for a cache of these sequences.

    Called before it is written.
    """
    infos = {"train": tuple(train_infos), "test": tuple(test_infos)}
    for own, subjects in (("train", subjects_train), ("test", subjects_test)):
        _choose(infos, own, subjects, actions)


def _sequences(cache: Cache) -> dict[str, tuple[SequenceInfo, ...]]:
    return {"train": cache.train.sequences, "test": cache.test.sequences}


def _choose(infos: dict[str, tuple[SequenceInfo, ...]], own: str, subjects: Names, actions: Names) -> list[SequenceRow]:
    """The rows selected for the split `own`, in the order of the cache."""
    prefixes = None if not actions or "*" in actions else tuple(actions)
    every = [(split, row) for split, sequences in infos.items() for row in range(len(sequences))]
    _check_actions(prefixes, [info for sequences in infos.values() for info in sequences])
    _check_subjects(f"--subjects-{own}", subjects, infos)
    rows = [row for row in every if (infos[row[0]][row[1]].subject in subjects if subjects else row[0] == own)]
    kept = [row for row in rows if _has_action(infos[row[0]][row[1]], prefixes)]
    if not kept:
        there = [infos[split][row] for split, row in rows]
        raise UserError(
            f"--actions {','.join(prefixes or ())} selects no {own} sequence; the {own} subjects "
            f"({', '.join(_unique(info.subject for info in there))}) have the actions "
            f"{', '.join(_unique(info.kind_of_action for info in there))}"
        )
    return kept


def _check_subjects(flag: str, subjects: Names, infos: dict[str, tuple[SequenceInfo, ...]]) -> None:
    known = _unique(info.subject for sequences in infos.values() for info in sequences)
    missing = [subject for subject in subjects or () if subject not in known]
    if missing:
        raise UserError(f"invalid {flag} {','.join(missing)}: the subjects of this data set are {', '.join(known)}")


def _check_actions(prefixes: Names, infos: list[SequenceInfo]) -> None:
    kinds = sorted(_unique(info.kind_of_action for info in infos if info.action))
    missing = [prefix for prefix in prefixes or () if not any(info.action.startswith(prefix) for info in infos)]
    if missing:
        if not kinds:
            raise UserError(f"invalid --actions {','.join(missing)}: this data set has no actions; leave it out")
        raise UserError(f"invalid --actions {','.join(missing)}: the actions of this data set are {', '.join(kinds)}")


def _has_action(info: SequenceInfo, prefixes: Names) -> bool:
    return prefixes is None or not info.action or info.action.startswith(prefixes)


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _gather(cache: Cache, own: str, rows: list[SequenceRow], downsample: int) -> Split:
    """The frames of some rows, concatenated; the split `own` itself if the rows are all of it."""
    if downsample < 1:
        raise UserError(
            f"invalid --downsample {downsample}: must be a whole number >= 1, such as 5 for every 5th frame"
        )
    splits = {"train": cache.train, "test": cache.test}
    if downsample == 1 and rows == [(own, row) for row in range(len(splits[own].sequences))]:
        return splits[own]
    sources = [splits[split] for split, _ in rows]
    infos = [splits[split].sequences[row] for split, row in rows]
    slices = [
        slice(int(source.starts[row]), int(source.starts[row]) + info.length, downsample)
        for source, info, (_, row) in zip(sources, infos, rows, strict=True)
    ]
    lengths = np.array([-(-info.length // downsample) for info in infos], dtype=np.int64)

    def joined(name: str) -> np.ndarray:
        # Convert to plain arrays: concatenating memory maps returns a memory map.
        parts = [np.asarray(getattr(source, name))[frames] for source, frames in zip(sources, slices, strict=True)]
        return np.concatenate(parts)

    return Split(
        tuple(
            replace(info, length=int(length), fps=info.fps / downsample)
            for info, length in zip(infos, lengths, strict=True)
        ),
        np.cumsum(lengths) - lengths,
        joined("pixels"),
        joined("millimetres"),
        joined("valid"),
        _optional([source.activity for source in sources], sources, slices, 0),
        _optional([source.confidence for source in sources], sources, slices, 1),
    )


def _optional(
    arrays: list[np.ndarray | None], sources: list[Split], slices: list[slice], usual: float
) -> np.ndarray | None:
    """An array that only some splits may have, `usual` in the frames of the others; None if no split has it."""
    known = next((array for array in arrays if array is not None), None)
    if known is None:
        return None
    parts = [
        np.full((len(source.valid), *known.shape[1:]), usual, known.dtype) if array is None else array
        for source, array in zip(sources, arrays, strict=True)
    ]
    return np.concatenate([part[frames] for part, frames in zip(parts, slices, strict=True)])


# ---- Hold out training sequences for validation: the best checkpoint is selected on them, not on the test set.


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
