"""What is measured of activations, when, and who is told."""

from __future__ import annotations

import logging

import pytest
import torch

from composer.callbacks.activation_monitor import ActivationMonitor
from composer.errors import ConfigError
from tests.core._doubles import Memory
from tests.trainer._runs import fitted, make_trainer, token_batches

PREFIX = "activations/"


class WandBLogger(Memory):
    """Stands for the W&B logger, which callbacks know by its name."""


def steps_of(memory: Memory) -> list[int | None]:
    found = [step for step, metrics in memory.metrics if any(PREFIX in name for name in metrics)]
    return sorted(set(found), key=lambda step: step or 0)


def test_statistics_are_those_of_the_tensor() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 10.0]])
    metrics: dict[str, torch.Tensor] = {}
    ActivationMonitor().add_metrics(metrics, "layer", "_input.0", values)
    assert metrics["activations/l2_norm/layer_input.0"].item() == pytest.approx(114**0.5)
    assert metrics["activations/average/layer_input.0"].item() == pytest.approx(4.0)
    assert metrics["activations/max/layer_input.0"].item() == 10.0
    centred = torch.tensor([-3.0, -2.0, -1.0, 6.0])
    kurtosis = (centred**4).mean() / (centred**2).mean() ** 2
    assert metrics["activations/kurtosis/layer_input.0"].item() == pytest.approx(kurtosis.item())


def test_a_normal_distribution_has_a_kurtosis_of_three() -> None:
    metrics: dict[str, torch.Tensor] = {}
    normal = torch.randn(100_000, generator=torch.Generator().manual_seed(1))
    ActivationMonitor().add_metrics(metrics, "x", "", normal)
    assert metrics["activations/kurtosis/x"].item() == pytest.approx(3.0, abs=0.1)


def test_one_batch_an_interval_is_measured_for_every_module() -> None:
    _, _, memory = fitted(callbacks=[ActivationMonitor("2ba", only_log_wandb=False)])
    assert steps_of(memory) == [0, 2]
    assert len(memory.series("activations/l2_norm/module.1_output")) == 2
    assert len(memory.series("activations/max/ComposerClassifier_input.0.0")) == 2


def test_an_interval_may_be_epochs() -> None:
    monitor = ActivationMonitor("2ep", only_log_wandb=False)
    _, _, memory = fitted(callbacks=[monitor], max_duration="4ep")
    assert steps_of(memory) == [0, 8]


def test_one_microbatch_of_a_batch_is_measured() -> None:
    monitor = ActivationMonitor("4ba", only_log_wandb=False)
    _, _, memory = fitted(callbacks=[monitor], device_train_microbatch_size=1)
    assert len(memory.series("activations/l2_norm/module.1_output")) == 1


def test_module_classes_can_be_left_out() -> None:
    monitor = ActivationMonitor("2ba", ["Tanh"], only_log_wandb=False)
    _, _, memory = fitted(callbacks=[monitor])
    assert not memory.series("activations/l2_norm/module.1_output")
    assert memory.series("activations/l2_norm/module.0_output")


def test_by_default_only_wandb_is_told() -> None:
    wandb, other = WandBLogger(), Memory()
    make_trainer(callbacks=ActivationMonitor("2ba"), loggers=[wandb, other]).fit()
    assert steps_of(wandb) == [0, 2]
    assert steps_of(other) == []


def test_without_wandb_it_says_that_nobody_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        trainer = make_trainer(callbacks=ActivationMonitor("1ba"), loggers=Memory())
        trainer.fit()
    assert "only_log_wandb=False" in caplog.text
    assert not any(module._forward_hooks for module in trainer.state.model.modules())


def test_integers_are_left_out_and_hooks_are_removed() -> None:
    monitor = ActivationMonitor("1ba", only_log_wandb=False)
    metrics: dict[str, torch.Tensor] = {}
    monitor.recursively_add_metrics(metrics, "m", "_input", token_batches()[0])
    assert metrics == {}
    trainer, _, _ = fitted(callbacks=[monitor])
    assert not any(module._forward_hooks for module in trainer.state.model.modules())


@pytest.mark.parametrize("interval", ["10sp", "often"])
def test_an_interval_in_other_units_is_refused(interval: str) -> None:
    with pytest.raises(ConfigError):
        ActivationMonitor(interval)
