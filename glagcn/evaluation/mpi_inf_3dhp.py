"""The official benchmark of MPI-INF-3DHP: PCK, AUC, tables, protocols and files; the predicted root is set to zero."""

import re
from pathlib import Path

import numpy as np

from glagcn.data.cache.reader import Split
from glagcn.evaluation import mpi_inf_3dhp_report as report
from glagcn.evaluation import protocols
from glagcn.evaluation.benchmark import Benchmark, Evaluation, Metrics, ScoredFrames, Tables
from glagcn.evaluation.metrics import Metric, frame_metrics, joint_metrics, mean
from glagcn.evaluation.mpi_inf_3dhp_tables import JOINTS, SCORED_JOINTS, official_3dhp


class MpiInf3dhpBenchmark(Benchmark):
    """The official tables, the named protocols and the scenes, for poses of 17 joints.

    PCK, AUC and MPJPE follow the first protocol; the other scalars are means over all frames.
    """

    zero_root = True
    files = f"the CSV tables, {report.INFERENCE_MAT}"

    @property
    def scalars(self) -> tuple[Metric, ...]:
        """See Benchmark.  All metrics."""
        return (*frame_metrics(), *joint_metrics())

    def score(self, scored: ScoredFrames) -> tuple[Metrics, Tables]:
        """See Benchmark.  The tables and errors are those of `official_3dhp`."""
        poses = {"predicted": scored.by_sequence(scored.predicted), "target": scored.by_sequence(scored.target)}
        names = [info.name for info in scored.sequences]
        named = protocols.protocols(**poses, annotation=scored.annotation, names=names)
        protocol = next(iter(named))
        counts = np.diff(scored.bounds)
        metrics = {
            **named[protocol],
            **_means(scored, named[protocol]),
            "frames": len(scored.frames),
            "protocol": protocol,
            "protocols": named,
            "scenes": protocols.scenes(**poses, annotation=scored.annotation, names=names),
            "sequences": {
                info.name: {"frames": int(count)} for info, count in zip(scored.sequences, counts, strict=True)
            },
        }
        activity = None if scored.activity is None else scored.by_sequence(scored.activity)
        rows = [re.sub(r"^TS(?=\d+$)", "TestSeq", name) for name in names]  # as the official MATLAB script names them
        return metrics, official_3dhp(**poses, activity=activity, names=rows)

    def mpjpe(self, errors: np.ndarray, split: Split, frames: np.ndarray) -> float:  # noqa: ARG002
        """See Benchmark.  All frames have the same weight."""
        return float(mean(errors))

    def protocol_line(self, metrics: Metrics) -> str:
        """See Benchmark."""
        shares = " and ".join(metric.title for metric in joint_metrics())
        return (
            f"{metrics['protocol']}, {metrics['frames']} frames: MPJPE over {len(JOINTS)} joints, "
            f"{shares} over {len(SCORED_JOINTS)}"
        )

    def show(self, evaluation: Evaluation, by_subject: bool) -> str:  # noqa: ARG002
        """See Benchmark.  Each test sequence is a subject and always has a row, so `by_subject` adds nothing."""
        return f"{report.format_tables(evaluation.tables)}\n\n{report.format_scores(evaluation.metrics)}"

    def write(self, evaluation: Evaluation, folder: Path) -> None:
        """See Benchmark."""
        report.write_official_csv(evaluation.tables, folder)
        report.write_inference_mat(dict(zip(evaluation.names, evaluation.predicted, strict=True)), folder)


def _means(scored: ScoredFrames, known: Metrics) -> dict[str, float]:
    """The means over all frames, or all pairs of consecutive frames, of the metrics that are not in `known`."""
    owner = np.repeat(np.arange(len(scored.sequences)), np.diff(scored.bounds))
    neighbours = (np.diff(scored.frames) == 1) & (np.diff(owner) == 0)
    means = {}
    for metric in frame_metrics():
        if metric.name not in known:
            errors = metric.errors(scored.predicted, scored.target)
            means[metric.name] = float(mean(errors[neighbours] if metric.of_pairs else errors))
    return means
