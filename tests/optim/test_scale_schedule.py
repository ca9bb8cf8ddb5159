"""Torch's own schedulers can be stretched, or say that they cannot."""

import pytest
import torch
from torch.optim import SGD, lr_scheduler

from composer.optim.curves import LinearScheduler
from composer.optim.scale_schedule import scale_pytorch_scheduler
from composer.optim.scheduler import compile_composer_scheduler
from tests.optim._runs import make_state


def optimizer():
    return SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)


def rates(scheduler, num_steps):
    found = []
    for _ in range(num_steps):
        found += scheduler.get_last_lr()
        scheduler.optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(
    ("make", "scaled"),
    [
        (lambda o: lr_scheduler.StepLR(o, 4), lambda o: lr_scheduler.StepLR(o, 2)),
        (
            lambda o: lr_scheduler.MultiStepLR(o, [4, 6]),
            lambda o: lr_scheduler.MultiStepLR(o, [2, 3]),
        ),
        (
            lambda o: lr_scheduler.MultiStepLR(o, [4, 5]),
            lambda o: lr_scheduler.MultiStepLR(o, [2, 2]),
        ),
        (
            lambda o: lr_scheduler.CosineAnnealingLR(o, 12),
            lambda o: lr_scheduler.CosineAnnealingLR(o, 6),
        ),
        (
            lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 5, 2),
            lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2, 2),
        ),
        (
            lambda o: lr_scheduler.ExponentialLR(o, 0.9),
            lambda o: lr_scheduler.ExponentialLR(o, 0.81),
        ),
    ],
)
def test_a_scaled_scheduler_equals_one_made_with_scaled_times(make, scaled):
    scheduler = make(optimizer())
    scale_pytorch_scheduler(scheduler, 0.5)
    assert rates(scheduler, 12) == pytest.approx(rates(scaled(optimizer()), 12))


@pytest.mark.parametrize("ssr", [0, -0.5, float("nan")])
def test_a_ratio_that_is_not_positive_is_refused(ssr):
    with pytest.raises(ValueError, match="more than 0"):
        scale_pytorch_scheduler(lr_scheduler.StepLR(optimizer(), 4), ssr)


def test_a_ratio_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match="nothing is left of step_size=4"):
        scale_pytorch_scheduler(lr_scheduler.StepLR(optimizer(), 4), 0.2)


@pytest.mark.parametrize(
    "make",
    [
        lr_scheduler.LinearLR,
        lambda _: compile_composer_scheduler(LinearScheduler(), make_state()),
        lambda o: lr_scheduler.LambdaLR(o, lambda _: 1.0),
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.ConstantLR(o), lr_scheduler.StepLR(o, 2)], [2]
        ),
    ],
)
def test_other_schedulers_are_refused_naming_those_that_can(make):
    with pytest.raises(ValueError, match=r"cannot be scaled\. StepLR, MultiStepLR"):
        scale_pytorch_scheduler(make(optimizer()), 0.5)
