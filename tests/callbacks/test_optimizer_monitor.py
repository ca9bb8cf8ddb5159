"""Which norms are logged, and that they are right."""

from __future__ import annotations

import pytest
import torch

from composer.callbacks.optimizer_monitor import OptimizerMonitor
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError
from composer.optim.decoupled_weight_decay import DecoupledAdamW
from tests.trainer._runs import classifier, fitted


class Gradients(Callback):
    def __init__(self) -> None:
        self.norms: list[dict[str, float]] = []

    def batch_end(self, state: State, logger: Logger) -> None:
        named = state.model.named_parameters()
        self.norms.append({name: p.grad.norm().item() for name, p in named})


def test_every_gradient_and_all_together_are_measured() -> None:
    gradients = Gradients()
    _, _, memory = fitted(callbacks=[OptimizerMonitor(batch_log_interval=1), gradients])
    for name in gradients.norms[0]:
        expected = [norms[name] for norms in gradients.norms]
        assert memory.series(f"l2_norm/grad/{name}") == pytest.approx(expected)
    together = [sum(n**2 for n in norms.values()) ** 0.5 for norms in gradients.norms]
    assert memory.series("l2_norm/grad/global") == pytest.approx(together)


def test_it_logs_every_so_many_batches() -> None:
    _, _, memory = fitted(callbacks=[OptimizerMonitor(batch_log_interval=3)])
    steps = [step for step, metrics in memory.metrics if "l2_norm/grad/global" in metrics]
    assert steps == [3]


def test_optimizers_add_what_they_know() -> None:
    model = classifier()
    optimizer = DecoupledAdamW(model.parameters(), lr=1e-3)
    _, _, memory = fitted(
        model=model, optimizers=optimizer, callbacks=[OptimizerMonitor(batch_log_interval=2)]
    )
    for kind in ("moment", "param", "update", "grad"):
        assert len(memory.series(f"l2_norm/{kind}/module.0.weight")) == 2
    plain = classifier()
    _, _, memory = fitted(
        model=plain,
        optimizers=DecoupledAdamW(plain.parameters(), lr=1e-3),
        callbacks=[OptimizerMonitor(False, batch_log_interval=2)],
    )
    assert not memory.series("l2_norm/moment/module.0.weight")


def test_parameters_without_a_gradient_are_left_out() -> None:
    model = classifier()
    model.module[0].weight.requires_grad_(False)
    _, _, memory = fitted(
        model=model,
        optimizers=torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1),
        callbacks=[OptimizerMonitor(batch_log_interval=1)],
    )
    assert not memory.series("l2_norm/grad/module.0.weight")
    assert len(memory.series("l2_norm/grad/module.0.bias")) == 4


def test_an_interval_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch_log_interval=0"):
        OptimizerMonitor(batch_log_interval=0)
