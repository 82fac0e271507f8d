"""`glagcn prepare`: make the cache of a data set from its published files."""

import logging
from pathlib import Path
from typing import Any

from glagcn.config.parse import comma_separated
from glagcn.data.dataset import PrepareFlags, cache_name
from glagcn.data.datasets import DATASETS, get_dataset
from glagcn.errors import UserError

logger = logging.getLogger(__name__)


def add_prepare(verbs: Any) -> None:
    """Add the verb to the command line, with the flags of PrepareFlags and --out."""
    parser = verbs.add_parser("prepare", help="make the cache of a data set from its published files")
    parser.add_argument("dataset", choices=[dataset.name for dataset in DATASETS.values() if dataset.prepared_by])
    source = parser.add_mutually_exclusive_group(required=True)
    release = "the official release: S1..S8 and mpi_inf_3dhp_test_set"
    source.add_argument("--raw", type=Path, metavar="DIR", help=release)
    pairs = (
        "3dhp: data_train_3dhp.npz and data_test_3dhp.npz, or *_ori; h36m and humaneva15: data_3d_DATASET.npz and "
        "data_2d_DATASET_KEYPOINTS.npz"
    )
    source.add_argument("--npz", type=Path, metavar="DIR", help=pairs)
    parser.add_argument("-k", "--keypoints", metavar="NAME", help="2D source, such as cpn_ft_h36m_dbb (default gt)")
    annotations = [annotation for dataset in DATASETS.values() for annotation in dataset.annotations]
    parser.add_argument("--annotation", choices=annotations, help="3dhp: 3D reference (default univ, *_ori: annot3)")
    cameras = "3dhp: cameras to read (default: the usual eight)"
    parser.add_argument("--cameras", type=comma_separated(int), metavar="0,1,...", help=cameras)
    subjects = "3dhp with --raw: training subjects to read, where the others are not there (default: all eight)"
    parser.add_argument("--subjects", type=comma_separated(str), metavar="S1,S2,...", help=subjects)
    gaps = "h36m and humaneva15: fill gaps of detected 2D and mark them with confidence 0 (without it: refused)"
    parser.add_argument("--mark_missing", action="store_true", default=None, help=gaps)
    out = "default in DIR: DATASET_KEYPOINTS[_ANNOTATION][_cam...].h5"
    parser.add_argument("--out", type=Path, metavar="FILE", help=out)
    parser.set_defaults(verb=run_prepare)


def run_prepare(options: dict[str, Any]) -> None:
    """Make the cache that the command line asks for."""
    name, out = options.pop("dataset"), options.pop("out")
    prepare(name, PrepareFlags(**options), out)


def prepare(name: str, flags: PrepareFlags, out: Path | None = None) -> Path:
    """Write the cache of a data set, print the command to train on it, and return its path.

    out  path of the cache.  None: beside the data, under the name that training looks for.  A variant of the data set,
         such as one with other cameras, gets a name that training does not look for.
    Raises UserError for invalid flags or files.
    """
    dataset = get_dataset(name)
    given = [flag for flag, value in vars(flags).items() if value is not None]
    if foreign := [flag for flag in given if flag not in dataset.prepared_by]:
        accepted = ", ".join(f"--{flag}" for flag in (*dataset.prepared_by, "out"))
        raise UserError(f"glagcn prepare {name} does not take --{', --'.join(foreign)}; it takes {accepted}")
    folder = flags.raw or flags.npz
    assert folder is not None  # the command line requires one
    dataset.check(flags.keypoints or "gt", flags.annotation or "")
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; pass the folder that contains the files")
    source = dataset.source_of(flags)
    usual = cache_name(name, source.keypoints, source.annotation)  # the name that training looks for
    variant, note = dataset.variant(source) or (usual, "")
    path = out or folder / variant
    if path.is_dir():
        raise UserError(f"--out {path} is a folder; pass a file name, such as {path / usual}")

    from glagcn.config.open_data import write_and_report

    write_and_report(path, source)
    if note and path.name == variant:
        logger.info(f"note: {note}")
    if path.name == usual:
        keypoints = "" if source.keypoints == "gt" else f" -k {source.keypoints}"
        annotation = "" if source.annotation == dataset.default_annotation else f" --annotation {source.annotation}"
        trainer = f"glagcn train --dataset {name} --root_path {path.parent}"
        logger.info(f"Train with: {trainer}{keypoints}{annotation}")
    return path
