"""The two suites, and which one scores what.

OFFICIAL   MPI-INF-3DHP's own evaluation: PCK, AUC, its tables, protocols and files; the predicted root is zero.
BY_ACTION  VideoPose3D's evaluation of Human3.6M and HumanEva-I: means over actions; the root is as predicted.
"""

from pathlib import Path

from glagcn.evaluation import by_action, by_action_report, official
from glagcn.evaluation import mpi_inf_3dhp_report as report_3dhp
from glagcn.evaluation.benchmark import Evaluation, Figures, Suite
from glagcn.skeleton import Skeleton


def suite_of(skeleton: Skeleton) -> Suite:
    """The suite that scores poses of this skeleton."""
    return OFFICIAL if skeleton.name == "mpi3dhp17" else BY_ACTION


def suite_of_figures(figures: Figures) -> Suite:
    """The suite that figures, from memory or from any result.json, were computed by."""
    return BY_ACTION if "actions" in figures else OFFICIAL


def _write_official(evaluation: Evaluation, folder: Path) -> None:
    report_3dhp.write_official_csv(evaluation.tables, folder)
    report_3dhp.write_inference_mat(dict(zip(evaluation.names, evaluation.predicted, strict=True)), folder)


def _show_official(evaluation: Evaluation, by_subject: bool) -> str:
    del by_subject  # a test sequence is a subject, and has a row in any case
    return f"{report_3dhp.format_tables(evaluation.tables)}\n\n{report_3dhp.format_scores(evaluation.figures)}"


def _write_by_action(evaluation: Evaluation, folder: Path) -> None:
    by_action_report.write_action_csv(evaluation.tables, folder)


def _show_by_action(evaluation: Evaluation, by_subject: bool) -> str:
    return by_action_report.format_actions(evaluation.figures, evaluation.tables, by_subject)


OFFICIAL = Suite(
    zero_root=True,
    scalars=official.SCALARS,
    score=official.score,
    mpjpe=official.mpjpe,
    curves=lambda figures: {},  # noqa: ARG005
    headline=official.headline,
    show=_show_official,
    write=_write_official,
    files=f"the CSV tables, {report_3dhp.INFERENCE_MAT}",
)
BY_ACTION = Suite(
    zero_root=False,
    scalars=by_action.FIGURES,
    score=by_action.score,
    mpjpe=by_action.mpjpe,
    curves=by_action.curves,
    headline=by_action_report.headline,
    show=_show_by_action,
    write=_write_by_action,
    files=by_action_report.ACTION_CSV,
)
