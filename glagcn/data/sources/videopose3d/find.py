"""Find the pair of VideoPose3D's files in a folder, with error messages for missing ones."""

from pathlib import Path

from glagcn.data.cache.reader import cache_name
from glagcn.data.sources.source import DEMO_HINT
from glagcn.data.sources.videopose3d.facts import DATASETS_PAGE
from glagcn.data.sources.videopose3d.files import VideoPose3DFiles
from glagcn.errors import UserError


def find_videopose3d(root: Path, dataset: str, keypoints: str) -> VideoPose3DFiles:
    """The source for Human3.6M ("h36m") or HumanEva-I ("humaneva15") in `root`, with the 2D source `keypoints`.

    Raises UserError that names the missing files, the available 2D sources, and how to get the files.
    """
    source = VideoPose3DFiles(root, dataset, keypoints)
    if source.missing:
        raise UserError(_pair_incomplete(source))
    return source


def _pair_incomplete(source: VideoPose3DFiles) -> str:
    root, dataset, missing = source.root, source.dataset, source.missing
    if len(missing) == 1:
        there = next(path for path in (source.path_3d, source.path_2d) if path not in missing)
        lines = [f"{missing[0]} is missing; it is needed together with {there.name}, which exists"]
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
            lines.append(f"Available 2D sources: {', '.join(others)}; select one with -k NAME (--keypoints)")
    return "\n".join([*lines, f"How to get the files: {DATASETS_PAGE} (see docs/data.md)", DEMO_HINT])
