"""--model: another model is trained, resumed, evaluated, rendered, used and refused by the same code."""

import json

import numpy as np
import torch

import glagcn
from tests.command_line import assert_refused

MODEL = "--model temporal_conv --frames 9"


def test_it_goes_every_way_that_the_first_one_goes(demo, verb, tmp_path):
    ended = demo(f"{MODEL} --run r")
    assert ended.code == 0, ended.err
    folder = tmp_path / "runs/r"
    content = torch.load(folder / "last.pt", weights_only=True)
    assert content["model_config"]["kind"] == content["config"]["model"] == "temporal_conv"
    result = json.loads((folder / "result.json").read_text())
    evaluated = demo(f"{MODEL} --run r --evaluate --output {tmp_path}/again")
    assert evaluated.code == 0, evaluated.err
    assert json.loads((tmp_path / "again/result.json").read_text())["mpjpe_mm"] == result["mpjpe_mm"]
    rendered = demo(f"{MODEL} --run r --render --viz-subject TS1 --viz-limit 3 --viz-output {tmp_path}/a.gif")
    assert rendered.code == 0, rendered.err
    assert verb(f"export {folder}/best.pt --out {tmp_path}/shared.pt").code == 0
    model = glagcn.load_model(tmp_path / "shared.pt")
    pixels = np.random.default_rng(0).uniform(0, 1000, (12, 17, 2))
    assert glagcn.predict(model, pixels, image_size=(1000, 1000)).shape == (12, 17, 3)


def test_weights_of_another_model_are_refused(demo, trained):
    assert_refused(demo(f"{MODEL} --run s --resume {trained}/best.pt"), "--model is temporal_conv and was gla_gcn")
    assert_refused(demo(f"{MODEL} --evaluate {trained}/best.pt"), "trained with model gla_gcn, but the flag says")


def test_a_run_of_another_model_and_flags_that_it_does_not_read_are_refused(demo, tmp_path):
    assert demo(f"{MODEL} --run r --no_eval").code == 0
    assert_refused(demo("--frames 9 --run r"), "--model is gla_gcn now and was temporal_conv")
    best = f"--frames 9 --evaluate {tmp_path}/runs/r/best.pt"
    assert_refused(
        demo(f"{best} --sequence_layers 2"), "best.pt contains a model of kind temporal_conv.*no sequence_layers"
    )
    assert_refused(demo(f"{best} --sequence_weight 2"), "no sequence_weight; leave the flag out")


def test_a_checkpoint_of_an_unknown_model_is_refused_by_name(demo, verb, trained, tmp_path):
    content = torch.load(trained / "best.pt", weights_only=True)
    content["model_config"]["kind"] = "transformer"
    torch.save(content, tmp_path / "new.pt")
    message = "new.pt: unknown model 'transformer'; must be one of gla_gcn, temporal_conv"
    assert_refused(demo(f"--frames 9 --resume {tmp_path}/new.pt"), message)
    assert_refused(verb(f"export {tmp_path}/new.pt --out {tmp_path}/out.pt"), message)
    assert list(tmp_path.iterdir()) == [tmp_path / "new.pt"]
