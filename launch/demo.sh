#!/usr/bin/env bash
# From nothing to a trained and evaluated model in minutes, on recorded motion; further flags go to the trainer.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
environment requirements.txt
python main_sagcn_gpus.py --dataset demo "$@"
echo "Look at the curves with: .venv/bin/tensorboard --logdir checkpoint"
