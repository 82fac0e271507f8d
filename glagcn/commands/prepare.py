"""`glagcn prepare`: make the cache of a data set from its published files."""

from pathlib import Path

from glagcn.errors import UserError


def prepare(options: dict) -> None:
    """Make the cache that the arguments of the verb describe, and say how to train on it."""
    dataset = options.pop("dataset")
    given = {name: value for name, value in options.items() if value is not None}
    if dataset == "3dhp":
        path, named, chosen = _prepare_3dhp(given)
    else:
        path, named, chosen = _prepare_videopose3d(dataset, given)
    if path.name == named:  # the name that training looks for
        root = path.parent
        print(f"Train with: accelerate launch main_sagcn_gpus.py --dataset {dataset} --root_path {root}{chosen}")


def _prepare_3dhp(given: dict) -> tuple[Path, str, str]:
    """-> the cache, the name it must have to be found by training, and the flags that choose it there."""
    from glagcn.data.prepare import prepare_3dhp

    keypoints = given.pop("keypoints")
    if keypoints != "gt":
        raise UserError(f"--keypoints {keypoints}: 3dhp has one 2D source, gt; others are for h36m and humaneva15")
    path = prepare_3dhp(**given)
    annotation = "annot3" if path.name == "3dhp_gt_annot3.h5" else "univ"
    return path, f"3dhp_gt_{annotation}.h5", "" if annotation == "univ" else f" --annotation {annotation}"


def _prepare_videopose3d(dataset: str, given: dict) -> tuple[Path, str, str]:
    """The same for h36m and humaneva15."""
    from glagcn.data.prepare import prepare_videopose3d

    foreign = [f"--{name}" for name in ("raw", "annotation", "cameras") if name in given]
    if foreign:
        raise UserError(
            f"{', '.join(foreign)}: for 3dhp only; {dataset} is read from VideoPose3D's files, all cameras: "
            f"glagcn prepare {dataset} --npz DIR [-k NAME] [--out FILE]"
        )
    keypoints = given["keypoints"]
    path = prepare_videopose3d(dataset, **given)
    return path, f"{dataset}_{keypoints}.h5", "" if keypoints == "gt" else f" -k {keypoints}"
