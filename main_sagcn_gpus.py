"""Train or evaluate GLA-GCN on one process or many.

    python main_sagcn_gpus.py --dataset demo
    accelerate launch main_sagcn_gpus.py --dataset 3dhp --frames 81
    torchrun --nproc_per_node 8 main_sagcn_gpus.py --dataset 3dhp --frames 81 --evaluate

The same command resumes a run that was stopped.
"""

import sys

from glagcn.cli import train_main

if __name__ == "__main__":
    sys.exit(train_main())
