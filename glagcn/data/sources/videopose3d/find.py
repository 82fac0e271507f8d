"""Whether the pair of VideoPose3D's files is in a folder, and what to say where it is not."""

from pathlib import Path

from glagcn.data.cache.reader import cache_name
from glagcn.data.sources.source import DEMO_HINT
from glagcn.data.sources.videopose3d.facts import DATASETS_PAGE
from glagcn.data.sources.videopose3d.files import VideoPose3DFiles
from glagcn.errors import UserError


def find_videopose3d(root: Path, dataset: str, keypoints: str) -> VideoPose3DFiles:
    """Human3.6M ("h36m") or HumanEva-I ("humaneva15") below `root`, with the 2D source `keypoints`.

    Raises UserError that says which file of the pair is missing, which other 2D sources are there, and how to get it.
    """
    source = VideoPose3DFiles(root, dataset, keypoints)
    if source.missing:
        raise UserError(_pair_incomplete(source))
    return source


def _pair_incomplete(source: VideoPose3DFiles) -> str:
    root, dataset, missing = source.root, source.dataset, source.missing
    if len(missing) == 1:
        there = next(path for path in (source.path_3d, source.path_2d) if path not in missing)
        lines = [f"there is no {missing[0]}; its companion {there.name} is there, and both are needed"]
    else:
        lines = [
            f"no {source.facts.title} with the 2D source {source.keypoints!r} found in {root}. Looked for:",
            f"  the cache {cache_name(dataset, source.keypoints, '')}",
            f"  the npz pair {source.path_3d.name} and {source.path_2d.name}",
        ]
    if source.path_2d in missing:
        prefix = f"data_2d_{dataset}_"
        others = sorted(path.name.removeprefix(prefix).removesuffix(".npz") for path in root.glob(f"{prefix}*.npz"))
        if others:
            lines.append(f"2D sources that are there: {', '.join(others)}; choose one with -k NAME (--keypoints)")
    return "\n".join([*lines, f"How to get the files: {DATASETS_PAGE} (see docs/data.md)", DEMO_HINT])
