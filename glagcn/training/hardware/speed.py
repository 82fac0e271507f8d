"""Training speed as a share of the hardware's limit, and the remaining time."""

import math
from collections.abc import Callable
from datetime import datetime, timedelta

from glagcn.config.config import Config
from glagcn.data.windows.plan import EpochPlan
from glagcn.distributed import precision
from glagcn.distributed.ranks import Ranks
from glagcn.model.floor import training_cost
from glagcn.model.interface import Model
from glagcn.training.hardware.peaks import measure_peaks
from glagcn.training.optim.schedule import last_step

WARM_UP_STEPS = 10  # compilation, first allocations, caches
POOR = 0.03  # a GPU run below this share of the limit has a problem
YEAR = 365 * 24 * 3600

Say = Callable[[str], None]


class Speed:
    """Log lines about the speed of a run.

    floor    lower bound of the seconds per training window, for all processes together.
    windows  training windows of the whole run.
    say      logs a line.
    advice   what to do about a slow run; empty: no warning.
    now      returns the time of day.
    """

    def __init__(
        self, floor: float, windows: int, say: Say, advice: str = "", now: Callable[[], datetime] = datetime.now
    ) -> None:
        self._floor, self._windows, self._say, self._advice, self._now = floor, windows, say, advice, now
        self._rate: float | None = None

    def update(self, rate: float, done: int) -> None:
        """Set the speed, `rate` > 0 windows per second, after `done` windows of the run.  The first call logs it."""
        first, self._rate = self._rate is None, rate
        if not first:
            return
        share, left = rate * self._floor, self._seconds_left(done)
        end = f" (about {self._now() + timedelta(seconds=left):%Y-%m-%d %H:%M})" if left < YEAR else ""
        self._say(
            f"Speed: {rate:,.0f} windows/s, {_percent(share)} of this hardware's limit; "
            f"training ends in {duration(left)}{end}, evaluations not counted"
        )
        if self._advice and share < POOR:
            self._say(f"WARNING: less than {_percent(POOR)} of this GPU's limit; {self._advice}")

    def left(self, done: int) -> str:
        """The remaining training time after `done` windows, to append to a line; empty before the first `update`."""
        return "" if self._rate is None else f", {duration(self._seconds_left(done))} left"

    def _seconds_left(self, done: int) -> float:
        return (self._windows - done) / (self._rate or math.inf)


def run_speed(config: Config, ranks: Ranks, plan: EpochPlan, model: Model, say: Say) -> Speed:
    """Make the Speed of a run that is about to start.  Rank 0 measures its hardware while the other ranks wait.

    Assumes that all processes have equal hardware and equal shares of the batch.
    """
    floor, each = 0.0, -(-plan.batch_size // ranks.world_size)
    with ranks.agree():
        if ranks.is_main:
            peaks = measure_peaks(ranks.device, config.optim.precision)
            floor = (
                training_cost(model, each, precision.number_bytes(config.optim.precision)).seconds(peaks)
                / plan.batch_size
            )
    flags = f"--channel {config.model.channels} --frames {config.model.frames} --batch_size {each}"
    advice = f"`glagcn bench step --profile {flags}` shows which operators take the time"
    windows = plan.windows_until(last_step(config.optim, plan))
    return Speed(floor, windows, say, advice if ranks.device.type == "cuda" else "")


def is_warm(first: int, step: int, last: int) -> bool:
    """Whether the warm-up is over after `step`, for steps `first` to `last`; short runs have a shorter warm-up."""
    return step - first >= min(WARM_UP_STEPS, (last - first) // 2)


def duration(seconds: float) -> str:
    """Format seconds in the two largest units: 42 s, 12 min, 3 h 12 min, 2 d 3 h."""
    minutes = round(seconds / 60)
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h"


def _percent(share: float) -> str:
    return f"{100 * share:.{0 if share >= 0.1 else 1}f} %"
