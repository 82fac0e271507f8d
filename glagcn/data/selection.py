"""Which part of a cache is trained and tested on: subjects, actions, every n-th frame."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from glagcn.data.cache.file_rows import FileRows
from glagcn.data.cache.reader import Cache, Split
from glagcn.data.sequence import SequenceInfo
from glagcn.errors import UserError

Names = tuple[str, ...] | None
SequenceRow = tuple[str, int]
"""A sequence of a cache: the split it lies in, "train" or "test", and its row there."""


def select(
    cache: Cache, subjects_train: Names = None, subjects_test: Names = None, actions: Names = None, downsample: int = 1
) -> tuple[Split, Split]:
    """The train and the test split to use.

    subjects_train, subjects_test  of either split of the cache, whichever they lie in; None: the split's own.
    actions     what the names of actions begin with, in both splits: "Walk" is "Walking 1" and "WalkDog".  None or
                ("*",): all.  A subject of a single sequence without an action (TS1 of MPI-INF-3DHP) always stays.
    downsample  n keeps every n-th frame of each sequence, from its first on, and divides its frame rate.
    The very splits of the cache where they are wanted whole, so mapped and not copied; else new contiguous arrays.
    Raises UserError naming the flag, what does not exist, and what does.
    """
    return (
        select_train(cache, subjects_train, actions, downsample),
        select_test(cache, subjects_test, actions, downsample),
    )


def select_train(cache: Cache, subjects: Names = None, actions: Names = None, downsample: int = 1) -> Split:
    """The train split of `select` alone."""
    return _gather(cache, "train", _choose(_sequences(cache), "train", subjects, actions), downsample)


def select_test(cache: Cache, subjects: Names = None, actions: Names = None, downsample: int = 1) -> Split:
    """The test split of `select` alone."""
    split = _gather(cache, "test", _choose(_sequences(cache), "test", subjects, actions), downsample)
    if not split.valid.any():
        raise UserError(
            "no frame of the chosen test sequences is scored; choose others with --subjects-test and --actions, or "
            "keep more frames with --downsample"
        )
    return split


def select_in_file(cache: Cache, subjects: Names = None, actions: Names = None, downsample: int = 1) -> Split:
    """The sequences of `select_train`, with their frames left where they are, in the file: `starts` are places in the
    whole training split, whose `pixels` and `millimetres` are FileRows.

    Raises UserError where that is not possible: for --downsample, and for subjects of the test split.
    """
    rows = _choose(_sequences(cache), "train", subjects, actions)
    train = cache.train
    foreign = [cache.test.sequences[row].subject for split, row in rows if split == "test"]
    if downsample > 1 or foreign:
        what = f"--downsample {downsample}" if downsample > 1 else f"--subjects-train {','.join(_unique(foreign))}"
        why = "every frame" if downsample > 1 else "the training sequences of the cache only"
        raise UserError(
            f"{what} would gather frames in memory, and streaming (--stream) reads {why} from the file; leave the flag "
            "out, or give --stream off where there is memory for the chosen frames"
        )
    numbers = [row for _, row in rows]
    return replace(
        train,
        sequences=tuple(train.sequences[number] for number in numbers),
        starts=train.starts[numbers],
        pixels=FileRows(train.pixels),  # type: ignore[arg-type]  # rows of a file, which StreamedStore reads
        millimetres=FileRows(train.millimetres),  # type: ignore[arg-type]
    )


def training_bytes(cache: Cache, subjects: Names = None, actions: Names = None, downsample: int = 1) -> int:
    """Bytes of pixels and millimetres of the sequences of `select_train`."""
    rows = _choose(_sequences(cache), "train", subjects, actions)
    frames = sum(-(-_sequences(cache)[split][row].length // downsample) for split, row in rows)
    return frames * (cache.train.pixels[0].nbytes + cache.train.millimetres[0].nbytes)


def check_selection(
    train_infos: Iterable[SequenceInfo],
    test_infos: Iterable[SequenceInfo],
    subjects_train: Names = None,
    subjects_test: Names = None,
    actions: Names = None,
) -> None:
    """Raise the UserError that `select` would raise for a cache of these sequences, before one is written."""
    infos = {"train": tuple(train_infos), "test": tuple(test_infos)}
    for own, subjects in (("train", subjects_train), ("test", subjects_test)):
        _choose(infos, own, subjects, actions)


def _sequences(cache: Cache) -> dict[str, tuple[SequenceInfo, ...]]:
    return {"train": cache.train.sequences, "test": cache.test.sequences}


def _choose(infos: dict[str, tuple[SequenceInfo, ...]], own: str, subjects: Names, actions: Names) -> list[SequenceRow]:
    """The rows that are chosen for the split `own`, in the order of the cache."""
    prefixes = None if not actions or "*" in actions else tuple(actions)
    every = [(split, row) for split, sequences in infos.items() for row in range(len(sequences))]
    _check_actions(prefixes, [info for sequences in infos.values() for info in sequences])
    _check_subjects(f"--subjects-{own}", subjects, infos)
    rows = [row for row in every if (infos[row[0]][row[1]].subject in subjects if subjects else row[0] == own)]
    kept = [row for row in rows if _has_action(infos[row[0]][row[1]], prefixes)]
    if not kept:
        there = [infos[split][row] for split, row in rows]
        raise UserError(
            f"--actions {','.join(prefixes or ())}: nothing is left of {own}; its subjects "
            f"({', '.join(_unique(info.subject for info in there))}) have "
            f"{', '.join(_unique(info.kind_of_action for info in there))}"
        )
    return kept


def _check_subjects(flag: str, subjects: Names, infos: dict[str, tuple[SequenceInfo, ...]]) -> None:
    known = _unique(info.subject for sequences in infos.values() for info in sequences)
    missing = [subject for subject in subjects or () if subject not in known]
    if missing:
        raise UserError(f"{flag} {','.join(missing)}: no such subject in the data, which has {', '.join(known)}")


def _check_actions(prefixes: Names, infos: list[SequenceInfo]) -> None:
    kinds = sorted(_unique(info.kind_of_action for info in infos if info.action))
    missing = [prefix for prefix in prefixes or () if not any(info.action.startswith(prefix) for info in infos)]
    if missing:
        there = f"which has {', '.join(kinds)}" if kinds else "which names no actions"
        raise UserError(f"--actions {','.join(missing)}: no such action in the data, {there}")


def _has_action(info: SequenceInfo, prefixes: Names) -> bool:
    return prefixes is None or not info.action or info.action.startswith(prefixes)


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _gather(cache: Cache, own: str, rows: list[SequenceRow], downsample: int) -> Split:
    """The frames of some rows, one sequence after the other; the split `own` itself where that is all of it."""
    if downsample < 1:
        raise UserError(f"--downsample {downsample}: expected a whole number from 1 on, such as 5 for every 5th frame")
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
        # Into plain arrays: pieces of memory maps would make a map again.
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
        _activity(sources, slices),
    )


def _activity(sources: list[Split], slices: list[slice]) -> np.ndarray | None:
    """The activities, 0 where a split has no table of them; None where none has."""
    if all(source.activity is None for source in sources):
        return None
    parts = [
        np.zeros(len(source.valid), np.uint8)[frames] if source.activity is None else source.activity[frames]
        for source, frames in zip(sources, slices, strict=True)
    ]
    return np.concatenate(parts)
