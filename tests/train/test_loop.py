"""The step and the loop: gradients, compiling, what is not finite, which state is the best."""

import copy
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from glagcn import dist
from glagcn.checkpoints import ours as checkpoint
from glagcn.commands import train as commands_train
from glagcn.config.resolve import parse_command_line
from glagcn.data.plan import EpochPlan, share
from glagcn.data.windows import Batch
from glagcn.errors import UserError
from glagcn.evaluate.metrics import MPJPE
from glagcn.files import WriteError
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.skeletons import get_skeleton
from glagcn.train import hardware
from glagcn.train.hardware import check_replicas
from glagcn.train.loop import Stepper, Trainer
from glagcn.train.resume import Progress, Sums

SIZES = frozenset({3})


def stepper(*flags, sizes=frozenset()):
    config, _, _ = parse_command_line(["--dataset", "demo", "--workers", "1", *flags])
    torch.manual_seed(0)
    model = LiftingNetwork(get_skeleton("mpi3dhp17"), (3,), 4, sequence_layers=1, dropout=0.0)
    stepper = Stepper(config.optim, model, sizes)
    stepper.model.eval()  # batch statistics would differ between a batch and its parts
    return stepper


def batch(count):
    rng = np.random.default_rng(0)
    return Batch(
        torch.from_numpy(rng.normal(size=(count, 3, 17, 2)).astype(np.float32)),
        torch.from_numpy(rng.normal(size=(count, 3, 17, 3)).astype(np.float32)),
    )


def trained(stepper):
    return [parameter for parameter in stepper.model.parameters() if parameter.requires_grad]


def gradients(stepper):
    return [parameter.grad.clone() for parameter in trained(stepper)]


def whole(count, most=99):
    return share(count, most, 0, 1)


def test_the_gradient_is_that_of_the_mean_loss():
    ours, data = stepper("--sequence_weight", "0.5"), batch(6)
    sums = ours.gradient(data, whole(6))
    expected = copy.deepcopy(ours.model)
    expected.zero_grad()
    prediction = expected(data.inputs)
    single = (prediction.target - data.targets[:, 1:2]).norm(dim=-1).mean()
    sequence = (prediction.sequence - data.targets).norm(dim=-1).mean()
    (single + 0.5 * sequence).backward()
    wanted = [parameter for parameter in expected.parameters() if parameter.requires_grad]
    for found, parameter in zip(gradients(ours), wanted, strict=True):
        torch.testing.assert_close(found, parameter.grad, rtol=1e-4, atol=1e-7)
    assert [value.item() / 6 for value in sums] == pytest.approx([single.item(), sequence.item()], rel=1e-5)


@pytest.mark.parametrize("most", [3, 2, 1])
def test_in_micro_batches_it_is_the_same(most):
    at_once, pieces = stepper(), stepper()
    sums = [each.gradient(batch(6), whole(6, size)) for each, size in ((at_once, 6), (pieces, most))]
    for one, other in zip(gradients(at_once), gradients(pieces), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(*sums)


def test_a_step_moves_by_the_rate_and_clears_the_gradient():
    """The first step of Adam moves every weight by the rate against its gradient's sign."""
    ours = stepper("--optimizer", "adam")
    before = [parameter.detach().clone() for parameter in trained(ours)]
    ours.gradient(batch(6), whole(6))
    slopes = gradients(ours)
    norm = ours.apply(0.01)
    assert norm.item() == pytest.approx(torch.cat([slope.flatten() for slope in slopes]).norm().item(), rel=1e-5)
    for old, parameter, slope in zip(before, trained(ours), slopes, strict=True):
        clear = slope.abs() > 1e-5
        torch.testing.assert_close((old - parameter)[clear], 0.01 * slope.sign()[clear], rtol=1e-2, atol=0)
    assert not any(gradient.any() for gradient in gradients(ours))


@pytest.mark.parametrize("optimizer", ["muon", "adam", "ranger"])
def test_weight_decay_shrinks_the_weights_of_layers_by_a_share_of_the_rate(optimizer):
    plain, ours = (stepper("--optimizer", optimizer, "--weight_decay", decay) for decay in ("0", "3"))
    before = [parameter.detach().clone() for parameter in trained(ours)]
    for each in (plain, ours):
        each.gradient(batch(6), whole(6))
        each.apply(0.01)
    for old, without, parameter in zip(before, trained(plain), trained(ours), strict=True):
        torch.testing.assert_close(parameter, without - 0.03 * old * (old.dim() > 1))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e30])  # the last overflows the loss, not its gradient
def test_a_loss_that_is_not_finite_leaves_the_weights_as_they_were(bad):
    ours, data = stepper(), batch(6)
    before = copy.deepcopy(ours.model.state_dict())
    data.targets[2, 1, 3] = bad
    ours.gradient(data, whole(6))
    ours.apply(0.01)
    ours.gradient(batch(6), whole(6))  # nor does any later step move them
    ours.apply(0.01)
    assert ours.steps_taken() == 0
    for name, value in ours.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not any(value.any() for state in ours.optimizer.state.values() for value in state.values())


def test_inputs_that_are_not_finite_leave_weights_and_running_statistics_as_they_were():
    ours, data = stepper(), batch(6)
    ours.model.train()
    ours.set_momentum(0.9)
    ours.gradient(data, whole(6))
    ours.apply(0.01)
    before = copy.deepcopy(ours.model.state_dict())
    data.inputs[2, 1, 3] = torch.nan
    for each in (data, batch(6)):  # the second step is skipped because the first one was
        ours.gradient(each, whole(6))
        ours.apply(0.01)
    assert ours.steps_taken() == 1
    for name, value in ours.model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("flags", [[], ["--optimizer", "ranger"]], ids=["adam", "ranger"])
def test_steps_before_one_that_is_not_finite_are_counted(flags):
    ours, data = stepper(*flags), batch(6)
    for _ in range(3):
        ours.gradient(data, whole(6))
        ours.apply(0.01)
    data.targets[2, 1, 3] = torch.nan
    ours.gradient(data, whole(6))
    ours.apply(0.01)
    assert ours.steps_taken() == 3


def test_clipping_bounds_the_gradient_and_reports_its_norm():
    free, clipped = stepper("--optimizer", "adam"), stepper("--optimizer", "adam", "--clip", "0.001")
    norms = []
    for each in (free, clipped):
        each.gradient(batch(6), whole(6))
        norms.append(each.apply(0.0).item())
    assert norms[0] == pytest.approx(norms[1])
    moments = [each.optimizer.state_dict()["state"] for each in (free, clipped)]
    ratio = moments[1][0]["exp_avg"].norm() / moments[0][0]["exp_avg"].norm()
    assert ratio.item() == pytest.approx(0.001 / norms[0], rel=1e-3)


def stand_in(monkeypatch, failure: Exception | None = None) -> None:
    """Let what stands in for torch.compile give modules back, or fail when they are called."""

    def fail(inputs, targets):
        raise failure

    monkeypatch.setattr("glagcn.train.hardware.compiled", lambda module, *_: fail if failure else module)


NO_COMPILER = RuntimeError("no C++ compiler\nand a long trace")


def test_a_compiler_that_fails_leaves_an_eager_step(monkeypatch):
    stand_in(monkeypatch, NO_COMPILER)
    ours, eager = stepper("--compile", sizes=SIZES), stepper()
    assert ours.rehearse(batch(6), whole(6, 3)) == "RuntimeError: no C++ compiler"
    eager.model.train()
    for each in (ours, eager):
        each.gradient(batch(6), whole(6, 3))
        each.apply(0.01)
    for one, other in zip(ours.model.parameters(), eager.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_memory_that_runs_out_is_no_failure_of_the_compiler(monkeypatch):
    stand_in(monkeypatch, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(UserError, match=r"out of memory: a micro-batch of 3 windows .* give --micro_batch 1 "):
        stepper("--compile", sizes=SIZES).rehearse(batch(6), whole(6, 3))


def test_a_rehearsal_leaves_no_trace(monkeypatch):
    stand_in(monkeypatch)
    ours = stepper("--compile", sizes=SIZES)
    before = {name: value.clone() for name, value in ours.model.state_dict().items()}
    ours.rehearse(batch(6), whole(6, 3))
    assert not any(parameter.grad.any() for parameter in ours.model.parameters() if parameter.requires_grad)
    assert not any(value.any() for name, value in ours.model.named_buffers() if "batch_" in name)
    assert all(torch.equal(value, before[name]) for name, value in ours.model.state_dict().items())


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # what torch.compile imports
def test_neither_schedules_nor_the_last_batch_recompile(monkeypatch):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    def compiled(module, optim, device):
        return torch.compile(module, dynamic=False, backend=backend)

    monkeypatch.setattr("glagcn.train.hardware.compiled", compiled)
    torch._dynamo.reset()
    ours = stepper("--compile", sizes=SIZES)
    ours.rehearse(batch(6), whole(6, 3))
    first = len(graphs)
    assert first == 1  # nothing in a step breaks the graph
    for epoch in range(10):
        ours.set_momentum(0.1 / (1 + epoch))
        for count in (6, 5):
            ours.gradient(batch(count), whole(count, 3))
            ours.apply(0.01 / (1 + epoch))
    assert len(graphs) == first


def test_replicas_that_differ_are_named(monkeypatch):
    def beside_another(sums):
        other = sums.clone()
        other[2] += 1
        return torch.stack([sums, other])

    model = stepper().model
    check_replicas(model, 7)
    monkeypatch.setattr(dist, "gather", beside_another)
    names = [name for name, tensor in model.state_dict().items() if tensor.numel()]
    with pytest.raises(UserError, match=rf"after step 7 .* rank\(s\) 1 differ .* first in {names[2]}\."):
        check_replicas(model, 7)


def test_threads_are_chosen_once_for_the_steps_of_a_run_alone(demo, tmp_path, monkeypatch):
    """Where nobody gives their number.  A run that goes on keeps it, whatever a trial would now find."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(dist, "cores", lambda: 2)
    monkeypatch.setattr(dist, "_free_threads", 0)  # restored after the test
    step, evaluate, used, fastest = Stepper.gradient, Trainer.evaluate, [], [1]

    def seconds(work, device, calls=1):
        return 0.1 if torch.get_num_threads() == fastest[0] else 0.2

    def noted(name, work):
        return lambda self, *args, **more: (used.append((name, torch.get_num_threads())), work(self, *args, **more))[1]

    monkeypatch.setattr(hardware, "seconds", seconds)
    monkeypatch.setattr(Stepper, "gradient", noted("step", step))
    monkeypatch.setattr(Trainer, "evaluate", noted("evaluation", evaluate))
    before = torch.get_num_threads()
    try:
        ended = demo("--run r --frames 9 --workers 0 --max_steps 2")
        assert (ended.code, ended.out.count("Threads of a training step: 1 of 2")) == (0, 1), ended.err
        fastest[0] = 2
        again = demo("--run r --frames 9 --workers 0 --max_steps 4")
        assert (again.code, again.out.count("Threads of")) == (0, 0), again.err
    finally:
        torch.set_num_threads(before)
    assert used.count(("step", 1)) == 4
    assert {number for name, number in used if name == "evaluation"} == {2}
    assert torch.load(tmp_path / "runs/r/last.pt", weights_only=True)["progress"]["threads"] == 1
    result = json.loads((tmp_path / "runs/r/result.json").read_text())
    assert (result["training_threads"], result["machine"]["threads"]) == (1, 2)
    assert demo("--run given --frames 9 --max_steps 2").out.count("Threads of") == 0  # with --workers 1
    assert json.loads((tmp_path / "runs/given/result.json").read_text())["training_threads"] is None


@pytest.fixture
def pretend(monkeypatch):
    """pretend([50.0, 40.0]): let the validations of a run find these errors, mm."""
    evaluate = Trainer.evaluate

    def find(errors):
        left = iter(errors)

        def changed(self, data):
            evaluation = evaluate(self, data)
            if data.name == "validation":
                evaluation.metrics[MPJPE.name] = next(left)
            return evaluation

        monkeypatch.setattr(Trainer, "evaluate", changed)

    return find


def test_the_first_of_the_lowest_errors_is_kept_and_tested(demo, tmp_path, pretend):
    pretend([50.0, 40.0, 40.0, 60.0])
    ended = demo("--run r --frames 9 --epochs 4 --max_steps 20 --eval_epochs 1")
    assert ended.code == 0, ended.err
    folder = tmp_path / "runs/r"
    for name in ("best.pt", "last.pt"):
        progress = torch.load(folder / name, weights_only=True)["progress"]
        assert (progress["best_mm"], progress["best_step"]) == (40.0, 10)
    result = json.loads((folder / "result.json").read_text())
    assert (result["step"], result["trained_steps"], result["validation_mm"]) == (10, 20, 40.0)
    assert demo(f"--evaluate {folder}/best.pt --frames 9 --output {tmp_path}/again").code == 0
    assert result[MPJPE.name] == json.loads((tmp_path / "again/result.json").read_text())[MPJPE.name]


@pytest.fixture
def fail_second_best(monkeypatch):
    """The second time that best.pt is written, the disk is full."""
    save, written = checkpoint.save, []

    def fail_once(path, content):
        if path.name == "best.pt":
            written.append(path)
            if len(written) == 2:
                raise WriteError("cannot write best.pt: No space left on device")
        save(path, content)

    monkeypatch.setattr(checkpoint, "save", fail_once)


@pytest.mark.usefixtures("fail_second_best")
def test_a_best_state_that_cannot_be_written_is_not_the_best(demo, tmp_path, pretend):
    pretend([50.0, 40.0, 45.0])
    ended = demo("--run r --frames 9 --epochs 3 --max_steps 15 --eval_epochs 1")
    assert "WARNING: cannot write best.pt" in ended.out
    progress = torch.load(tmp_path / "runs/r/best.pt", weights_only=True)["progress"]
    assert (progress["best_mm"], progress["best_step"]) == (45.0, 15)


@pytest.mark.usefixtures("fail_second_best")
def test_the_best_state_outlives_a_failed_write_at_the_end_of_max_steps(demo, tmp_path, pretend):
    pretend([50.0, 40.0])
    ended = demo("--run r --frames 9 --epochs 3 --max_steps 7 --eval_epochs 1")
    assert "WARNING: cannot write best.pt" in ended.out
    folder = tmp_path / "runs/r"
    assert not (folder / "best_before_end.pt").exists()
    assert torch.load(folder / "best.pt", weights_only=True)["progress"]["step"] == 5
    result = json.loads((folder / "result.json").read_text())
    assert (result["step"], result["trained_steps"], result["validation_mm"]) == (5, 7, 50.0)


@pytest.mark.parametrize(("errors", "validation_mm"), [([50.0, 60.0], None), ([50.0, 40.0], 40.0)])
def test_the_validation_error_belongs_to_the_tested_state(demo, tmp_path, monkeypatch, pretend, errors, validation_mm):
    """best.pt is damaged at the end, so that last.pt is tested: at first not the best state, then the best."""
    pretend(errors)
    conclude = commands_train._conclude

    def damage_first(trainer, target):
        trainer.folder.best.write_bytes(b"damaged")
        conclude(trainer, target)

    monkeypatch.setattr(commands_train, "_conclude", damage_first)
    ended = demo("--run r --frames 9 --epochs 2 --max_steps 10 --eval_epochs 1")
    assert ended.code == 0, ended.err
    result = json.loads((tmp_path / "runs/r/result.json").read_text())
    assert (result["step"], result["validation_mm"]) == (10, validation_mm)


def test_a_failed_compiler_is_one_warning(demo, monkeypatch):
    stand_in(monkeypatch, NO_COMPILER)
    ended = demo("--run r --frames 9 --max_steps 1 --compile on")
    assert (ended.code, ended.out.count("WARNING: torch.compile failed (RuntimeError: no C++ compiler)")) == (0, 1)
    assert "--compile off" in ended.out


@pytest.mark.parametrize("cuts", [[], [2], [3], [1, 4]])
def test_the_sums_of_an_epoch_are_of_its_own_steps(cuts, monkeypatch):
    """Seven windows in batches of three: three steps an epoch, the last of one window.  Two ranks with equal sums."""
    plan, progress = EpochPlan(np.arange(7), 3, "none", 0), Progress()
    monkeypatch.setattr(dist, "gather", lambda rows: torch.stack([rows, rows]))
    loss, steps = SimpleNamespace(names=("one",)), SimpleNamespace(steps_taken=lambda: progress.step)
    trainer = Trainer.__new__(Trainer)
    vars(trainer).update(plan=plan, progress=progress, stepper=steps, _first_step=0, _num_rows=0)
    steps.loss, trainer._rows = loss, torch.zeros(5, 1, dtype=torch.float64)
    for step in range(1, 6):
        progress.step = step
        trainer._rows[trainer._num_rows] = torch.tensor([10.0**step]) / 2
        trainer._num_rows += 1
        if step in cuts or step == 5:
            trainer._drain()
            assert progress.epoch.windows == (0, 3, 6, 7, 3, 6)[step]
    assert progress.epoch.terms == {"one": 110_000}
    assert progress.interval == Sums(13, {"one": 111_110})
