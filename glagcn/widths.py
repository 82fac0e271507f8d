"""Filter widths: the strides of the temporal stage, whose product is the length of a window."""

from collections.abc import Sequence
from math import prod

from glagcn.errors import UserError

TEMPORAL_KERNEL = 9
ALLOWED_WIDTHS = (3, 5, 7, 9)


def widths_for(frames: int) -> tuple[int, ...]:
    """The filter widths of a window of `frames` frames: its factors 3, 5 and 7, ascending (81 -> 3,3,3,3).

    As many 3s as possible, as published; so a 9 is never chosen here, only given by -arc.
    Raises UserError, naming --frames and the nearest lengths that work, when other factors are left.
    """
    widths = _factors(frames)
    if not widths:
        raise UserError(
            f"--frames {frames}: a window must be a product of the filter widths 3, 5 and 7 and at least 3; "
            f"the nearest lengths that are: {' and '.join(map(str, _neighbours(frames)))}"
        )
    return widths


def check_widths(widths: Sequence[int], frames: int | None = None) -> None:
    """Raise UserError unless `widths` can stride over a window, and over one of `frames` frames where given.

    An even width has no centre frame; one beyond the temporal kernel would skip frames between two positions.
    """
    text = ",".join(map(str, widths))
    if not widths:
        raise UserError("-arc: no filter widths were given; expected for example -arc 3,3,3,3 for 81 frames")
    for width in widths:
        if width not in ALLOWED_WIDTHS:
            reason = "has no centre frame" if width % 2 == 0 else "would reduce nothing or skip frames"
            raise UserError(
                f"-arc {text}: a filter width of {width} {reason} (the temporal kernel spans "
                f"{TEMPORAL_KERNEL} frames); expected widths among {', '.join(map(str, ALLOWED_WIDTHS))}"
            )
    if frames is not None and prod(widths) != frames:
        raise UserError(
            f"--frames {frames} contradicts -arc {text}, whose product is {prod(widths)}; "
            "leave one of them out, or make them agree"
        )


def target_frame(frames: int, causal: bool) -> int:
    """The frame of a window that it is lifted for, counted from 0: the centre, or causally the last."""
    return frames - 1 if causal else frames // 2


def _factors(frames: int) -> tuple[int, ...]:
    """The prime factors of `frames` when all are 3, 5 or 7; else nothing."""
    if frames < 2:
        return ()
    widths = []
    for width in (3, 5, 7):
        while frames % width == 0:
            widths.append(width)
            frames //= width
    return tuple(widths) if frames == 1 else ()


def _neighbours(frames: int) -> list[int]:
    """The nearest valid window lengths below and above `frames`."""
    most = 3 * max(frames, 1)  # three times a valid length is one, so the nearest above lies within
    lengths = [1]
    for width in (3, 5, 7):
        for n in lengths:  # which grows while it is read: every length times 1, width, width^2, ...
            if n * width <= most:
                lengths.append(n * width)  # noqa: PERF401
    lengths = sorted(n for n in lengths if n >= 3)
    below = [n for n in lengths if n < frames]
    above = [n for n in lengths if n > frames]
    return below[-1:] + above[:1]
