"""Find the checkpoint that a flag names."""

from pathlib import Path

from glagcn.config.config import Config
from glagcn.errors import UserError


def checkpoint_places(config: Config, name: str) -> list[Path]:
    """The paths to search for a checkpoint: in the run folder, the -c folder, its subfolder of the data set (as in the
    published project), and `name` as a path.
    """
    parent = Path(config.run.checkpoint)
    folders = (parent / config.run_name, parent, parent / config.data.dataset, Path())
    return list(dict.fromkeys(folder / name for folder in folders))


def find_checkpoint(config: Config, flag: str, name: str) -> Path:
    """The first existing path of `checkpoint_places`.  Raises UserError that lists `flag` and these paths."""
    places = checkpoint_places(config, name)
    for place in places:
        if place.is_file():
            return place
    listed = ", ".join(map(str, places))
    raise UserError(f"{flag} {name}: no such checkpoint; searched {listed}. Train first, or give the path of a file.")


def find_model(name: str | None, flag: str = "--checkpoint") -> Path:
    """The file of the model that a flag names.  Raises UserError that names `flag`."""
    if name is None:
        raise UserError(f"{flag} is missing: give the file of a trained model, such as best.pt of a run folder")
    path = Path(name)
    if path.is_dir():
        raise UserError(f"invalid {flag} {name}: is a folder; give a file in it, such as {path / 'best.pt'}")
    if not path.is_file():
        raise UserError(f"invalid {flag} {name}: no such file; give a trained model, such as best.pt of a run folder")
    return path
