"""How fast this checkout is beside another one: predictions, a stream, commands and their starts.

    python -m tools.speed --base CHECKOUT --data DIR [PART...] [--rounds 5] [--frames 19158] [--long 100000]

CHECKOUT is another working tree of the repository (git worktree add --detach DIR COMMIT), which runs with this Python;
DIR has mocap_gt.h5, as `glagcn prepare mocap` or a first training writes it.  The two alternate, on one core and one
thread.  The table has medians over the rounds of CPU seconds and, beside them, of wall seconds, and ratios of the CPU
seconds: other work on the machine stretches wall seconds only.

| part | measured |
|---|---|
| temporal_conv_27, temporal_conv_243 | prediction of mocap's test set with 256 channels, and a plain dense pass of the same network |
| gla_gcn, gla_gcn_ray | the same with GLA-GCN as shipped, but in the axes of the camera, which the other checkout may \
not know otherwise; in the ray frame (this checkout only) |
| live, live_flip | 300 calls of `Lifter.push` of the causal model that each checkout ships, without flips; with (this \
checkout only) |
| lift_30, lift_long | `glagcn lift` of 30 frames with the model that each checkout ships, of --long frames with \
temporal_conv_27; peak memory |
| start | `main_sagcn_gpus.py --dataset mocap` from the command to its first step, of 16 windows |
| step_* | a training step of temporal_conv (27 frames, 256 channels) and of GLA-GCN (27 frames, 32 channels) |
"""  # noqa: E501

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import safetensors.torch
import torch
from safetensors import safe_open

from glagcn.machine import describe
from glagcn.tables import Table

HERE = Path(__file__).parents[1]
CORE = sorted(os.sched_getaffinity(0))[0]
WAIT_S = 0.02
SIZE = 2048, 2048

# A worker does its work once for each line that it reads, and answers with CPU and wall seconds.
WORKER = """
import sys, time, numpy as np, torch, logging
torch.set_num_threads(1); logging.disable(logging.CRITICAL)
import glagcn
{setup}
for _ in sys.stdin:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    print("DONE", time.process_time() - cpu, time.perf_counter() - wall, flush=True)
"""
PREDICT = """
from pathlib import Path
model, device, ranks, more = glagcn.load_model({model!r}), torch.device("cpu"), (), dict()
model.frame = {frame!r}
try:
    from glagcn.data.cache import open_cache
    from glagcn.data.windows import FrameStore
    from glagcn.evaluate.evaluate import predict_frames
except ImportError:  # 0c19949
    from glagcn.data.cache.reader import open_cache
    from glagcn.data.windows.store import FrameStore
    from glagcn.distributed.ranks import Ranks
    from glagcn.evaluation.predict import predict_frames
    ranks = (Ranks(1),)
cache = open_cache(Path({data!r}))
if model.frame == "ray":
    from glagcn.data.lenses import find_lenses
    more["lenses"] = find_lenses(cache, cache.test, training=False)
form = dict(channels=len(getattr(model, "input", "xy")), causal=model.causal)
store = FrameStore(cache.test, model.skeleton, model.frames, device, **form, **more)
frames = np.flatnonzero(cache.test.valid)[:{frames}]
def work():
    torch.set_num_threads(1)
    predict_frames(model, store, frames, *ranks, flip=True, zero_root=True)
"""
DENSE = """
import torch.nn.functional as F
tracks = dict(np.load({tracks!r}))
model = glagcn.load_model({model!r}).eval()
def layer(layer, x, width, dilation):
    weight = layer.linear.weight.unflatten(1, (width, -1)).transpose(1, 2)
    x, norm = F.conv1d(x, weight, dilation=dilation), layer.norm
    return F.relu(F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps))
def dense(x):
    x, dilation = layer(model.expand, x, model.widths[0], 1), model.widths[0]
    for block in model.blocks:
        y = layer(block.narrow, layer(block.wide, x, block.width, dilation), 1, 1)
        x, dilation = y + x[:, :, block.kept * dilation :][:, :, : y.shape[2]], dilation * block.width
    return F.linear(x.transpose(1, 2), model.shrink.weight, model.shrink.bias)
@torch.inference_mode()
def work():
    for name in tracks:
        x = torch.from_numpy(tracks[name]).flatten(1).T[None] / {size}[0] * 2 - 1
        x = F.pad(x, (model.target_frame, model.frames - 1 - model.target_frame), mode="replicate")
        dense(x), dense(-x)
"""
LIVE = """
track = np.load({tracks!r})["0"]
model, flip = glagcn.load_model({model!r}), dict(flip={flip})
try: lifter = glagcn.Lifter(model, {size}, **flip)
except TypeError: lifter = glagcn.Lifter(model, {size})  # 0c19949 has none
def work():
    for frame in range(300): lifter.push(track[frame % len(track)])
"""
STEP = """
model = glagcn.load_model({model!r}).train()
targets = torch.zeros({count}, 27, 17, 3)
x = torch.randn({count}, *model.window_shape)
optimizer = torch.optim.Adam(model.parameters())
def work():
    for _ in range({steps}):
        optimizer.zero_grad()
        target, sequence = model(x)
        loss = (target - targets[:, 13:14]).norm(dim=-1).mean()
        if sequence is not None: loss = loss + (sequence - targets).norm(dim=-1).mean()
        loss.backward()
        optimizer.step()
"""


class Worker:
    """A process of a checkout that does the same work again and again."""

    def __init__(self, checkout: Path, setup: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER.format(setup=setup)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **_place(checkout),
        )  # fmt: skip
        self()  # warm

    def __call__(self) -> tuple[float, float, float]:
        """CPU and wall seconds; no memory."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith("DONE"):
                cpu, wall = map(float, line.split()[1:])
                return cpu, wall, 0.0
        raise SystemExit("a worker ended; see its message above")


class Command:
    """A command of a checkout; with `until`, measured until that file has a line of a step, and then stopped."""

    def __init__(self, checkout: Path, *arguments: object, until: Path | None = None) -> None:
        self.checkout, self.arguments, self.until = checkout, [str(each) for each in arguments], until

    def __call__(self) -> tuple[float, float, float]:
        """CPU and wall seconds, and peak memory in MB."""
        begin = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *self.arguments],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **_place(self.checkout),
        )  # fmt: skip
        if self.until:
            while process.poll() is None and not (self.until.exists() and '"train"' in self.until.read_text()):
                time.sleep(WAIT_S)
            cpu, wall = _cpu(process.pid), time.perf_counter() - begin
            process.kill()
            process.wait()
            self.until.unlink()
            return cpu, wall, 0.0
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        if status:
            raise SystemExit(f"failed: {' '.join(self.arguments)}")
        return usage.ru_utime + usage.ru_stime, time.perf_counter() - begin, usage.ru_maxrss / 1024


def _place(checkout: Path) -> dict:
    """Where and how a process runs: in a checkout, on one core, on one thread."""
    env = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    return {"cwd": checkout, "env": env, "preexec_fn": lambda: os.sched_setaffinity(0, {CORE})}


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def untrained(folder: Path, kind: str, frames: int, channels: int, **form: object) -> str:
    """The path of a model with its first weights, which both checkouts can read; `form` is as its constructor's."""
    from glagcn.checkpoints import ours
    from glagcn.model.registry import get_kind, model_config
    from glagcn.model.widths import widths_for
    from glagcn.skeletons import get_skeleton

    path = folder / f"{kind}_{frames}.safetensors"
    with safe_open(HERE / "glagcn/models/centred.safetensors", "pt") as file:
        metadata = file.metadata()
    model = get_kind(kind).load()(get_skeleton("mpi3dhp17"), widths_for(frames), channels, **form)  # type: ignore[call-arg]
    config = {key: value for key, value in model_config(model).items() if key != "frame"}  # earlier versions lack it
    metadata |= {"model_config": json.dumps(config)}
    weights = {name: value.clone(memory_format=torch.contiguous_format) for name, value in model.state_dict().items()}
    metadata["digest"] = ours.digest(ours.assemble(metadata, weights))
    path.write_bytes(safetensors.torch.save(weights, metadata))
    return str(path)


def shipped(checkout: Path, name: str) -> str:
    """The path of a model that a checkout ships."""
    return str(checkout / f"glagcn/models/{name}.safetensors")


def tracks_of(data: Path, most: int) -> dict[str, np.ndarray]:
    """Mocap's test sequences [T,V,2] float32, up to `most` frames of them, in images of SIZE pixels."""
    from glagcn.data.cache import open_cache

    test = open_cache(data / "mocap_gt.h5").test
    tracks, frames = {}, 0
    for number, info in enumerate(test.sequences):
        if frames < most:
            pixels = np.asarray(test.pixels[test.frames(number)], np.float32)
            tracks[str(number)] = (pixels / max(info.width, info.height) * SIZE[0])[: most - frames]
            frames += len(pixels)
    return tracks


def works(part: str, arguments: argparse.Namespace, folder: Path) -> dict:
    """{column: work} of a part; the columns are "base", "now" and "dense"."""
    base, data = arguments.base, arguments.data
    fill = {"tracks": str(folder / "tracks.npz"), "size": SIZE, "frame": "camera", "frames": arguments.frames}
    fill["data"] = str(data / "mocap_gt.h5")

    def both(text: str, **values: object) -> dict:
        return {name: Worker(where, text.format(**fill | values)) for name, where in (("base", base), ("now", HERE))}

    if part.startswith("temporal_conv"):
        frames = part.rpartition("_")[2]
        model = untrained(folder, "temporal_conv", int(frames), 256)
        return both(PREDICT, model=model) | {"dense": Worker(HERE, DENSE.format(**fill, model=model))}
    if part.startswith("gla_gcn"):
        model = untrained(folder, "gla_gcn", 27, 32, sequence_layers=0, input="xyc", relative=True)
        if part == "gla_gcn":
            return both(PREDICT, model=model)
        return {"now": Worker(HERE, PREDICT.format(**fill | {"frame": "ray"}, model=model))}
    if part.startswith("live"):
        checkouts = {"base": base, "now": HERE} if part == "live" else {"now": HERE}
        return {
            name: Worker(where, LIVE.format(**fill, model=shipped(where, "causal"), flip=part == "live_flip"))
            for name, where in checkouts.items()
        }
    if part == "start":
        flags = ["main_sagcn_gpus.py", "--dataset", "mocap", "--root_path", data, "-c", folder, "--log_steps", 1,
                 "--batch_size", 16]  # fmt: skip
        return {
            name: Command(where, *flags, "--run", name, "--fresh", until=folder / name / "metrics.jsonl")
            for name, where in (("base", base), ("now", HERE))
        }
    if part.startswith("step"):
        conv = part == "step_temporal_conv"
        model = untrained(folder, "temporal_conv", 27, 256) if conv else untrained(folder, "gla_gcn", 27, 32)
        return both(STEP, model=model, count=256 if conv else 64, steps=4)
    count, models = 30, {name: shipped(where, "centred") for name, where in (("base", base), ("now", HERE))}
    if part == "lift_long":
        count, models = arguments.long, dict.fromkeys(models, untrained(folder, "temporal_conv", 27, 256))
    track = np.concatenate([*np.load(fill["tracks"]).values()])
    track = np.concatenate([track, track[::-1]])
    np.save(folder / f"{count}.npy", np.concatenate([track] * -(-count // len(track)))[:count])
    flags = ["-m", "glagcn", "lift", folder / f"{count}.npy", "--image_size", "2048,2048", "--fps", 30,
             "--joints", "mpi3dhp17", "--checkpoint"]  # fmt: skip
    return {
        name: Command(where, *flags, models[name], "--out", folder / f"{name}.npz")
        for name, where in (("base", base), ("now", HERE))
    }


PARTS = (
    "temporal_conv_27", "temporal_conv_243", "gla_gcn", "gla_gcn_ray", "live", "live_flip", "lift_30", "lift_long",
    "start", "step_temporal_conv", "step_gla_gcn",
)  # fmt: skip


def main() -> None:
    """Measure, and print a table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help="default: all")
    parser.add_argument("--base", type=lambda path: Path(path).resolve(), required=True, metavar="CHECKOUT")
    parser.add_argument("--data", type=lambda path: Path(path).resolve(), required=True, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=19158, help="of mocap's test set that are predicted")
    parser.add_argument("--long", type=int, default=100_000, help="frames of lift_long")
    arguments = parser.parse_args()
    commits = [
        subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=where, capture_output=True, text=True
        ).stdout.strip()
        for where in (arguments.base, HERE)
    ]
    machine = describe(torch.device("cpu"))
    print(f"{machine['cpu']}, one core; torch {machine['torch']}, Python {machine['python']}; {' and '.join(commits)}")
    table = Table("part", "base CPU s", "now CPU s", "ratio", "dense CPU s", "base wall s", "now wall s", "MB")
    with TemporaryDirectory(prefix="glagcn_speed_") as name:
        folder = Path(name)
        np.savez(folder / "tracks.npz", **tracks_of(arguments.data, arguments.frames))
        for part in arguments.parts or PARTS:
            each = works(part, arguments, folder)
            rounds = [{column: work() for column, work in each.items()} for _ in range(arguments.rounds)]
            for work in each.values():
                if isinstance(work, Worker):
                    work.process.kill()
            found = {column: [median(row[column][axis] for row in rounds) for axis in range(3)] for column in each}
            cells = {column: [f"{values[0]:.3f}", f"{values[1]:.3f}"] for column, values in found.items()}
            ratio = f"{found['base'][0] / found['now'][0]:.2f}" if "base" in found else "-"
            memory = " / ".join(
                f"{found[column][2]:.0f}" for column in ("base", "now") if found.get(column, [0] * 3)[2]
            )
            row = [cells.get(column, ["-", "-"]) for column in ("base", "now", "dense")]
            table.add(part, row[0][0], row[1][0], ratio, row[2][0], row[0][1], row[1][1], memory or "-")
            print(f"{table.text()}\n", flush=True)


if __name__ == "__main__":
    main()
