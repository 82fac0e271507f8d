import pytest
import torch

from glagcn.config import parse_command_line
from glagcn.engine.inference import load_model
from glagcn.engine.optimizers import build_optimizer
from tests.model import reference


@pytest.mark.parametrize("name", reference.NAMES)
def test_ranger_goes_the_published_way(name):
    results = reference.results(name)
    inputs, target = (torch.from_numpy(results[part]) for part in ("input_2d", "target_3d"))
    model = reference.without_dropout(load_model(reference.checkpoint(name)))
    config, _ = parse_command_line(["-d", "h36m", "--lr", str(results["ranger_lr"])])
    assert config.optimizer == "ranger"
    optimizer = build_optimizer(config, model.parameters())
    losses = []
    for _ in results["ranger_losses"]:
        loss = reference.mean_distance(model(inputs).center, target)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses == pytest.approx(results["ranger_losses"].tolist(), rel=1e-5)


def test_a_stopped_ranger_goes_on_bit_for_bit():
    config, _ = parse_command_line(["-d", "h36m"])

    def steps(parameter, optimizer, numbers):
        for number in numbers:
            optimizer.zero_grad()
            (parameter * (number + 1)).square().sum().backward()
            optimizer.step()

    whole = torch.nn.Parameter(torch.arange(4.0))
    steps(whole, build_optimizer(config, [whole]), range(20))
    first = torch.nn.Parameter(torch.arange(4.0))
    stopped = build_optimizer(config, [first])
    steps(first, stopped, range(9))
    second = torch.nn.Parameter(first.detach().clone())
    resumed = build_optimizer(config, [second])
    resumed.load_state_dict(stopped.state_dict())
    steps(second, resumed, range(9, 20))
    assert torch.equal(second, whole)
