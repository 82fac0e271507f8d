"""One optimiser step on a global batch that is spread over ranks."""

from contextlib import nullcontext

import torch
from torch import Tensor

from glagcn.config import Config
from glagcn.data.windows import Batch
from glagcn.engine import numerics
from glagcn.engine.optimizers import build_optimizer, step_unless
from glagcn.engine.ranks import Ranks
from glagcn.model.network import LiftingNetwork, Prediction


class Stepper:
    """The model under DDP, its optimiser, and the step: the gradient of the mean loss over the global batch."""

    def __init__(self, config: Config, ranks: Ranks, model: LiftingNetwork) -> None:
        self.config, self.ranks = config, ranks
        self.model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model) if config.sync_bn else model
        self.model.to(ranks.device)
        self.optimizer = build_optimizer(config, self.model)
        self._stopped = torch.zeros((), device=ranks.device)  # 1 from the first gradient that is not finite
        self._taken = torch.zeros((), dtype=torch.float64, device=ranks.device)
        self._wrapped = ranks.accelerator.prepare(torch.compile(self.model) if config.compile else self.model)

    def gradient(self, batch: Batch, count: int, counted: bool) -> tuple[Tensor, Tensor]:
        """Accumulate the gradient, in --accumulate parts; -> this rank's sums of errors (see `errors`).

        count    windows in the global batch.
        counted  False on a rank without a share, whose batch stands in so that it takes part in the exchange.
        """
        # As many parts on every rank, also where shares differ: SyncBatchNorm meets in each.
        parts = min(self.config.accumulate, max(1, count // self.ranks.world_size))
        singles, sequences = [], []
        chunks = zip(batch.inputs.tensor_split(parts), batch.targets.tensor_split(parts), strict=True)
        for number, (inputs, targets) in enumerate(chunks, 1):
            alone = number < parts and self.ranks.world_size > 1
            with self._wrapped.no_sync() if alone else nullcontext():
                with numerics.autocast(self.config, self.ranks.device):
                    prediction = self._wrapped(inputs)
                single, sequence = errors(prediction, targets, self.model.target_frame)
                loss = single + self.config.sequence_weight * sequence
                # DDP averages over ranks; with this factor that is the mean over the global batch.
                loss = loss * (self.ranks.world_size * counted / count)
                # An infinite loss may have finite gradients; times NaN they tell every rank.
                (loss * (1 + 0 * loss.detach())).backward()
            singles.append(single.detach() * counted)
            sequences.append(sequence.detach() * counted)
        return torch.stack(singles).sum(), torch.stack(sequences).sum()

    def apply(self, rate: float) -> Tensor:
        """Clip, and step at learning rate `rate`; -> the gradient's norm.

        From the first step whose norm is not finite nothing moves any more, which `steps_taken` tells.  The gradient
        is the same on every rank, and so is the answer.  Nothing in here waits for the device.
        """
        parameters = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters])
        self._stopped = torch.maximum(self._stopped, (~torch.isfinite(norm)).float())
        self._taken += 1 - self._stopped
        if self.config.clip:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.config.clip, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        step_unless(self._stopped, self.optimizer)
        self.optimizer.zero_grad()
        return norm

    def steps_taken(self) -> int:
        """How many calls of `apply` have moved the weights.  Waits for the device."""
        return int(self._taken)

    def set_bn_momentum(self, momentum: float) -> None:
        """How much of each batch enters the running statistics of every BatchNorm."""
        for module in self.model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.momentum = momentum

    def rehearse(self, batch: Batch) -> None:
        """Let DDP arrange its buckets on a batch that leaves no trace.

        DDP does so after its first backward pass, and with three or more ranks the arrangement decides the order of
        additions: a resumed run must start with the settled one to repeat bit for bit.
        """
        if self.ranks.world_size == 1:
            return
        before = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.train()
        self.gradient(batch, 1, counted=True)
        self.optimizer.zero_grad()
        self.model.load_state_dict(before)


def errors(prediction: Prediction, targets: Tensor, frame: int) -> tuple[Tensor, Tensor]:
    """Sums over windows of the mean joint error in metres: of the single head at the target frame `frame`, and of the
    sequence head over all frames (Eq. 4), 0 where there is none.

    targets  [N,T,V,3] metres.
    """
    single = _distances(prediction.center, targets[:, frame : frame + 1])
    if prediction.sequence is None:
        return single, torch.zeros_like(single)
    return single, _distances(prediction.sequence, targets)


def _distances(predicted: Tensor, target: Tensor) -> Tensor:
    """Sum over N of the mean Euclidean distance of [N,T,V,3] poses."""
    return torch.linalg.vector_norm(predicted.float() - target, dim=-1).mean(dim=(1, 2)).sum()
