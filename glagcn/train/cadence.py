"""The step schedule of a run: when it evaluates, saves and ends, and which windows each step trains on."""

from glagcn.config.options import Config
from glagcn.data.plan import BatchSpec, EpochPlan, Share, share
from glagcn.train.optim import last_step, micro_batch, planned_steps


class Cadence:
    """Pure functions of the step.  Steps count from 1.  All but `share` and `windows` are the same on every rank."""

    def __init__(self, config: Config, plan: EpochPlan, rank: int = 0, world_size: int = 1) -> None:
        self.config, self.plan, self._rank, self._world_size = config, plan, rank, world_size
        self.last_step = last_step(config.optim, plan)

    def share(self, index: int) -> Share:
        """This rank's shard of global batch `index` of any epoch."""
        most = micro_batch(self.config.optim, self.plan.batch_size)
        return share(self.batch_count(index), most, self._rank, self._world_size)

    def windows(self, epoch: int, index: int) -> BatchSpec:
        """This rank's windows of a global batch."""
        mine = self.share(index)
        return self.plan.batch(epoch, index).part(mine.begin, mine.end)

    def batch_count(self, index: int) -> int:
        """Windows in global batch `index` of any epoch."""
        return min(self.plan.batch_size, self.plan.num_windows - index * self.plan.batch_size)

    def epoch_of(self, step: int) -> int:
        """The epoch of `step`, counted from 1."""
        return 1 + (step - 1) // self.plan.steps_per_epoch

    def segment(self, done: int) -> tuple[int, int, int]:
        """The uninterrupted steps after `done` steps: (epoch, begin, end), global batches begin .. end - 1 of the
        epoch.  A segment ends with the epoch, with the run, or at an evaluation by --eval_windows."""
        epoch, begin = divmod(done, self.plan.steps_per_epoch)
        end = min(self.plan.steps_per_epoch, begin + self.last_step - done)
        if self.config.selection.eval_windows:
            end = min(end, begin + self._next_by_windows(done) - done)
        return epoch, begin, end

    def evaluates(self, step: int) -> bool:
        """Whether this run evaluates after `step`, also because --max_steps ends it."""
        return step > 0 and (step >= self.last_step or self.is_scheduled(step))

    def is_scheduled(self, step: int) -> bool:
        """Whether a run without --max_steps evaluates after `step`."""
        selection = self.config.selection
        if step == planned_steps(self.config.optim, self.plan):
            return True
        if selection.select_on == "last":
            return False
        if selection.eval_windows:
            return self._next_by_windows(step - 1) == step
        epochs, rest = divmod(step, self.plan.steps_per_epoch)
        return rest == 0 and bool(selection.eval_epochs and epochs % selection.eval_epochs == 0)

    def _next_by_windows(self, step: int) -> int:
        """The first step after `step` at which a multiple of --eval_windows is reached."""
        every = self.config.selection.eval_windows or 1
        return self.plan.steps_for((self.plan.windows_until(step) // every + 1) * every)

    def checks_replicas(self, step: int) -> bool:
        """Whether --check_replicas compares the ranks after `step`."""
        return bool(self.config.run.check_replicas and step % self.config.run.check_replicas == 0)

    def kept_epoch(self, step: int) -> int | None:
        """The epoch that ends with `step` if --checkpoint_frequency keeps its checkpoint, else None."""
        epochs, rest = divmod(step, self.plan.steps_per_epoch)
        frequency = self.config.run.checkpoint_frequency
        return epochs if frequency and epochs and not rest and epochs % frequency == 0 else None
