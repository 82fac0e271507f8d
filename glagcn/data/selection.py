"""Which sequences and frames of a cache are trained on, validated on and tested on."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from glagcn.data.dataset import SPLITS, Cache, SequenceInfo, Split, SplitName
from glagcn.errors import UserError

Names = tuple[str, ...] | None
Infos = dict[SplitName, tuple[SequenceInfo, ...]]


def select(cache: Cache, split: SplitName, subjects: Names = None, actions: Names = None, downsample: int = 1) -> Split:
    """The sequences of these subjects and actions to train or to test on.

    subjects    subjects from either split of the cache; None: those of `split`.
    actions     prefixes of action names: "Walk" selects "Walking 1" and "WalkDog".  None or ("*",): all.  Sequences
                without an action (TS1 of MPI-INF-3DHP) are always selected.
    downsample  n keeps every n-th frame of each sequence, starting with the first, and divides the frame rate by n.
    A split that is selected whole is returned as it is, memory-mapped; otherwise its arrays are copied.
    Raises UserError that names the flag, the unknown value and the known ones, or if no frame to test is scored.
    """
    splits: dict[SplitName, Split] = {"train": cache.train, "test": cache.test}
    chosen = _choose({name: part.sequences for name, part in splits.items()}, split, subjects, actions)
    selected = splits[split]
    if downsample > 1 or chosen != [(split, row) for row in range(len(selected.sequences))]:
        selected = _joined([(splits[name], row) for name, row in chosen], downsample)
    if split == "test" and not selected.valid.any():
        raise UserError(
            "the selected test sequences have no scored frame; select others with --subjects-test and --actions, or "
            "keep more frames with a smaller --downsample"
        )
    return selected


def check_selection(infos: Infos, subjects_train: Names, subjects_test: Names, actions: Names) -> None:
    """Raise the UserError that `select` would raise for a cache of these sequences, before it is written."""
    _choose(infos, "train", subjects_train, actions)
    _choose(infos, "test", subjects_test, actions)


def split_validation(train: Split, names: Sequence[str]) -> tuple[np.ndarray, Split]:
    """Split a training split into training and validation sequences.

    The best checkpoint is selected on the validation sequences, not on the test set.

    names  beginnings of the names of validation sequences, in whole words: "S4/Seq1" matches "S4/Seq1/cam0", ...;
           "S8" matches all of S8 but not S81.
    Returns a mask [S] bool of the sequences to train on, and the validation sequences as a split.  That split shares
    the arrays and frame numbers of `train`.
    Raises UserError if a name matches no sequence, or no sequence is left to train on.
    """
    validated = np.zeros(len(train.sequences), dtype=bool)
    for name in names:
        # In whole words: up to the end of the name, a slash, or a space before the number of a take.
        fits = [i.name.startswith(name) and i.name[len(name) :][:1] in ("", "/", " ") for i in train.sequences]
        if not any(fits):
            takes = list(dict.fromkeys(info.take for info in train.sequences))
            listed = ", ".join(takes[:20]) + (", ..." if len(takes) > 20 else "")
            raise UserError(
                f"invalid --validation {name}: must be the beginning of the name of a training sequence, of which the "
                f"data has {listed}. To hold out no sequence, give --select_on last or --select_on test"
            )
        validated |= fits
    if validated.all():
        raise UserError(f"--validation {','.join(names)} leaves no sequence to train on; hold out fewer sequences")
    rows = np.flatnonzero(validated)
    return ~validated, replace(train, sequences=tuple(train.sequences[row] for row in rows), starts=train.starts[rows])


def valid_frames(split: Split) -> np.ndarray:
    """The numbers [n] int64 of the valid frames of a split's sequences, increasing.

    The arrays of the split may contain other sequences too; see `split_validation`.
    """
    rows = range(len(split.sequences))
    return np.concatenate([split.starts[row] + np.flatnonzero(split.valid[split.frames(row)]) for row in rows])


def _joined(rows: list[tuple[Split, int]], downsample: int) -> Split:
    """Every n-th frame of these sequences (split, row), concatenated.

    An array that only some of the splits have gets its usual value elsewhere; one that no split has stays None.
    """
    infos = [split.sequences[row] for split, row in rows]
    infos = [replace(info, length=-(-info.length // downsample), fps=info.fps / downsample) for info in infos]
    lengths = np.array([info.length for info in infos], dtype=np.int64)
    arrays: dict[str, Any] = {}
    for name, usual in {"pixels": 0, "millimetres": 0, "valid": 0, "activity": 0, "confidence": 1}.items():
        found = [getattr(split, name) for split, _ in rows]
        known = next((array for array in found if array is not None), None)
        parts = []
        for array, (split, row), length in zip(found, rows, lengths, strict=True):
            if array is not None:  # plain arrays, because concatenating memory maps returns a memory map
                parts.append(np.asarray(array)[split.frames(row)][::downsample])
            elif known is not None:
                parts.append(np.full((length, *known.shape[1:]), usual, known.dtype))
        arrays[name] = np.concatenate(parts) if parts else None
    return Split(tuple(infos), np.cumsum(lengths) - lengths, **arrays)


def _choose(infos: Infos, own: SplitName, subjects: Names, actions: Names) -> list[tuple[SplitName, int]]:
    """(split, row) of the sequences selected for the split `own`, in the order of the cache."""
    prefixes = None if not actions or "*" in actions else tuple(actions)
    every = {(split, row): info for split in SPLITS for row, info in enumerate(infos[split])}
    if missing := [prefix for prefix in prefixes or () if not any(i.action.startswith(prefix) for i in every.values())]:
        kinds = ", ".join(sorted({info.kind_of_action for info in every.values() if info.action})) or "none"
        raise UserError(f"invalid --actions {','.join(missing)}: the actions of this data set are {kinds}")
    known = dict.fromkeys(info.subject for info in every.values())
    if missing := [subject for subject in subjects or () if subject not in known]:
        raise UserError(
            f"invalid --subjects-{own} {','.join(missing)}: the subjects of this data set are {', '.join(known)}"
        )
    of_subjects = {
        key: info for key, info in every.items() if (info.subject in subjects if subjects else key[0] == own)
    }
    chosen = [
        key for key, info in of_subjects.items() if not (prefixes and info.action) or info.action.startswith(prefixes)
    ]
    if not chosen:
        raise UserError(
            f"--actions {','.join(prefixes or ())} selects no {own} sequence; the {own} subjects "
            f"({', '.join(dict.fromkeys(info.subject for info in of_subjects.values()))}) have the actions "
            f"{', '.join(dict.fromkeys(info.kind_of_action for info in of_subjects.values()))}"
        )
    return chosen
