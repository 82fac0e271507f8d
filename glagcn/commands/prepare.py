"""`glagcn prepare`: make the cache of a data set from its published files."""

import logging
from pathlib import Path
from typing import Any

from glagcn.config.parse import comma_separated
from glagcn.data.dataset import PrepareFlags
from glagcn.data.datasets import DATASETS, get_dataset

logger = logging.getLogger(__name__)


def add_prepare(verbs: Any) -> None:
    """Add the verb to the command line, with the flags of PrepareFlags and --out."""
    parser = verbs.add_parser("prepare", help="make the cache of a data set from its published files")
    parser.add_argument("dataset", choices=[dataset.name for dataset in DATASETS.values() if dataset.prepared_by])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--raw", type=Path, metavar="DIR", help="the official release: S1..S8 and mpi_inf_3dhp_test_set"
    )
    source.add_argument(
        "--npz",
        type=Path,
        metavar="DIR",
        help="3dhp: data_train_3dhp.npz and data_test_3dhp.npz, or *_ori; h36m and humaneva15: "
        "data_3d_DATASET.npz and data_2d_DATASET_KEYPOINTS.npz",
    )
    parser.add_argument("-k", "--keypoints", metavar="NAME", help="2D source, such as cpn_ft_h36m_dbb (default gt)")
    annotations = [annotation for dataset in DATASETS.values() for annotation in dataset.annotations]
    parser.add_argument("--annotation", choices=annotations, help="3dhp: 3D reference (default univ, *_ori: annot3)")
    parser.add_argument(
        "--cameras",
        type=comma_separated(int),
        metavar="0,1,...",
        help="3dhp: cameras to read (default: the usual eight)",
    )
    parser.add_argument(
        "--subjects",
        type=comma_separated(str),
        metavar="S1,S2,...",
        help="3dhp with --raw: training subjects to read, where the others are not there (default: all eight)",
    )
    parser.add_argument(
        "--mark_missing",
        action="store_true",
        default=None,
        help="h36m and humaneva15: fill gaps of detected 2D and mark them with confidence 0 (without it: refused)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="default in DIR: DATASET_KEYPOINTS[_ANNOTATION][_cam...].h5"
    )
    parser.set_defaults(verb=prepare)


def prepare(options: dict[str, Any]) -> None:
    """Make the cache and print the command to train on it."""
    from glagcn.data import prepare as preparation

    dataset, out = get_dataset(options.pop("dataset")), options.pop("out")
    path, source = preparation.prepare(dataset.name, PrepareFlags(**options), out)
    if path.name == dataset.cache_name(source.keypoints, source.annotation):  # the name that training looks for
        flags = f"--dataset {dataset.name} --root_path {path.parent}"
        if source.keypoints != "gt":
            flags += f" -k {source.keypoints}"
        if source.annotation != dataset.default_annotation:
            flags += f" --annotation {source.annotation}"
        logger.info(f"Train with: accelerate launch main_sagcn_gpus.py {flags}")
