"""The speed of a run, as a share of the hardware's limit, and the time that is left."""

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
POOR = 0.03  # of the floor: on a GPU something then stands in the way
YEAR = 365 * 24 * 3600

Say = Callable[[str], None]


class Speed:
    """Log lines about the speed of a run.

    floor    the least seconds of a training window, on all processes together.
    windows  training windows of the whole run.
    say      takes a line.
    advice   what to do about a small share of the limit; empty: no warning.
    now      the time of day.
    """

    def __init__(
        self, floor: float, windows: int, say: Say, advice: str = "", now: Callable[[], datetime] = datetime.now
    ) -> None:
        self._floor, self._windows, self._say, self._advice, self._now = floor, windows, say, advice, now
        self._rate: float | None = None

    def tell(self, rate: float, done: int) -> None:
        """Training takes `rate` > 0 windows per second, and has taken `done` of the run.  The first call speaks."""
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
        """The training time left after `done` windows, to append to a line; empty while no speed is known."""
        return "" if self._rate is None else f", {duration(self._seconds_left(done))} left"

    def _seconds_left(self, done: int) -> float:
        return (self._windows - done) / (self._rate or math.inf)


def run_speed(config: Config, ranks: Ranks, plan: EpochPlan, model: Model, say: Say) -> Speed:
    """The speed of a run that is about to start: rank 0 measures what its hardware can do, while the others wait.

    Every process is taken to have as good a one, and its share of the batch.
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
    """Whether the warm-up is over after `step` of a run from step `first` to `last`; earlier in short runs."""
    return step - first >= min(WARM_UP_STEPS, (last - first) // 2)


def duration(seconds: float) -> str:
    """A time in its two largest units: 42 s, 12 min, 3 h 12 min, 2 d 3 h."""
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
