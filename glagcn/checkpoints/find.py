"""Where a checkpoint that a flag names is looked for."""

from pathlib import Path

from glagcn.config.config import Config
from glagcn.errors import UserError


def checkpoint_places(config: Config, name: str) -> list[Path]:
    """Where a checkpoint that a flag names may be: in the run folder, in the -c folder, there in the data set's folder,
    where the published project keeps its files, and as a path."""
    parent = Path(config.run.checkpoint)
    folders = (parent / config.run_name, parent, parent / config.data.dataset, Path())
    return list(dict.fromkeys(folder / name for folder in folders))


def find_checkpoint(config: Config, flag: str, name: str) -> Path:
    """The first of `checkpoint_places` that is there.  Raises UserError that names `flag` and where it looked."""
    places = checkpoint_places(config, name)
    for place in places:
        if place.is_file():
            return place
    listed = ", ".join(map(str, places))
    raise UserError(f"{flag} {name}: no such checkpoint; looked for {listed}. Train first, or give the path of a file")
