"""The benchmarks, and which one scores what."""

from glagcn.evaluation.benchmark import Benchmark, Metrics
from glagcn.evaluation.by_action import ByAction
from glagcn.evaluation.mpi_inf_3dhp import MpiInf3dhp
from glagcn.skeleton import Skeleton

MPI_INF_3DHP, BY_ACTION = MpiInf3dhp(), ByAction()


def benchmark_of(skeleton: Skeleton) -> Benchmark:
    """The benchmark that scores poses of this skeleton."""
    return MPI_INF_3DHP if skeleton.name == "mpi3dhp17" else BY_ACTION


def benchmark_of_metrics(metrics: Metrics) -> Benchmark:
    """The benchmark that metrics, from memory or from any result.json, were computed by."""
    return BY_ACTION if "actions" in metrics else MPI_INF_3DHP
