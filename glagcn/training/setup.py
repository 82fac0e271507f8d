"""From options to parts: the data that a run reads and the model that it starts with."""

from dataclasses import replace
from functools import partial

import torch

from glagcn.config.config import Config
from glagcn.data.cache.reader import Cache
from glagcn.data.host_memory import available_memory
from glagcn.data.selection import select_in_file, select_test, select_train, training_bytes
from glagcn.data.validation import hold_out
from glagcn.data.windows.block_plan import BlockPlan
from glagcn.data.windows.camera_augmentation import ViewChange
from glagcn.data.windows.plan import EpochPlan, select_centers, windows_in_epoch
from glagcn.data.windows.store import FrameStore, fits_device, mean_pose
from glagcn.data.windows.streamed_store import StreamedStore
from glagcn.distributed.ranks import Ranks
from glagcn.evaluation.evaluate import EvaluationSet, scored_frames
from glagcn.model.initialisation import init_published, init_tuned
from glagcn.model.network import LiftingNetwork
from glagcn.skeleton import Skeleton, get_skeleton, graph_skeleton
from glagcn.training.optim.schedule import fitting_batch
from glagcn.training.run_data import RunData

HOST_SHARE = 0.5  # of the available host memory may hold training frames


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
