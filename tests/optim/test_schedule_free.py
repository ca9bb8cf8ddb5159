"""Schedule-Free against algorithm 1 of arXiv 2405.15682, kept in its three sequences by hand."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from composer.algorithms.ema import EMA
from composer.core.callback import Callback
from composer.errors import ConfigError, StateError
from composer.optim.schedule_free import ScheduleFreeAdamW, ScheduleFreeSGD
from composer.trainer.trainer import Trainer
from tests.trainer._runs import assert_same, classifier, fitted, loader, weights_of

LR, BETA, DECAY, WARMUP = 0.3, 0.9, 0.1, 3


def gradient(y: Tensor, step: int) -> Tensor:
    return torch.sin(3 * y) + 0.1 * step


def by_hand(start: Tensor, num_steps: int, adam: bool) -> tuple[Tensor, Tensor]:
    """Return y and x after some steps of the paper's three lines."""
    x, z, moment, total = start.clone(), start.clone(), torch.zeros_like(start), 0.0
    y = start.clone()
    for t in range(1, num_steps + 1):
        rate = LR * min(1.0, t / WARMUP)
        step = gradient(y, t)
        if adam:
            moment = 0.99 * moment + 0.01 * step**2
            step = step / ((moment / (1 - 0.99**t)).sqrt() + 1e-8)
        total += rate**2
        z = z - rate * (step + DECAY * y)
        x = (1 - rate**2 / total) * x + rate**2 / total * z
        y = (1 - BETA) * z + BETA * x
    return y, x


def make(params: Any, adam: bool) -> ScheduleFreeAdamW | ScheduleFreeSGD:
    shared = {"lr": LR, "weight_decay": DECAY, "num_warmup_steps": WARMUP}
    if adam:
        return ScheduleFreeAdamW(params, betas=(BETA, 0.99), **shared)
    return ScheduleFreeSGD(params, beta=BETA, **shared)


@pytest.mark.parametrize("adam", [False, True])
def test_the_sequences_are_those_of_the_paper(adam: bool) -> None:
    start = torch.linspace(-1, 1, 7, dtype=torch.float64)
    parameter = nn.Parameter(start.clone())
    optimizer = make([parameter], adam)
    for t in range(1, 9):
        parameter.grad = gradient(parameter.detach(), t)
        optimizer.step()
    y, x = by_hand(start, 8, adam)
    torch.testing.assert_close(parameter.detach(), y)
    optimizer.show(nn.Module())
    torch.testing.assert_close(parameter.detach(), x)


def test_training_weights_come_back_to_the_bit() -> None:
    parameter = nn.Parameter(torch.linspace(-1, 1, 7))
    optimizer = make([parameter], adam=True)
    for t in range(1, 4):
        parameter.grad = gradient(parameter.detach(), t)
        optimizer.step()
    before = parameter.detach().clone()
    optimizer.show(nn.Module())
    optimizer.show(nn.Module())
    assert optimizer.is_shown
    assert not torch.equal(parameter, before)
    optimizer.hide(nn.Module())
    assert not optimizer.is_shown
    assert torch.equal(parameter, before)


def test_a_step_with_the_average_in_the_model_is_refused() -> None:
    parameter = nn.Parameter(torch.ones(2))
    optimizer = make([parameter], adam=False)
    parameter.grad = torch.ones(2)
    optimizer.step()
    optimizer.show(nn.Module())
    with pytest.raises(StateError, match=r"hide\(model\)"):
        optimizer.step()


class Weights(Callback):
    """Keeps the weights that are evaluated and those after each batch."""

    def __init__(self) -> None:
        self.evaluated: dict[str, Tensor] = {}
        self.trained: dict[str, Tensor] = {}

    def eval_start(self, state: Any, logger: Any) -> None:
        self.evaluated = copy.deepcopy(state.model.state_dict())

    def batch_end(self, state: Any, logger: Any) -> None:
        self.trained = copy.deepcopy(state.model.state_dict())


def test_the_trainer_evaluates_the_average_and_trains_on() -> None:
    model, weights = classifier(), Weights()
    optimizer = ScheduleFreeAdamW(model.parameters(), lr=0.05)
    trainer, *_ = fitted(
        model=model,
        train_dataloader=loader(16),
        eval_dataloader=loader(16),
        optimizers=optimizer,
        callbacks=[weights],
        max_duration="2ep",
    )
    assert trainer.state.weight_view is optimizer
    assert_same(weights_of(trainer), weights.trained)
    name = "module.0.weight"
    assert not torch.equal(weights.evaluated[name], weights.trained[name])
    optimizer.show(model)
    assert_same(weights_of(trainer), weights.evaluated)


def test_a_checkpoint_holds_the_average_and_the_run_goes_on_exactly(tmp_path: Path) -> None:
    def run(**arguments: Any) -> Any:
        model = classifier()
        return fitted(
            model=model,
            train_dataloader=loader(16),
            optimizers=ScheduleFreeAdamW(model.parameters(), lr=0.05, num_warmup_steps=3),
            seed=3,
            **arguments,
        )[0]

    whole = run(max_duration="4ep")
    half = run(max_duration="2ep", save_folder=str(tmp_path), save_interval="2ep")
    half.close()
    path = half.saved_checkpoints[-1]
    resumed = run(max_duration="4ep", load_path=path)
    assert_same(weights_of(whole), weights_of(resumed))


def test_two_averages_of_one_model_are_refused() -> None:
    model = classifier()
    with pytest.raises(ConfigError, match="both replace the weights"):
        Trainer(
            model=model,
            train_dataloader=loader(16),
            optimizers=ScheduleFreeSGD(model.parameters()),
            algorithms=EMA("2ba"),
            max_duration="1ep",
            progress_bar=False,
        )


@pytest.mark.parametrize(
    "arguments", [{"lr": 0.0}, {"beta": 1.0}, {"num_warmup_steps": -1}, {"weight_decay": -1.0}]
)
def test_numbers_out_of_range_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        ScheduleFreeSGD([nn.Parameter(torch.ones(1))], **arguments)
