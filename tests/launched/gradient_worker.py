"""Started by test_gradient.py on several ranks: gradient and statistics of one global batch, written by rank 0.

gradient_worker.py FILE WINDOWS MICRO_BATCH [flags of the trainer]
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
from glagcn.train.loop import Stepper


def main() -> None:
    target, count, most, *flags = sys.argv[1:]
    count, most = int(count), int(most)
    config, _, _ = parse_command_line(["-d", "demo", *flags])
    dist.start(config.run.workers)
    torch.manual_seed(0)
    # Compiled, dropout draws other numbers.
    kind, dropout = (torch.float32, 0.0) if "--compile" in flags else (torch.float64, 0.2)
    model = LiftingNetwork(get_skeleton("mpi3dhp17"), (3, 3), 8, sequence_layers=1, dropout=dropout).to(kind)
    stepper = Stepper(config.optim, model, frozenset({most}))
    draw = np.random.default_rng(0)
    batch = Batch(*(torch.from_numpy(draw.normal(size=(count, 9, 17, axes))).to(kind) for axes in (2, 3)))
    mine = share(count, most, dist.rank(), dist.world_size())
    batch = Batch(*(part[mine.begin : mine.end] for part in batch))
    problem = stepper.rehearse(batch, mine)
    assert problem is None, problem
    stepper.set_momentum(0.1)
    stepper.gradient(batch, mine, seed=lambda number: number)
    found = {f"gradient of {name}": p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
    stepper.apply(0.01)
    found |= {name: value for name, value in model.state_dict().items() if "running" in name}
    if dist.is_main():
        torch.save(found, target)
    dist.finish()
    dist.leave(0)


if __name__ == "__main__":
    main()
