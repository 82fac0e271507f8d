"""`python -m glagcn`: the command `glagcn`, for launchers too: torchrun --nproc_per_node 8 -m glagcn train ..."""

import sys

from glagcn.cli import main

if __name__ == "__main__":
    sys.exit(main())
