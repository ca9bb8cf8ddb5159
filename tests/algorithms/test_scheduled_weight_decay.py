"""Weight decay that follows a schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from composer.algorithms.scheduled_weight_decay import ScheduledWeightDecay
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ArgumentTypeError, ConfigError, UnknownNameError
from composer.optim.curves import CosineAnnealingScheduler, LinearScheduler
from composer.optim.decoupled_weight_decay import DecoupledAdamW, DecoupledSGDW
from composer.optim.muon import Muon
from composer.optim.schedule_free import ScheduleFreeAdamW
from composer.trainer.trainer import Trainer
from tests.algorithms._runs import Memory, classifier, image_batch
from tests.trainer._runs import make_trainer

NUM_BATCHES = 4


class Decays(Callback):
    """Notes the decay of a run's groups, in batches and between them."""

    def __init__(self) -> None:
        self.within: list[list[float]] = []
        self.between: list[list[float]] = []

    def after_train_batch(self, state: State, logger: Logger) -> None:
        self.within.append([float(g["weight_decay"]) for g in state.optimizers[0].param_groups])

    def batch_end(self, state: State, logger: Logger) -> None:
        self.between.append([float(g["weight_decay"]) for g in state.optimizers[0].param_groups])


def run(
    method: ScheduledWeightDecay | None,
    make: Callable[[nn.Module], Optimizer],
    **keywords: Any,
) -> tuple[Trainer, Decays, Memory]:
    torch.manual_seed(0)
    model, decays, memory = classifier(), Decays(), Memory()
    watching = {"callbacks": decays, "loggers": memory} | keywords
    trainer = make_trainer(
        model=model,
        train_dataloader=[image_batch()] * NUM_BATCHES,
        optimizers=make(model),
        max_duration=f"{NUM_BATCHES}ba",
        algorithms=method,
        **watching,
    )
    trainer.fit()
    return trainer, decays, memory


def sgd(model: nn.Module) -> Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.5)


def test_each_batch_has_the_decay_of_its_time() -> None:
    _, decays, memory = run(ScheduledWeightDecay(LinearScheduler()), sgd)
    assert [within for (within,) in decays.within] == pytest.approx([0.5, 0.375, 0.25, 0.125])
    logged = [m for m in memory.metrics if "weight_decay-SGD/group0" in m]
    assert [m["weight_decay-SGD/group0"] for m in logged] == pytest.approx(
        [0.5, 0.375, 0.25, 0.125]
    )


def test_it_may_rise() -> None:
    # Caron et al. 2021, section 3.2: along a cosine, to ten times what it was.
    _, decays, _ = run(ScheduledWeightDecay(CosineAnnealingScheduler(alpha_f=10.0)), sgd)
    assert [within for (within,) in decays.within][::2] == pytest.approx([0.5, 2.75])


def test_between_batches_groups_have_what_they_were_given() -> None:
    trainer, decays, _ = run(ScheduledWeightDecay(LinearScheduler()), sgd)
    assert decays.between == [[0.5]] * NUM_BATCHES
    assert trainer.state.optimizers[0].state_dict()["param_groups"][0]["weight_decay"] == 0.5


def test_each_group_has_a_decay_of_its_own_and_those_without_stay_without() -> None:
    def make(model: nn.Module) -> Optimizer:
        first, *others = model.parameters()
        groups = [{"params": [first], "weight_decay": 0.2}, {"params": others}]
        return torch.optim.AdamW(groups, lr=0.1, weight_decay=0.0)

    _, decays, memory = run(ScheduledWeightDecay(lambda state: 0.5), make)
    assert decays.within == [[0.1, 0.0]] * NUM_BATCHES
    assert any("weight_decay-AdamW/group0" in m for m in memory.metrics)
    assert not any("weight_decay-AdamW/group1" in m for m in memory.metrics)


@pytest.mark.parametrize(
    "kind",
    [
        lambda p, decay: DecoupledSGDW(p, 0.1, weight_decay=decay / 1000),
        lambda p, decay: DecoupledAdamW(p, 0.1, weight_decay=decay / 1000, cautious=True),
        lambda p, decay: ScheduleFreeAdamW(p, 0.1, weight_decay=decay),
        lambda p, decay: Muon([{"params": list(p), "is_matrix": True}], 0.1, weight_decay=decay),
        lambda p, decay: torch.optim.AdamW(p, 0.1, weight_decay=decay),
    ],
    ids=["DecoupledSGDW", "DecoupledAdamW", "ScheduleFreeAdamW", "Muon", "AdamW"],
)
def test_every_kind_of_optimizer_trains_with_the_decay_it_is_set_to(
    kind: Callable[[Any, float], Optimizer],
) -> None:
    def matrices(model: nn.Module) -> list[nn.Parameter]:
        return [p for p in model.parameters() if p.ndim > 1]

    halved, _, _ = run(
        ScheduledWeightDecay(lambda state: 0.5), lambda model: kind(matrices(model), 0.8)
    )
    fixed, _, _ = run(None, lambda model: kind(matrices(model), 0.4))
    plain, _, _ = run(None, lambda model: kind(matrices(model), 0.8))
    first, second, third = (
        torch.cat([p.detach().flatten() for p in each.state.model.parameters()])
        for each in (halved, fixed, plain)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_a_decay_that_is_a_tensor_stays_the_same_one() -> None:
    decay = torch.tensor(0.5)

    def make(model: nn.Module) -> Optimizer:
        optimizer = sgd(model)
        optimizer.param_groups[0].update(weight_decay=decay, foreach=False)
        return optimizer

    trainer, decays, _ = run(ScheduledWeightDecay(LinearScheduler()), make)
    assert decays.within[1] == pytest.approx([0.375])
    assert trainer.state.optimizers[0].param_groups[0]["weight_decay"] is decay
    assert decay.item() == 0.5


def test_a_batch_that_failed_does_not_scale_the_next_one_twice() -> None:
    class Fails(Callback):
        def after_train_batch(self, state: State, logger: Logger) -> None:
            if state.timestamp.batch == 1 and not hasattr(self, "failed"):
                self.failed = True
                raise RuntimeError("once")

    method, optimizers = ScheduledWeightDecay(LinearScheduler()), list[Optimizer]()

    def make(model: nn.Module) -> Optimizer:
        optimizers.append(sgd(model))
        return optimizers[0]

    with pytest.raises(RuntimeError, match="once"):
        run(method, make, callbacks=Fails())
    assert optimizers[0].param_groups[0]["weight_decay"] == pytest.approx(0.375)
    _, decays, _ = run(method, lambda model: _with_parameters(optimizers[0], model))
    assert decays.within[0] == [0.5]


def _with_parameters(optimizer: Optimizer, model: nn.Module) -> Optimizer:
    optimizer.param_groups[0]["params"] = list(model.parameters())
    optimizer.state.clear()
    return optimizer


@pytest.mark.parametrize(
    "make",
    [
        lambda model: torch.optim.SGD(model.parameters(), lr=0.1),
        lambda model: torch.optim.LBFGS(model.parameters(), lr=0.1),
    ],
    ids=["zero", "none"],
)
def test_an_optimizer_without_decay_is_refused(make: Callable[[nn.Module], Optimizer]) -> None:
    with pytest.raises(ConfigError, match=r"no group of .* has one"):
        run(ScheduledWeightDecay(LinearScheduler()), make)


@pytest.mark.parametrize("multiplier", [-1.0, float("inf"), float("nan")])
def test_a_multiplier_out_of_range_is_refused_before_the_first_batch(multiplier: float) -> None:
    with pytest.raises(ConfigError, match="a multiplier of schedule"):
        run(ScheduledWeightDecay(lambda state: multiplier), sgd)


def test_a_schedule_may_be_named() -> None:
    method = ScheduledWeightDecay({"LinearScheduler": {"alpha_f": 0.5}})
    assert isinstance(method.schedule, LinearScheduler)
    assert method.arguments() == {
        "schedule": {"LinearScheduler": {"alpha_i": 1.0, "alpha_f": 0.5, "t_max": "1.0dur"}}
    }


@pytest.mark.parametrize(
    ("schedule", "error"),
    [
        ({"LinearSchedule": {}}, UnknownNameError),
        ({"LinearScheduler": {"alpha": 1}}, ConfigError),
        ({"LinearScheduler": {}, "CosineAnnealingScheduler": {}}, ArgumentTypeError),
        (0.5, ArgumentTypeError),
    ],
)
def test_what_is_no_schedule_is_refused_when_made(schedule: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="schedule"):
        ScheduledWeightDecay(schedule)
