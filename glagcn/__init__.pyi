# The public names, for editors and type checkers: __init__.py resolves them only when they are used.
from glagcn import metrics as metrics
from glagcn.api import Lifter as Lifter
from glagcn.api import evaluate as evaluate
from glagcn.api import predict as predict
from glagcn.api import train as train
from glagcn.checkpoints.load import load_model as load_model
from glagcn.commands.lift import lift as lift
from glagcn.errors import UserError as UserError
from glagcn.poses.result import Poses as Poses

__version__: str
