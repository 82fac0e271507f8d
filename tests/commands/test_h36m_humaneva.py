"""Human3.6M and HumanEva-I from flags to results, on small files in the real layouts."""

import pytest
import torch

from glagcn.checkpoints import ours as checkpoint
from glagcn.checkpoints.load import load_model
from tests.command_line import Ended, assert_refused, listing
from tests.command_line import result as results
from tests.published_files import write_folder, write_published

SMALL = "--workers 1 --log_steps 1 -ch 8 -b 32 -e 1 --max_steps 2 --test_frames 30"
GT = "humaneva/96_gt_27_supervised_epoch_819.bin"
DRY = f"{SMALL} -arc 3,3 --dry_run"
COCO = "humaneva/96_detectron_pt_coco_27_supervised_epoch_990.bin"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """data/ and checkpoint/ of a user of the published project; caches appear, nothing else may change."""
    return write_folder(tmp_path_factory.mktemp("user"))


@pytest.fixture
def start(train, files, tmp_path):
    """start(flags): the trainer on these files, run folders in tmp_path."""

    def run(flags: str, checkpoints=tmp_path) -> Ended:
        return train(f"--root_path {files}/data -c {checkpoints} --workers 1 {flags}")

    return run


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ("-d humaneva15 --graph humaneva15 --resume {}/" + GT, "humaneva15_gt_f27_c8_shared0_published_seed0"),
        (
            "-d humaneva15 -k detectron_pt_coco --graph humaneva15_coco17 --resume {}/" + COCO,
            "humaneva15_detectron_pt_coco_f27_c8_shared0_published_seed0",
        ),
        ("-arc 3,3 --resume {}/small.pth", "h36m_gt_f9_c8_shared0_published_seed0"),
    ],
)
def test_training_starts_from_published_weights(start, files, tmp_path, flags, name):
    write_published(files / "checkpoint/small.bin", "h36m17", 2)
    content = torch.load(files / "checkpoint/small.bin", weights_only=False)
    torch.save(
        {key.removeprefix("module."): value for key, value in content["model_pos"].items()},
        files / "checkpoint/small.pth",
    )
    ended = start(f"{SMALL} {flags.format(files / 'checkpoint')} --lr 1e-12 --lr_final 1e-12 --max_steps 1")
    assert ended.code == 0, ended.err
    assert "a published file; optimiser, learning rate and epoch count start from scratch" in ended.out
    assert "assumed" in ended.out
    trained = checkpoint.load(tmp_path / name / "last.pt")["model"]
    published = load_model(flags.format(files / "checkpoint").rpartition(" ")[2]).state_dict()
    assert torch.allclose(trained["head.shared.weight"], published["head.shared.weight"], atol=1e-6)


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ("-d humaneva15 --resume {}/" + GT, ("--graph is humaneva15_tree and was humaneva15",)),
        (
            "-d humaneva15 --resume {}/" + COCO,
            (r"the skeleton of the data \(-d, -k\) is humaneva15 and was humaneva15_coco17",),
        ),
        ("--resume {}/h36m/96_gt_243_supervised.bin -arc 3,3", ("for 5 filter widths, not 2; give -arc 3,3,3,3,3",)),
        ("--resume {}/h36m/96_gt_243_supervised.bin -ch 16", ("--channel is 16 and was 8",)),
        ("--resume {}/h36m/96_gt_243_supervised.bin --causal", ("--causal is True and was False",)),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_the_flag_that_would(start, files, tmp_path, flags, parts):
    assert start(DRY).code == start(f"{DRY} -d humaneva15").code == 0  # the caches are there
    before = listing(files)
    assert_refused(start(f"-ch 8 {flags.format(files / 'checkpoint')}"), *parts)
    assert listing(files) == before
    assert list(tmp_path.iterdir()) == []


def test_the_widths_of_a_start_are_those_of_the_run(start, files):
    """Nothing in the file tells them, so they are not said to be 3 where the run has others."""
    ended = start(f"{SMALL} -d humaneva15 --graph humaneva15 -arc 3,3,5 --resume {files}/checkpoint/{GT}")
    assert ended.code == 0, ended.err
    assert "its name says 27 frames, but the given filter widths (3, 3, 5) make 45" in ended.out
    assert "assumed (3, 3, 3)" not in ended.out


@pytest.mark.parametrize(
    "flags",
    [
        "-arc 3,3 --sequence_layers 1 --head unshared --recipe tuned",
        "-arc 3,3 --sequence_layers 1 --head mixed --distort_targets -da",
        "-arc 3,3 --causal --downsample 2 -a Walking -str S1,S9 -ste S5 -tta",
        "-d humaneva15 -arc 3,3 -k detectron_pt_coco --sequence_layers 1 --head unshared --recipe tuned",
    ],
)
def test_the_full_model_trains_here_too(start, tmp_path, flags):
    ended = start(f"{SMALL} {flags} --run r")
    assert ended.code == 0, ended.err
    result = results(tmp_path / "r")
    assert result["frames"] == 30
    assert result["mpjpe_mm"] > 0
    if "humaneva" in flags:
        assert "graph humaneva15_tree" in ended.out
    if "causal" in flags:
        assert set(result["subjects"]) == {"S5"}
        assert set(result["actions"]) == {"Walking"}
        again = start(f"{flags} --run r --evaluate --output {tmp_path}/again --test_frames 30")
        assert again.code == 0, again.err
        assert results(tmp_path / "again")["mpjpe_mm"] == result["mpjpe_mm"]


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ("-a Dance", ("--actions Dance", "Directions", "Walking")),
        ("-k cpn", ("data_2d_h36m_cpn.npz", "data_3d_h36m.npz", "DATASETS.md")),
        (
            "-d humaneva15 --evaluate {}/h36m/96_gt_243_supervised.bin",
            ("17 joints of h36m17", "15 joints of humaneva15"),
        ),
        (
            "-d humaneva15 --evaluate {}/" + COCO,
            ("17 joints of humaneva15_coco17", r"\(-d humaneva15 -k detectron_pt_coco\)"),
        ),
        (
            "--evaluate {}/h36m/96_gt_243_supervised.bin --resume x.bin",
            ("--resume x.bin has no effect on --evaluate and --render",),
        ),
        ("--evaluate {}/h36m/96_gt_243_supervised.bin -f 27", ("frames 243, but the flag says 27",)),
    ],
)
def test_what_is_not_there_is_refused_before_anything_is_written(start, files, tmp_path, flags, parts):
    for cache in (files / "data").glob("*.h5"):
        cache.unlink()
    before = listing(files)
    assert_refused(start(flags.format(files / "checkpoint")), *parts)
    assert listing(files) == before
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_evaluates_nothing(start, files, tmp_path):
    ended = start(f"-d humaneva15 --evaluate {files}/checkpoint/{GT} --output {tmp_path}/out --dry_run")
    assert ended.code == 0, ended.err
    assert f"Dry run: nothing was evaluated; the results would be in {tmp_path}/out" in ended.out
    assert not (tmp_path / "out").exists()


def test_a_published_file_is_a_warning_unless_its_name_fits_the_data(start, files, tmp_path):
    checkpoints = files / "checkpoint"
    write_published(tmp_path / "nameless.bin", "humaneva15", 3)
    cpn = "trained on 2D poses from cpn_ft_h36m_dbb, according to its name, but is evaluated on gt"
    assumed = "is a published file without information on its training data; assumed: humaneva15 with gt 2D poses"
    for flags, part in (
        (f"-d humaneva15 --evaluate {checkpoints}/{GT}", None),
        (f"-d humaneva15 --evaluate {tmp_path}/nameless.bin", assumed),
        (f"--evaluate {checkpoints}/96_cpn_ft_h36m_dbb_243_supervised.bin", cpn),
    ):
        ended = start(f"{flags} --test_frames 4 --output {tmp_path}/out")
        assert ended.code == 0, ended.err
        warnings = results(tmp_path / "out")["warnings"]
        assert ("WARNING: " in ended.out) == bool(warnings) == bool(part)
        assert part is None or any(part in warning for warning in warnings)


def test_who_is_trained_on_and_tested_on_is_warned(start):
    ended = start(f"-str S1,S9 {DRY}")
    assert "WARNING: subjects in both training and test set: S9" in ended.out
    assert "WARNING: trained on" not in start(DRY).out
