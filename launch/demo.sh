#!/usr/bin/env bash
# From nothing to a trained and evaluated model in minutes, on recorded motion, with a GIF of what it sees.  Further flags
# go to the trainer; with them there is no GIF.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
environment requirements.txt
python main_sagcn_gpus.py --dataset demo "$@"
if [ $# -eq 0 ]; then
    python main_sagcn_gpus.py --dataset demo --render --viz-subject TS1 --viz-limit 90 --viz-size 3 --viz-output checkpoint/demo.gif
    echo "Look at the skeletons: checkpoint/demo.gif"
fi
echo "Look at the curves with: .venv/bin/tensorboard --logdir checkpoint"
