"""All data sets.  To add one, define a DataSet in a folder of data/ and list it here."""

from glagcn.data.dataset import DataSet
from glagcn.data.mocap.dataset import DEMO, MOCAP, PEOPLE
from glagcn.data.mpi_inf_3dhp.dataset import MPI_INF_3DHP
from glagcn.data.videopose3d.dataset import H36M, HUMANEVA
from glagcn.errors import UserError

DATASETS: dict[str, DataSet] = {
    dataset.name: dataset for dataset in (H36M, HUMANEVA, MPI_INF_3DHP, MOCAP, PEOPLE, DEMO)
}


def get_dataset(name: str) -> DataSet:
    """The data set called `name`.  Raises UserError that lists the known names."""
    if name not in DATASETS:
        known = f"{', '.join(DATASETS)} (mocap, people and demo need no files)"
        raise UserError(f"unknown data set {name!r}: must be one of {known}")
    return DATASETS[name]
