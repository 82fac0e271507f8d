import pytest
import torch

from glagcn.checkpoints.load import load_model
from glagcn.config.resolve import parse_command_line
from glagcn.train.optim import build_optimizer, is_capturable
from tests.model.gla_gcn import reference


@pytest.mark.parametrize("name", reference.NAMES)
def test_ranger_goes_the_published_way(name):
    results = reference.results(name)
    inputs, target = (torch.from_numpy(results[part]) for part in ("input_2d", "target_3d"))
    model = reference.without_dropout(load_model(reference.checkpoint(name)))
    config, _, _ = parse_command_line(["-d", "h36m", "--lr", str(results["ranger_lr"])])
    assert config.optim.optimizer == "ranger"
    optimizer = build_optimizer(config.optim, model)
    losses = []
    for _ in results["ranger_losses"]:
        loss = reference.mean_distance(model(inputs).target, target)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses == pytest.approx(results["ranger_losses"].tolist(), rel=1e-5)


@pytest.mark.parametrize("optimizer", ["ranger", "muon", "adam"])
def test_a_stopped_optimizer_goes_on_bit_for_bit(optimizer):
    config, _, _ = parse_command_line(["-d", "h36m", "--optimizer", optimizer])
    start = [torch.arange(4.0), torch.arange(48.0).reshape(4, 4, 1, 3) / 48]

    def begin():
        model = torch.nn.Conv2d(4, 4, (1, 3))
        with torch.no_grad():
            for parameter, value in zip((model.bias, model.weight), start, strict=True):
                parameter.copy_(value)
        return [model.bias, model.weight], build_optimizer(config.optim, model)

    def steps(parameters, optimizer, numbers):
        for number in numbers:
            optimizer.zero_grad()
            sum((parameter * (number + 1)).square().sum() for parameter in parameters).backward()
            optimizer.step()

    whole, optimizer = begin()
    steps(whole, optimizer, range(20))
    first, stopped = begin()
    steps(first, stopped, range(9))
    second, resumed = begin()
    with torch.no_grad():
        for parameter, value in zip(second, first, strict=True):
            parameter.copy_(value)
    resumed.load_state_dict(stopped.state_dict())
    steps(second, resumed, range(9, 20))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(second, whole, strict=True))
    assert not torch.equal(whole[1], start[1])


@pytest.mark.parametrize(("optimizer", "expected"), [("ranger", False), ("muon", True), ("adam", True)])
def test_what_decides_on_the_device_can_be_captured(optimizer, expected):
    config, _, _ = parse_command_line(["-d", "h36m", "--optimizer", optimizer])
    assert is_capturable(build_optimizer(config.optim, torch.nn.Linear(4, 4))) == expected


def test_a_state_from_another_device_leaves_adam_as_this_one_needs_it():
    config, _, _ = parse_command_line(["-d", "h36m", "--optimizer", "adam"])
    optimizer = build_optimizer(config.optim, torch.nn.Linear(4, 4))
    state = optimizer.state_dict()
    state["param_groups"][0]["capturable"] = True
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["capturable"] is False
