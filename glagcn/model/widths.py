"""Filter widths: the strides of the temporal stage, whose product is the length of a window."""

from collections.abc import Sequence
from itertools import product
from math import prod

from glagcn.errors import UserError

TEMPORAL_KERNEL = 9
ALLOWED_WIDTHS = (3, 5, 7, 9)
MAX_FRAMES = 3**8


def widths_for(frames: int) -> tuple[int, ...]:
    """The filter widths for a window of `frames` frames: its prime factors 3, 5 and 7, ascending (81: 3,3,3,3).

    Published models use 3s, so 9 is never chosen here; -arc can give it.
    Raises UserError that names --frames and the nearest valid lengths if `frames` has other factors.
    """
    widths, rest = [], frames
    for width in (3, 5, 7):
        while rest > 1 and rest % width == 0:
            widths.append(width)
            rest //= width
    if rest != 1 or not widths:
        exponents = product(range(9), range(6), range(5))
        lengths = [n for a, b, c in exponents if 3 <= (n := 3**a * 5**b * 7**c) <= MAX_FRAMES]
        nearest = [*sorted(n for n in lengths if n < frames)[-1:], *sorted(n for n in lengths if n > frames)[:1]]
        raise UserError(
            f"invalid --frames {frames}: must be a product of the filter widths 3, 5 and 7, at least 3; "
            f"the nearest valid lengths: {' and '.join(map(str, nearest))}"
        )
    return tuple(widths)


def check_widths(widths: Sequence[int], frames: int | None = None) -> None:
    """Raise UserError unless all `widths` are allowed and, if `frames` is given, their product is `frames`.

    An even width has no centre frame; a width larger than the temporal kernel would skip frames.
    """
    text = ",".join(map(str, widths))
    if not widths:
        raise UserError("invalid -arc: must be filter widths, for example -arc 3,3,3,3 for 81 frames")
    for width in widths:
        if width not in ALLOWED_WIDTHS:
            reason = "has no centre frame" if width % 2 == 0 else "would reduce nothing or skip frames"
            raise UserError(
                f"invalid -arc {text}: a filter width of {width} {reason} (the temporal kernel has "
                f"{TEMPORAL_KERNEL} frames); widths must be among {', '.join(map(str, ALLOWED_WIDTHS))}"
            )
    if frames is not None and prod(widths) != frames:
        raise UserError(
            f"--frames {frames} contradicts -arc {text}, whose product is {prod(widths)}; "
            "leave one of them out or make them equal"
        )


def target_frame(frames: int, causal: bool) -> int:
    """The target frame of a window, counted from 0: the centre frame, or the last frame if `causal`."""
    return frames - 1 if causal else frames // 2
