#!/usr/bin/env bash
# From nothing to the two models that come with the program, centred and causal: about 25 minutes for each on a
# core. The same command goes on after a stop. Further flags go to the trainer; RUNS and MODELS are the folders of the
# runs and of the models. To try it, with models that know nothing, in a folder of their own:
#
#   RUNS=checkpoint/try MODELS=checkpoint/try bash launch/pretrain.sh --channel 4 --max_steps 20 --test_frames 100
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
environment requirements.txt
RUNS=${RUNS:-checkpoint/pretrain}
MODELS=${MODELS:-glagcn/models}

# score NAME LEVEL FLAG...: test a model on 2D as of a detector, or exact (none).
score() {
    local model=$1 level=$2
    shift 2
    python main_sagcn_gpus.py --dataset people "$@" --evaluate "$MODELS/$model.safetensors" --output "$RUNS/${model}_$level"
}

# pretrain NAME FLAG...: train a model, write it in half precision, and test that file.
pretrain() {
    local model=$1 level
    shift
    python main_sagcn_gpus.py --dataset people --input xyc --detections moderate --frame ray --frames 27 \
        --channel 32 --sequence_layers 0 --eval_windows 100000 -c "$RUNS" --run "$model" "$@"
    mkdir -p "$MODELS"
    python -m glagcn export "$RUNS/$model/best.pt" --layout safetensors --half --out "$MODELS/$model.safetensors"
    for level in none moderate heavy; do score "$model" "$level" "$@" --test_detections "$level"; done
}

pretrain centred --windows 250000 "$@"
pretrain causal --causal --windows 200000 "$@"
python - "$RUNS" "$MODELS" <<'PY'
"""The rows of docs/models.md: errors in mm of the files in half precision, and what training took."""
import json, pathlib, sys

runs, models = map(pathlib.Path, sys.argv[1:])
print("| model | parameters | exact 2D | moderate | heavy | training | machine |\n|---|---|---|---|---|---|---|")
for name in ("centred", "causal"):
    run = json.loads((runs / name / "result.json").read_text())
    levels = [json.loads((runs / f"{name}_{level}/result.json").read_text()) for level in ("none", "moderate", "heavy")]
    errors = " | ".join(f"{result['mpjpe_mm']:.1f}" for result in levels)
    took = f"{run['training_seconds']:.0f} s, {run['trained_windows']:,} windows"
    device = run["machine"]["gpu"] or f"{run['machine']['cpu']}, {run['machine']['threads']} threads"
    print(f"| {name} | {run['parameters']:,} | {errors} | {took} | {device} |")
size = sum(path.stat().st_size for path in models.glob("*.safetensors"))
print(f"mean training pose: {run['mean_pose_mm']:.1f} mm; both files in {models}: {size / 1e6:.2f} MB")
PY
