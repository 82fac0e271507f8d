#!/usr/bin/env bash
# From nothing to skeletons on the screen, then to a trained and evaluated model in minutes, on recorded motion.  Uses the
# active environment if glagcn is installed there, else .venv.  Further flags go to the trainer; with them there is no GIF.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
python=${PYTHON:-python3}
if "$python" -I -c 'import importlib.metadata as installed, sys; [installed.version(name) for name in ("glagcn", "torch")]' 2> /dev/null; then
    echo "glagcn is installed for $("$python" -c 'import sys; print(sys.executable)'): using it"
else
    environment requirements.txt
    python=python
fi
picture=(--dataset demo --viz_subject TS1 --viz_size 3)
if [ $# -eq 0 ]; then
    echo "Lifting a sequence that comes with the program, with a model that comes with it"
    "$python" -m glagcn render "${picture[@]}" --evaluate centred --viz_limit 60 \
        --viz_output checkpoint/first.gif > /dev/null # what is wrong is on the other stream
    echo "Look at the first skeletons: checkpoint/first.gif.  Now a model of its own is trained, which takes minutes."
fi
"$python" main_sagcn_gpus.py --dataset demo "$@"
if [ $# -eq 0 ]; then
    "$python" -m glagcn render "${picture[@]}" --viz_limit 90 --viz_output checkpoint/demo.gif
    echo "Look at the skeletons of the trained model: checkpoint/demo.gif"
fi
echo "Look at the curves with: $(dirname "$("$python" -c 'import sys; print(sys.executable)')")/tensorboard --logdir checkpoint"
