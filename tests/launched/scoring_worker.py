"""Started by test_evaluation.py on several ranks: an evaluation by action, written by rank 0."""

import sys
import weakref
from pathlib import Path

import torch
import torch.distributed as td

from glagcn import dist
from glagcn.data.windows import FrameStore
from glagcn.evaluate.benchmarks import benchmark_of
from glagcn.evaluate.evaluate import EvaluationSet, evaluate, scored_frames, write_results
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.skeletons import get_skeleton
from tests.splits import make_split


def main() -> None:
    dist.start(workers=1)
    skeleton = get_skeleton("h36m17")
    split = make_split({"S9/Walking/cam0": 11, "S9/WalkDog/cam1": 7, "S11/Walking 1/cam0": 13})
    torch.manual_seed(0)
    model = LiftingNetwork(skeleton, (3, 3), 8, sequence_layers=1)
    store = FrameStore(split, skeleton, model.frames, dist.device())
    data = EvaluationSet("test", split, store, scored_frames(split), benchmark_of("h36m"))
    evaluation = evaluate(model, data, annotation="", flip=True)
    assert (evaluation is not None) == dist.is_main()
    if evaluation:
        write_results(evaluation, Path(sys.argv[1]), {})
    group = weakref.ref(td.group.WORLD) if dist.world_size() > 1 else None
    dist.finish()
    if group:
        assert not td.is_initialized()
        assert group()  # freeing it may wait for ever before PyTorch 2.8
    dist.leave(0)


if __name__ == "__main__":
    main()
