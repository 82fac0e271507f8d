"""From options to parts: the data that a run reads and the model that it starts with."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from glagcn.config import Config
from glagcn.data.blocks import BlockPlan
from glagcn.data.cache import Cache, cache_name, open_cache
from glagcn.data.host_memory import available_memory
from glagcn.data.plan import EpochPlan, select_centers, windows_in_epoch
from glagcn.data.prepare import ensure_cache, existing_cache
from glagcn.data.selection import check_selection, select_in_file, select_test, select_train, training_bytes
from glagcn.data.sources.facts_3dhp import DEFAULT_CAMERAS
from glagcn.data.streamed import StreamedStore
from glagcn.data.validation import hold_out
from glagcn.data.views import ViewChange
from glagcn.data.windows import MM_PER_METRE, FrameStore, fits_device, mean_pose
from glagcn.engine.evaluation import EvaluationSet, scored_frames
from glagcn.engine.metrics import joint_errors
from glagcn.engine.ranks import Ranks
from glagcn.engine.run_data import RunData
from glagcn.engine.runlog import RunLog
from glagcn.engine.schedule import fitting_batch
from glagcn.engine.suite import BLOCK
from glagcn.engine.suites import suite_of
from glagcn.errors import UserError
from glagcn.model.initial import init_published, init_tuned
from glagcn.model.network import LiftingNetwork
from glagcn.skeleton import Skeleton, get_skeleton, graph_skeleton

HOST_SHARE = 0.5  # of the available host memory may hold training frames


def open_data(config: Config, ranks: Ranks, log: RunLog) -> Cache:
    """The cache of the data set, prepared by rank 0 if it is not there yet; one rank of each node verifies it."""
    path = None
    with ranks.agree():
        if ranks.is_main:
            path = prepare_cache(config, log.say)
    path = ranks.from_main(path)
    with ranks.agree():
        if not path.exists():
            raise UserError(f"rank {ranks.rank} does not see {path}; put --cache_dir on a file system of all nodes")
        cache = open_cache(path, verify=ranks.local_rank == 0)
        check_identity(cache, config)
    warning = camera_warning(cache)
    if warning:
        log.say(f"WARNING: {warning}")
    return cache


def prepare_cache(config: Config, say: Callable[[str], None]) -> Path:
    """The path of the cache that the options need, made if it is not there.  Raises UserError where it cannot be."""
    return ensure_cache(
        **_cache_options(config),
        say=say,
        check=partial(
            check_selection,
            subjects_train=config.subjects_train,
            subjects_test=config.subjects_test,
            actions=config.actions,
        ),
    )


def fingerprint_now(config: Config) -> str | None:
    """The fingerprint of the data that the options choose; None where there is no cache of them yet."""
    path = existing_cache(**_cache_options(config))
    return open_cache(path, verify=False).fingerprint if path else None


def _cache_options(config: Config) -> dict[str, Any]:
    return {
        "dataset": config.dataset,
        "root": Path(config.root_path),
        "cache_dir": Path(config.cache_dir) if config.cache_dir else None,
        "annotation": config.annotation,
        "keypoints": config.keypoints,
    }


def check_identity(cache: Cache, config: Config) -> None:
    """Refuse a cache whose name promises other data than it holds.  Raises UserError with both."""
    held = cache_name(cache.dataset, cache.keypoints, cache.annotation)
    wanted = cache_name(config.dataset, config.keypoints, config.annotation)
    if held != wanted:
        raise UserError(
            f"{cache.path} holds what belongs into {held}, and {wanted} is needed; "
            "give the file its own name back, and the next training prepares the right one"
        )


def camera_warning(cache: Cache) -> str | None:
    """What to say when a cache of 3DHP was prepared with other training cameras than everyone's; else None."""
    held = cache.provenance.get("cameras")
    if cache.dataset != "3dhp" or held is None or set(held) == set(DEFAULT_CAMERAS):
        return None
    found, usual = (",".join(map(str, cameras)) for cameras in (held, DEFAULT_CAMERAS))
    return (
        f"{cache.path} holds the training cameras {found}, not the usual {usual}; results will not be comparable with "
        "published ones. For the usual ones, remove the file: the next training prepares it anew"
    )


def load_data(config: Config, ranks: Ranks, cache: Cache) -> RunData:
    """Select, plan, and make the frames of both splits resident, unless those of the training split are streamed."""
    skeleton = get_skeleton(cache.skeleton)
    streamed = is_streamed(config, ranks, cache)
    change = ViewChange(config.turn, config.tilt, config.roll, config.distance)
    with ranks.agree():
        select = select_in_file if streamed else select_train
        train_split = select(cache, config.subjects_train, config.actions, config.downsample)
        test_split = select_test(cache, config.subjects_test, config.actions, config.downsample)
        trained, held_out = None, None
        if config.select_on == "validation":
            trained, held_out = hold_out(train_split, config.validation)
        centers = select_centers(
            train_split, stride=config.stride, subset=config.subset, cameras=config.cameras, trained=trained
        )
        scored = scored_frames(test_split, config.test_frames)
        watched = None if held_out is None else scored_frames(held_out, config.validation_frames)
        make_plan = BlockPlan if streamed else EpochPlan
        windows = config.windows or config.epochs * windows_in_epoch(centers, config.flip)
        batch_size = config.batch_size or fitting_batch(windows)
        plan = make_plan(centers, batch_size, config.flip, config.seed, config.distort_targets, change.draws)
        make_store = partial(
            FrameStore, skeleton=skeleton, num_frames=config.frames, device=ranks.device, causal=config.causal
        )
        # Finding the cameras of other views may fail on the data.
        if isinstance(plan, BlockPlan):
            train = StreamedStore(
                train_split, skeleton, config.frames, ranks.device, plan, causal=config.causal, change=change
            )
        else:
            train = make_store(train_split, change=change)
    validation = None
    if held_out is not None and streamed:
        # Frames in the order of evaluation come from the map of the file, whose pages the system can take back.
        held_out = replace(held_out, pixels=cache.train.pixels, millimetres=cache.train.millimetres)
        validation = EvaluationSet("validation", held_out, make_store(held_out), watched)
    elif held_out is not None:
        validation = EvaluationSet("validation", held_out, train, watched)
    return RunData(
        cache=cache,
        plan=plan,
        train=train,
        train_split=train_split,
        test=EvaluationSet("test", test_split, make_store(test_split), scored),
        validation=validation,
    )


def is_streamed(config: Config, ranks: Ranks, cache: Cache) -> bool:
    """Whether training frames are streamed: as --stream says; "auto": where they fit neither the device nor half of the
    host memory that is available to rank 0, whose answer all ranks take."""
    if config.stream != "auto":
        return config.stream == "on"
    with ranks.agree():
        nbytes = training_bytes(cache, config.subjects_train, config.actions, config.downsample)
    on_device = ranks.device.type != "cpu" and fits_device(nbytes, ranks.device)
    return ranks.from_main(not on_device and nbytes > HOST_SHARE * available_memory())


def mean_pose_error(data: RunData, scored: EvaluationSet) -> float:
    """MPJPE in mm, averaged as the suite does, of predicting the mean training pose for every scored frame: what a
    model must beat clearly.
    """
    split, skeleton, frames = scored.split, get_skeleton(data.cache.skeleton), scored.frames
    mean = mean_pose(data.train_split, data.plan.centers, skeleton).numpy() * MM_PER_METRE
    errors = []
    for begin in range(0, len(frames), BLOCK):
        target = split.millimetres[frames[begin : begin + BLOCK]]
        target -= target[:, skeleton.root, None]
        errors.append(joint_errors(np.broadcast_to(mean, target.shape), target))
    return suite_of(skeleton).mpjpe(np.concatenate(errors), split, frames)


def graph_of(config: Config, skeleton: Skeleton) -> Skeleton:
    """The skeleton whose links the graph convolution follows: --graph, or the data's own."""
    return graph_skeleton(config.graph) if config.graph else skeleton


def build_model(config: Config, data: RunData) -> LiftingNetwork:
    """The network of the options, with the weights that the recipe starts from: the same for the same seed."""
    skeleton = get_skeleton(data.cache.skeleton)
    torch.manual_seed(config.seed)
    model = LiftingNetwork(
        skeleton,
        config.widths,
        config.channels,
        graph=graph_of(config, skeleton),
        sequence_layers=config.sequence_layers,
        head=config.head,
        dropout=config.dropout,
        causal=config.causal,
        relative=config.relative_input,
        # The published model fed COCO joints never applies its own, and ours on its graph is to be the same model.
        input_norm=config.graph != "humaneva15_coco17",
    )
    if config.recipe == "published":
        init_published(model)
    else:
        init_tuned(model, mean_pose(data.train_split, data.plan.centers, skeleton))
    return model
