"""Builds the parts of a run from its options: data selection, epoch plan, frame stores and model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from glagcn import dist
from glagcn.config.options import Config
from glagcn.config.resolve import changed
from glagcn.data.camera_augmentation import CameraRange
from glagcn.data.dataset import Cache, Split
from glagcn.data.detector_noise import NUM_DRAWS, DetectorNoise, with_detector_noise
from glagcn.data.lenses import find_lenses
from glagcn.data.noise_levels import LEVELS
from glagcn.data.plan import EpochPlan, select_target_frames, windows_in_epoch
from glagcn.data.selection import select, split_validation
from glagcn.data.windows import FrameStore, mean_pose
from glagcn.evaluate.benchmarks import benchmark_of
from glagcn.evaluate.evaluate import EvaluationSet, scored_frames
from glagcn.model.interface import Model
from glagcn.model.registry import get_kind
from glagcn.skeletons import get_skeleton
from glagcn.train.optim import WARMUP_STEPS, curve_windows, fitting_batch


@dataclass(frozen=True)
class Selection:
    """The frames and windows selected by the options, before any frames are loaded.

    target_frames  [W] of the training windows, as frame numbers of `train`.
    held_out       the validation sequences; None without validation.
    scored         frames of an evaluation that selects the best state; 0 if none does.
    """

    train: Split
    test: Split
    held_out: Split | None
    target_frames: np.ndarray
    scored: int = 0


@dataclass(frozen=True)
class RunData:
    """The data of a run: cache, epoch plan, frame stores and evaluation sets."""

    cache: Cache
    plan: EpochPlan
    train: FrameStore
    train_split: Split  # the frames behind `train`; `plan` refers to their numbers
    test: EvaluationSet
    validation: EvaluationSet | None  # the held-out training sequences, with --select_on validation

    @cached_property
    def mean_pose(self) -> torch.Tensor:
        """`windows.mean_pose` of the training windows: where models start, and the baseline of their errors."""
        return mean_pose(self.train_split, self.plan.target_frames, get_skeleton(self.cache.skeleton))


def select_data(config: Config, cache: Cache) -> Selection:
    """Select subjects, actions, held-out sequences and windows.  Raises UserError on all ranks if nothing is left."""
    data = config.data
    with dist.agree():
        train = select(cache, "train", data.subjects_train, data.actions, data.downsample)
        test = select(cache, "test", data.subjects_test, data.actions, data.downsample)
        test = with_detector_noise(test, get_skeleton(cache.skeleton), config.selection.test_detections)
        trained, held_out, scored = None, None, 0
        if config.selection.select_on == "validation":
            trained, held_out = split_validation(train, config.selection.validation or ())
            scored = len(scored_frames(held_out, config.selection.validation_frames))
        elif config.selection.select_on == "test":
            scored = len(scored_frames(test, config.selection.test_frames))
        target_frames = select_target_frames(
            train, stride=data.stride, subset=data.subset, cameras=data.cameras, trained=trained
        )
    return Selection(train, test, held_out, target_frames, scored)


def settle(
    config: Config,
    selection: Selection,
    precision: str,
    earlier: Mapping[str, Any],
    resume: str | None,
    origin: Mapping[str, str],
) -> Config:
    """Fill in the options that depend on the device, the data or the run being resumed.  The result is final.

    precision  the resolved --precision.
    earlier    the options of the run being resumed, else empty: a prolonged run keeps its batch size and warm-up.
    resume     the checkpoint of --resume; None if that is the run's own last.pt.
    origin     the source of each value: a short run is evaluated more often unless --eval_epochs is given.
    """
    optim, eval_windows = config.optim, config.selection.eval_windows
    epoch = windows_in_epoch(selection.target_frames, config.data.flip)
    windows = optim.windows or optim.epochs * epoch
    if eval_windows is None and selection.scored and origin.get("eval_epochs") == "default":
        eval_windows = curve_windows(windows, windows / max(epoch, 1), selection.scored, config.data.test_flip)
    batch_size = optim.batch_size or earlier.get("batch_size") or fitting_batch(windows)
    warmup = earlier.get("warmup") if optim.warmup is None else optim.warmup
    return changed(
        config,
        precision=precision,
        resume=resume,
        batch_size=batch_size,
        eval_windows=eval_windows,
        warmup=WARMUP_STEPS * batch_size if warmup is None else warmup,
    )


def load_data(config: Config, cache: Cache, selection: Selection | None = None) -> RunData:
    """Make the epoch plan and the frame stores of both splits.

    config  must have a batch size, which `settle` fills in.
    """
    selection = selection or select_data(config, cache)
    data, optim, skeleton = config.data, config.optim, get_skeleton(cache.skeleton)
    camera_range = CameraRange(data.turn, data.tilt, data.roll, data.distance)
    noise = DetectorNoise(LEVELS[data.detections], skeleton, optim.seed, dist.device()) if data.detections else None
    form: dict[str, Any] = {"channels": len(config.model.input), "causal": config.model.causal}
    make_store: Callable[..., FrameStore] = partial(
        FrameStore, skeleton=skeleton, num_frames=config.model.frames, device=dist.device(), **form
    )
    in_rays = config.model.frame == "ray"
    benchmark = benchmark_of(cache.dataset)
    with dist.agree():  # fitting cameras for the augmentation may fail
        scored = scored_frames(selection.test, config.selection.test_frames)
        lenses = find_lenses(cache, selection.test, training=False) if in_rays else None
        test = EvaluationSet("test", selection.test, make_store(selection.test, lenses=lenses), scored, benchmark)
        draws = camera_range.num_draws, NUM_DRAWS if noise else 0
        plan = EpochPlan(
            selection.target_frames, optim.batch_size or 0, data.flip, optim.seed, data.distort_targets, *draws
        )
        lenses = find_lenses(cache, selection.train, training=True) if in_rays else None
        train = make_store(selection.train, camera_range=camera_range, noise=noise, lenses=lenses)
        validation, held_out = None, selection.held_out
        if held_out is not None:
            scored = scored_frames(held_out, config.selection.validation_frames)
            validation = EvaluationSet("validation", held_out, train, scored, benchmark)
    return RunData(cache, plan, train, selection.train, test, validation)


def build_model(config: Config, data: RunData) -> Model:
    """Build the model of the options, with the recipe's initial weights, which depend on the seed only."""
    skeleton = get_skeleton(data.cache.skeleton)
    torch.manual_seed(config.optim.seed)
    model = get_kind(config.model.kind).load().build(skeleton, config.model)
    model.frame = config.model.frame
    model.initialise(config.optim.recipe, data.mean_pose)
    return model
