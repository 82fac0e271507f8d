"""main_sagcn_gpus.py that waits a second, not a minute, for another process in its run folder."""

import sys

from glagcn import cli
from glagcn.train import run_folder as lock

lock.TIMEOUT_S = 1.0
sys.exit(cli.train_main())
