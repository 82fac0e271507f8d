"""All benchmarks by name.  A data set (data.dataset) names its benchmark."""

from glagcn.data.datasets import get_dataset
from glagcn.errors import UserError
from glagcn.evaluation.benchmark import Benchmark
from glagcn.evaluation.by_action import ByActionBenchmark
from glagcn.evaluation.mpi_inf_3dhp import MpiInf3dhpBenchmark

BENCHMARKS: dict[str, Benchmark] = {"mpi_inf_3dhp": MpiInf3dhpBenchmark(), "by_action": ByActionBenchmark()}


def benchmark_of(dataset: str) -> Benchmark:
    """The benchmark of a data set.  Raises UserError for an unknown data set or benchmark."""
    name = get_dataset(dataset).benchmark
    if name not in BENCHMARKS:
        raise UserError(f"data set {dataset}: unknown benchmark {name!r}; expected one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]
