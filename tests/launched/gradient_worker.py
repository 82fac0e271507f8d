"""Started by test_gradient.py on several ranks: gradient and statistics of global batches, written by rank 0.

gradient_worker.py FILE CASE...    CASE: WINDOWS,MICRO_BATCH in float64, or these and "none" or the backend of --compile
"""

import sys

import numpy as np
import torch

from glagcn import dist
from glagcn.config.resolve import parse_command_line
from glagcn.data.plan import share
from glagcn.data.windows import Batch
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.skeletons import get_skeleton
from glagcn.train import hardware
from glagcn.train.loop import Stepper

INDUCTOR = hardware.compiled


def found(count: int, most: int, backend: str = "") -> dict[str, torch.Tensor]:
    """By name: gradients of a step on `count` random windows in micro-batches of `most`, and running statistics."""
    config, _, _ = parse_command_line(["-d", "demo", "--compile", "off" if backend in ("", "none") else "on"])
    hardware.compiled = INDUCTOR  # which --compile takes
    if backend not in ("", "none", "inductor"):
        hardware.compiled = lambda module, *_: torch.compile(module, dynamic=False, backend=backend)
    torch.manual_seed(0)
    # Compiled, dropout draws other numbers, and a small model is compiled sooner.
    kind, dropout, widths = (torch.float32, 0.0, (3,)) if backend else (torch.float64, 0.2, (3, 3))
    model = LiftingNetwork(get_skeleton("mpi3dhp17"), widths, 8, sequence_layers=1, dropout=dropout).to(kind)
    stepper = Stepper(config.optim, model, frozenset({most}))
    draw = np.random.default_rng(0)
    batch = Batch(*(torch.from_numpy(draw.normal(size=(count, model.frames, 17, axes))).to(kind) for axes in (2, 3)))
    mine = share(count, most, dist.rank(), dist.world_size())
    batch = batch.part(slice(mine.begin, mine.end))
    problem = stepper.rehearse(batch, mine)
    assert problem is None, problem
    stepper.set_momentum(0.1)
    stepper.gradient(batch, mine, seed=lambda number: number)
    gradients = {f"gradient of {name}": p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
    stepper.apply(0.01)
    return gradients | {name: value for name, value in model.state_dict().items() if "running" in name}


def main() -> None:
    target, *cases = sys.argv[1:]
    dist.start(workers=1)
    results = {}
    for case in cases:
        count, most, *backend = case.split(",")
        results[case] = found(int(count), int(most), *backend)
    if dist.is_main():
        torch.save(results, target)
    dist.finish()
    dist.leave(0)


if __name__ == "__main__":
    main()
