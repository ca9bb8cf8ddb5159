"""The losses of a tiny run: the same to the bit each time, and those that were recorded.

The recorded values hold on any machine up to rounding. They were worked out once with a loop in
plain PyTorch (`by_hand` below, which is compared to the bit where it runs) and change only if the
arithmetic of training does. Then say why in the commit that changes them.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from composer.algorithms.ema import EMA
from composer.algorithms.gradient_clipping import GradientClipping
from composer.algorithms.label_smoothing import LabelSmoothing
from composer.algorithms.mixup import MixUp
from composer.optim.curves import CosineAnnealingScheduler
from composer.optim.decoupled_weight_decay import DecoupledAdamW
from tests.trainer._runs import (
    assert_same,
    classifier,
    fitted,
    loader,
    norm_classifier,
    sgd,
    weights_of,
)

PLAIN = [
    1.26401, 1.325725, 1.249858, 0.878983, 0.988297, 0.97443,
    1.234644, 1.194884, 0.949801, 1.117258, 1.00262, 0.92353,
]  # fmt: skip
COMPOSED = [
    1.153931, 1.199986, 1.399979, 0.903234, 0.957512, 1.026078,
    1.156741, 1.081457, 1.056334, 1.457255, 1.026992, 1.058213,
]  # fmt: skip


def plain_run() -> tuple[Any, list[float], Any]:
    model = classifier()
    return fitted(
        model=model,
        train_dataloader=loader(16, shuffle=True),
        optimizers=sgd(model, momentum=0.9),
        max_duration="3ep",
        seed=7,
    )


def composed_run(**arguments: Any) -> tuple[Any, list[float], Any]:
    model = norm_classifier()
    return fitted(
        model=model,
        train_dataloader=loader(16, shuffle=True),
        eval_dataloader=loader(10),
        optimizers=DecoupledAdamW(model.parameters(), lr=0.05, weight_decay=1e-4),
        schedulers=CosineAnnealingScheduler(),
        algorithms=[
            MixUp(alpha=0.2),
            LabelSmoothing(0.1),
            GradientClipping("norm", 1.0),
            EMA(half_life="4ba"),
        ],
        max_duration="3ep",
        seed=7,
        **arguments,
    )


def by_hand() -> list[float]:
    """The plain run, written out."""
    model = classifier().module
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    torch.manual_seed(7)
    losses = []
    for _ in range(3):
        for inputs, targets in loader(16, shuffle=True):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


@pytest.mark.parametrize("run", [plain_run, composed_run])
def test_two_runs_are_equal_to_the_bit(run: Any) -> None:
    first, first_losses, _ = run()
    second, second_losses, _ = run()
    assert first_losses == second_losses
    assert_same(weights_of(first), weights_of(second))


def test_the_plain_run_is_the_loop_written_out() -> None:
    assert plain_run()[1] == by_hand()


def test_the_plain_run_has_the_recorded_losses() -> None:
    assert plain_run()[1] == pytest.approx(PLAIN, rel=1e-4)


def test_the_composed_run_has_the_recorded_losses() -> None:
    assert composed_run()[1] == pytest.approx(COMPOSED, rel=1e-4)


def test_logging_and_evaluating_change_nothing_in_training() -> None:
    noted = composed_run()[1]
    silent = composed_run(loggers=None, eval_interval=0)[1]
    assert noted == silent
