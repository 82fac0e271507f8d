import pytest
import torch

from glagcn.config import parse_command_line
from glagcn.engine.schedule import bn_momentum, learning_rate


def config(line):
    return parse_command_line(line.split())[0]


def test_published_decay_halves_every_fifth_epoch_instead():
    published = config("-d 3dhp --recipe published --lr 1")
    rates = [learning_rate(published, epoch, 0.5, 1000) for epoch in range(7)]
    expected = [1, 0.95, 0.95**2, 0.95**3, 0.95**4, 0.95**4 * 0.5, 0.95**5 * 0.5]
    assert rates == pytest.approx(expected)


def test_published_cosine_is_that_of_pytorch_epoch_by_epoch():
    published = config("-d h36m --epochs 12")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12, eta_min=1e-5)
    for epoch in range(12):
        for fraction in (0, 0.7):
            assert learning_rate(published, epoch, fraction, 100) == pytest.approx(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()


def test_published_bn_momentum_falls_from_a_tenth_to_a_thousandth():
    published = config("-d humaneva15 --epochs 10")
    assert [bn_momentum(published, epoch) for epoch in (0, 5, 10)] == pytest.approx([0.1, 0.01, 0.001])
    assert {bn_momentum(config("-d 3dhp"), epoch) for epoch in range(49)} == {0.1}


def test_tuned_rate_falls_from_lr_to_lr_final():
    tuned = config("-d demo --lr 4e-3 --lr_final 2e-4 --epochs 10 --warmup 0")
    assert learning_rate(tuned, 0, 0, 0) == pytest.approx(4e-3)
    assert learning_rate(tuned, 5, 0, 100) == pytest.approx((4e-3 * 2e-4) ** 0.5)
    assert learning_rate(tuned, 10, 0, 200) == pytest.approx(2e-4)
    assert learning_rate(tuned, 12, 0, 240) == pytest.approx(2e-4)


def test_warmup_rises_over_the_first_steps():
    tuned = config("-d demo --lr 1 --lr_final 1 --warmup 3")
    assert [learning_rate(tuned, 0, 0, step) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1, 1])
