"""Find model files: paths of users, and the names of the models that come with the program."""

from pathlib import Path

from glagcn.config.options import Config
from glagcn.errors import UserError

MODELS = Path(__file__).parents[1] / "models"
SHIPPED = ("centred", "causal")  # made by launch/pretrain.sh
OR_SHIPPED = f"or the name of a model of this program: {', '.join(SHIPPED)}"


def model_path(name: str | Path, of_folder: str = "best.pt") -> Path:
    """The file that a path or the name of a model of this program means.

    "centred" is the model, whatever the current folder holds; "./centred" and Path("centred") are paths.
    A folder that holds a file `of_folder`, such as that of a run, means this file.
    Raises UserError if this copy of the program lacks the file of its model.
    """
    if name not in SHIPPED:
        inside = Path(name) / of_folder
        return inside if inside.is_file() else Path(name)
    path = MODELS / f"{name}.safetensors"
    if not path.is_file():
        raise UserError(
            f"the model {name} of this program is missing: no file {path}; install glagcn again, or give the "
            "path of another model"
        )
    return path


def checkpoint_places(config: Config, name: str) -> list[Path]:
    """The paths to search for a checkpoint: in the run folder, the -c folder, its subfolder of the data set (as in the
    published project), and `name` as a path.  The name of a model of this program means its file alone.
    """
    if name in SHIPPED:
        return [model_path(name)]
    parent = Path(config.run.checkpoint)
    folders = (parent / config.run_name, parent, parent / config.data.dataset, Path())
    return list(dict.fromkeys(folder / name for folder in folders))


def find_checkpoint(config: Config, flag: str, name: str) -> Path:
    """The first existing path of `checkpoint_places`; of a run folder, last.pt for --resume, else best.pt.

    Raises UserError that lists `flag` and these paths.
    """
    places = checkpoint_places(config, name)
    for place in places:
        if (path := model_path(place, "last.pt" if flag == "--resume" else "best.pt")).is_file():
            return path
    listed = ", ".join(map(str, places))
    raise UserError(f"{flag} {name}: no such checkpoint; searched {listed}. Train first, or give a path, {OR_SHIPPED}")


def find_model(name: str | Path) -> Path:
    """The file of the model that --checkpoint names (see `model_path`).  Raises UserError if it is no file."""
    path = model_path(name)
    if path.is_dir():
        raise UserError(f"invalid --checkpoint {name}: is a folder; give a file in it, such as {path / 'best.pt'}")
    if not path.is_file():
        raise UserError(f"invalid --checkpoint {name}: no such file; give best.pt of a run folder, {OR_SHIPPED}")
    return path
