"""Started by test_gradient.py on several ranks: the gradient of one global batch, written by rank 0."""

import sys

import numpy as np
import torch

from glagcn import launcher
from glagcn.config import parse_command_line
from glagcn.data.plan import share_bounds
from glagcn.data.windows import Batch
from glagcn.engine.ranks import Ranks
from glagcn.engine.step import Stepper
from glagcn.model.network import LiftingNetwork
from glagcn.skeleton import get_skeleton


def main() -> None:
    target, count, accumulate = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    config, _ = parse_command_line(["-d", "demo", "--dropout", "0", "--accumulate", accumulate])
    ranks = Ranks(config)
    torch.manual_seed(0)
    model = LiftingNetwork(get_skeleton("mpi3dhp17"), (3, 3), 8, sequence_layers=1, dropout=0.0)
    stepper = Stepper(config, ranks, model)
    draw = np.random.default_rng(0)
    inputs = torch.from_numpy(draw.normal(size=(count, 9, 17, 2)).astype(np.float32))
    targets = torch.from_numpy(draw.normal(size=(count, 9, 17, 3)).astype(np.float32))
    begin, end = share_bounds(count, ranks.rank, ranks.world_size)
    mine = slice(begin, end) if end > begin else slice(0, 1)
    stepper.model.eval()  # batch statistics belong to a rank; without them the gradient must not depend on ranks
    stepper.gradient(Batch(inputs[mine], targets[mine]), count, counted=end > begin)
    if ranks.is_main:
        torch.save({name: p.grad for name, p in stepper.model.named_parameters()}, target)
    ranks.close()
    launcher.leave(0)


if __name__ == "__main__":
    main()
