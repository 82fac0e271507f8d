"""Streamed windows are the resident ones, bit for bit, and only what a group needs is held."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from glagcn.data.cache.file_rows import FileRows
from glagcn.data.cache.reader import open_cache
from glagcn.data.cache.writer import write_cache
from glagcn.data.selection import select_in_file, select_train, training_bytes
from glagcn.data.sequence import Sequence, SequenceInfo
from glagcn.data.windows.block_plan import BlockPlan
from glagcn.data.windows.detection_augmentation import NUM_DRAWS, DetectionAugmentation
from glagcn.data.windows.detection_levels import LEVELS
from glagcn.data.windows.plan import select_centers, share_bounds
from glagcn.data.windows.store import FrameStore
from glagcn.data.windows.streamed_store import StreamedStore
from glagcn.errors import UserError
from glagcn.skeleton import get_skeleton

SKELETON = get_skeleton("mpi3dhp17")
CPU = torch.device("cpu")
LENGTHS = [50, 3, 1, 130, 20, 8, 61]  # shorter and longer than blocks and than windows


class Tiny(BlockPlan):
    block_frames, group_blocks = 13, 4


class RandomSource:
    dataset, keypoints, annotation, skeleton = "3dhp", "gt", "univ", "mpi3dhp17"
    notes: tuple[str, ...] = ()

    def infos(self, split):
        lengths = LENGTHS if split == "train" else [9]
        return [
            SequenceInfo(f"{split[1]}{k % 3}/Seq1/cam{k}", f"{split[1]}{k % 3}", k, length, 25.0, 2048, 1500 + k)
            for k, length in enumerate(lengths)
        ]

    def read(self, split):
        draw = np.random.default_rng(5)
        for info in self.infos(split):
            pixels = draw.uniform(0, 2000, (info.length, 17, 2)).astype(np.float32)
            millimetres = draw.normal(0, 900, (info.length, 17, 3)).astype(np.float32)
            yield Sequence(info, pixels, millimetres, np.ones(info.length, bool), None)

    def provenance(self):
        return {"kind": "random"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    path = tmp_path_factory.mktemp("streamed") / "cache.h5"
    write_cache(path, RandomSource())
    return open_cache(path)


def both_stores(cache, frames=9, causal=False, kind=Tiny, batch_size=32, subjects=None, device=CPU, **selection):
    split = select_in_file(cache, subjects)
    plan = kind(select_centers(split, **selection), batch_size, "copy", seed=7, distort=True)
    streamed = StreamedStore(split, SKELETON, frames, device, plan, causal=causal)
    resident = FrameStore(cache.train, SKELETON, frames, CPU, causal=causal)
    return plan, streamed, resident


def same(batch, other):
    return all(torch.equal(*pair) for pair in zip(batch, other, strict=True))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("frames", [1, 9, 27])
@pytest.mark.parametrize("selection", [{}, {"stride": 5}, {"subset": 0.4}, {"cameras": (0, 3)}, {"subjects": ("r1",)}])
def test_every_window_of_two_epochs_is_the_resident_one(cache, causal, frames, selection):
    plan, streamed, resident = both_stores(cache, frames, causal, **selection)
    for epoch in (0, 1):
        ids = [plan.batch(epoch, index) for index in range(plan.steps_per_epoch)]
        for item, batch in zip(ids, streamed.stream(iter(ids), reuse=True), strict=True):
            assert same(batch, resident.windows(item))


@pytest.mark.parametrize("blocks", [(1, 1), (5, 2), (64, 1), (1000, 4)])
def test_blocks_of_every_size_give_the_same(cache, blocks):
    class Sized(BlockPlan):
        block_frames, group_blocks = blocks

    plan, streamed, resident = both_stores(cache, kind=Sized, batch_size=200)  # a batch of many groups
    for index in range(plan.steps_per_epoch):
        assert same(streamed.windows(plan.batch(0, index)), resident.windows(plan.batch(0, index)))


@pytest.mark.parametrize("causal", [False, True])
def test_windows_with_detections_are_the_resident_ones(cache, causal):
    """Of up to 4 times the frame rate of the window, so that they reach far beyond their block."""
    sequences = tuple(replace(info, fps=50.0) for info in cache.train.sequences)
    split, train = (replace(part, sequences=sequences) for part in (select_in_file(cache), cache.train))
    plan = Tiny(select_centers(split), 32, "copy", seed=7, detection_draws=NUM_DRAWS)
    form = {"causal": causal, "channels": 3, "detections": DetectionAugmentation(LEVELS["heavy"], SKELETON, 0, CPU)}
    streamed, resident = (
        StreamedStore(split, SKELETON, 27, CPU, plan, **form),
        FrameStore(train, SKELETON, 27, CPU, **form),
    )
    for index in range(plan.steps_per_epoch):
        ids = plan.batch(0, index)
        assert ids.detection_draws is not None
        assert same(streamed.windows(ids), resident.windows(ids))


@pytest.mark.parametrize("world_size", [2, 3, 40])
def test_a_rank_reads_its_share(cache, world_size):
    plan, _, resident = both_stores(cache)
    for rank in range(min(world_size, 3)):
        _, streamed, _ = both_stores(cache)
        for index in range(plan.steps_per_epoch):
            whole = plan.batch(0, index)
            mine = whole.part(*share_bounds(len(whole.frames), rank, world_size))
            assert same(streamed.windows(mine), resident.windows(mine))


def test_any_batch_may_be_asked_for(cache):
    """As when a run is resumed: the first batch to try the model on, then one in the middle of an epoch."""
    plan, streamed, resident = both_stores(cache)
    for epoch, index in [(0, 0), (3, 9), (3, 10), (0, 1), (3, 9), (4, 0), (2, plan.steps_per_epoch - 1)]:
        ids = plan.batch(epoch, index)
        assert same(streamed.windows(ids), resident.windows(ids))


def test_windows_go_into_room_that_is_too_large(cache):
    plan, streamed, resident = both_stores(cache)
    ids = plan.batch(0, 3)
    room = streamed.allocate(100)
    batch = streamed.windows(ids, room)
    assert batch.inputs.data_ptr() == room.inputs.data_ptr()
    assert same(batch, resident.windows(ids))
    assert streamed.windows(ids.part(4, 4)).inputs.shape == (0, 9, 17, 2)


def test_the_buffer_is_two_groups_whatever_the_data(cache):
    _, streamed, _ = both_stores(cache, frames=9)
    assert streamed.buffer.nbytes <= 2 * 4 * (13 + 8) * 17 * 5 * 4
    assert f"buffer of {streamed.buffer.nbytes / 1e6:.0f} MB" in streamed.location


def test_the_next_group_is_read_while_this_one_is_used(cache):
    plan, streamed, _ = both_stores(cache)
    read, spans = [], plan.spans

    def recorded(group):
        read.append((group, threading.current_thread() is threading.main_thread()))
        return spans(group)

    plan.spans = recorded
    for group in (0, 0, 1):
        streamed.buffer.use(group)
    streamed.buffer._thread.shutdown(wait=True)  # what it has been given to do is done
    assert read == [(0, False), (1, False), (2, False)]


def test_what_is_read_does_not_depend_on_the_number_of_sequences(cache):
    class Noted(FileRows):
        def __init__(self, array):
            super().__init__(array)
            self.noted = []

        def read(self, begins, ends, out):
            self.noted.append((begins.tolist(), ends.tolist()))
            super().read(begins, ends, out)

    reads = []
    for lengths in (LENGTHS, [1] * sum(LENGTHS)):
        infos = tuple(replace(cache.train.sequences[0], length=length) for length in lengths)
        split = replace(select_in_file(cache), sequences=infos, starts=np.cumsum([0, *lengths[:-1]]))
        split = replace(split, pixels=Noted(cache.train.pixels))
        plan = Tiny(select_centers(split), 32, "none", seed=7)
        store = StreamedStore(split, SKELETON, 9, CPU, plan)
        for index in range(plan.steps_per_epoch):
            store.windows(plan.batch(0, index))
        store.buffer.use(plan.num_groups)  # the first of the next epoch, which is under way
        reads.append(split.pixels.noted[: plan.num_groups])
    assert reads[0] == reads[1]


def test_a_file_that_became_shorter_is_named(tmp_path):
    path = tmp_path / "cache.h5"
    write_cache(path, RandomSource())
    cache = open_cache(path)
    plan, streamed, _ = both_stores(cache)
    path.write_bytes(path.read_bytes()[:20_000])
    every = [plan.batch(0, index) for index in range(plan.steps_per_epoch)]
    with pytest.raises(UserError, match=r"cannot read .*cache\.h5 any more \(it was truncated\); restore the cache"):
        list(streamed.stream(iter(every)))
    path.unlink()
    with pytest.raises(UserError, match="No such file"):
        both_stores(cache)[1].windows(plan.batch(0, 0))


class TestFileRows:
    def test_rows_in_any_order(self, cache):
        rows = FileRows(cache.train.millimetres)
        chosen = np.array([5, 200, 0, 5, sum(LENGTHS) - 1])
        np.testing.assert_array_equal(rows[chosen], cache.train.millimetres[chosen])
        assert (len(rows), rows.nbytes) == (sum(LENGTHS), cache.train.millimetres.nbytes)

    def test_spans_follow_each_other(self, cache):
        out = np.empty((12, 17, 2), np.float32)
        FileRows(cache.train.pixels).read(np.array([40, 3]), np.array([50, 5]), out)
        expected = cache.train.pixels[np.r_[40:50, 3:5]]
        np.testing.assert_array_equal(out, expected)


class TestSelection:
    def test_chosen_sequences_stay_where_they_are(self, cache):
        left, gathered = select_in_file(cache, ("r0", "r2")), select_train(cache, ("r0", "r2"))
        assert left.sequences == gathered.sequences
        assert len(left.pixels) == sum(LENGTHS)
        centers = select_centers(left)
        np.testing.assert_array_equal(left.millimetres[centers], gathered.millimetres)

    @pytest.mark.parametrize(
        ("chosen", "message"),
        [
            ({"downsample": 2}, "--downsample 2 needs the frames in memory.*--stream off"),
            ({"subjects": ("e0",)}, "--subjects-train e0 needs the frames in memory"),
            ({"subjects": ("nobody",)}, "invalid --subjects-train nobody: the subjects of this data set are"),
        ],
    )
    def test_what_would_copy_is_refused(self, cache, chosen, message):
        with pytest.raises(UserError, match=message):
            select_in_file(cache, **chosen)

    def test_bytes_are_those_that_would_be_held(self, cache):
        for chosen in ({}, {"subjects": ("r0",)}, {"subjects": ("e0", "r1")}, {"downsample": 3}):
            split = select_train(cache, **chosen)
            assert training_bytes(cache, **chosen) == split.pixels.nbytes + split.millimetres.nbytes
