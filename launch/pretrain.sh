#!/usr/bin/env bash
# From nothing to the two models that come with the program, centred and causal: 15 to 27 minutes for each of four
# trainings on a core.  The same command goes on after a stop.  Further flags go to the trainer; RUNS and MODELS are the
# folders of the runs and of the models.  To try it, with models that know nothing, in a folder of their own:
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

# pretrain RUN FLAG...: train a network.
pretrain() {
    local run=$1
    shift
    python main_sagcn_gpus.py --dataset people --input xyc --detections moderate --frame ray --frames 27 \
        --channel 32 --sequence_layers 0 --eval_windows 100000 -c "$RUNS" --run "$run" "$@"
}

# finish MODEL "RUN..." FLAG...: write a network, or the mean of several, in half precision, and test that file.
finish() {
    local model=$1 runs=() run level
    for run in $2; do runs+=("$RUNS/$run"); done
    shift 2
    mkdir -p "$MODELS"
    python -m glagcn export "${runs[@]}" --layout safetensors --half --out "$MODELS/$model.safetensors"
    for level in none moderate heavy; do score "$model" "$level" "$@" --test_detections "$level"; done
}

pretrain centred_0 --windows 250000 "$@"
pretrain centred_1 --windows 400000 --seed 1 "$@"
pretrain centred_2 --windows 250000 --seed 2 "$@"
finish centred "centred_0 centred_1 centred_2" "$@"
pretrain causal_0 --causal --windows 400000 --seed 1 "$@"
finish causal causal_0 "$@"
python - "$RUNS" "$MODELS" <<'PY'
"""The rows of docs/models.md: errors in mm of the files in half precision, and what training took."""
import json, pathlib, sys

folder, models = map(pathlib.Path, sys.argv[1:])
print("| model | parameters | exact 2D | moderate | heavy | training | machine |\n|---|---|---|---|---|---|---|")
for name in ("centred", "causal"):
    runs = [json.loads(path.read_text()) for path in sorted(folder.glob(f"{name}_[0-9]/result.json"))]
    levels = [json.loads((folder / f"{name}_{level}/result.json").read_text()) for level in ("none", "moderate", "heavy")]
    errors = " | ".join(f"{result['mpjpe_mm']:.1f}" for result in levels)
    took = "; ".join(f"{run['training_seconds']:.0f} s, {run['trained_windows']:,} windows" for run in runs)
    device = runs[0]["machine"]["gpu"] or f"{runs[0]['machine']['cpu']}, {runs[0]['machine']['threads']} threads"
    print(f"| {name} | {sum(run['parameters'] for run in runs):,} | {errors} | {took} | {device} |")
size = sum(path.stat().st_size for path in models.glob("*.safetensors"))
print(f"mean training pose: {runs[0]['mean_pose_mm']:.1f} mm; both files in {models}: {size / 1e6:.2f} MB")
PY
