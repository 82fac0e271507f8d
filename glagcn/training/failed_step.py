"""A training step whose loss or gradient is not finite: saved by the run, repeated and explained by `replay`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from glagcn import dist, precision
from glagcn.checkpoints import checkpoint
from glagcn.data.cache.reader import Split
from glagcn.data.windows.plan import EpochPlan, Share
from glagcn.data.windows.store import Batch
from glagcn.files import WriteError
from glagcn.training.optim.schedule import dropout_seed
from glagcn.training.step import Stepper

MAX_NAMED = 5  # of windows or tensors in a line


def failed_step(state: Mapping[str, Any], plan: EpochPlan, step: int) -> dict[str, Any]:
    """The content of the file: a checkpoint of the state before `step`, and the windows of the step.

    state  a checkpoint whose weights and optimizer are those before `step`; its progress may be ahead.
    """
    ids = plan.batch(*divmod(step - 1, plan.steps_per_epoch))
    windows = {"frames": torch.from_numpy(ids.frames.copy()), "flips": torch.from_numpy(ids.flips.copy())}
    return dict(state) | {"progress": state["progress"] | {"step": step - 1}, "failed_step": {"step": step} | windows}


def save_failed_step(path: Path, state: Mapping[str, Any], plan: EpochPlan, step: int) -> str:
    """Write `failed_step` to `path`; -> how to look at it, for a message, or nothing if it could not be written."""
    try:
        checkpoint.save(path, failed_step(state, plan, step))
    except WriteError:  # the message about the failed step says more
        return ""
    return f"; glagcn replay {path} repeats the step and shows where"


def window_names(frames: Tensor, split: Split) -> list[str]:
    """For target frames [n] of a split: "S1/Seq1/cam0 frame 12", frames counted from 0."""
    sequences = np.searchsorted(split.starts, frames.numpy(), side="right") - 1
    return [
        f"{split.sequences[number].name} frame {frame - split.starts[number]}"
        for number, frame in zip(sequences, frames.tolist(), strict=True)
    ]


def explain(stepper: Stepper, batch: Batch, share: Share, counters: tuple[int, ...], names: list[str]) -> list[str]:
    """Repeat a step without changing the weights; -> lines that name what is not finite.

    share     all micro-batches of the global batch `batch`, whose windows have `names`.
    counters  of the dropout seeds: (seed, epoch, index).
    """
    lines, begin = [], 0
    model = stepper.model.train()
    skeleton = model.skeleton
    for number, size in enumerate(share.sizes):
        windows = slice(begin, begin + size)
        part, some = Batch(batch.inputs[windows], batch.targets[windows]), names[windows]
        torch.manual_seed(dropout_seed(*counters, share.first + number))
        joints = skeleton.joints if skeleton.joint_map is None else ()
        lines += _bad_poses("2D input", part.inputs, some, joints)
        lines += _bad_poses("3D target", part.targets, some, skeleton.joints)
        with _watched(model) as bad, precision.autocast(stepper.optim.precision, dist.device()):
            prediction = model(part.inputs)
        lines += [f"{name}: the output is not finite" for name in bad[:1]]
        frame = model.target_frame
        distance = torch.linalg.vector_norm(prediction.center - part.targets[:, frame : frame + 1], dim=-1)
        if not bad:
            lines += _bad_poses("error of the target frame", distance[..., None], some, skeleton.joints)
        begin += size
    sums = stepper.gradient(batch, share, partial(dropout_seed, *counters))
    lines += [f"loss term {n}: {float(v):g}" for n, v in zip(stepper.loss.names, sums, strict=True) if not v.isfinite()]
    bad = [name for name, weights in model.named_parameters() if weights.grad is not None and not finite(weights.grad)]
    if bad:
        total = sum(1 for weights in model.parameters() if weights.grad is not None)
        lines.append(f"gradient: not finite in {len(bad)} of {total} tensors: {_some(bad)}")
    return lines


def finite(tensor: Tensor) -> bool:
    """Whether all values are finite."""
    return bool(torch.isfinite(tensor).all())


@contextmanager
def _watched(model: nn.Module) -> Iterator[list[str]]:
    """Collect the names of the modules whose output is not finite, in the order of computation."""
    bad: list[str] = []

    def look(name: str, module: nn.Module, inputs: object, output: object) -> None:  # noqa: ARG001
        if isinstance(output, Tensor) and not finite(output):
            bad.append(name)

    hooks = [module.register_forward_hook(partial(look, name)) for name, module in model.named_modules() if name]
    try:
        yield bad
    finally:
        for hook in hooks:
            hook.remove()


def _bad_poses(what: str, poses: Tensor, names: list[str], joints: tuple[str, ...]) -> list[str]:
    """Lines for windows whose poses [n,T,V,C] are not finite, with the first joint."""
    bad = ~torch.isfinite(poses).all(dim=-1).all(dim=1)  # [n,V]
    return [
        f"{what} of window {names[window]}: not finite at {joints[joint] if joints else f'joint {joint}'}"
        for window in bad.any(dim=1).nonzero().flatten().tolist()[:MAX_NAMED]
        for joint in bad[window].nonzero().flatten().tolist()[:1]
    ]


def _some(names: list[str]) -> str:
    return ", ".join(names[:MAX_NAMED]) + (", ..." if len(names) > MAX_NAMED else "")
