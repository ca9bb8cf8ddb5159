"""What would make the numbers of a run wrong and can be seen before it trains."""

from __future__ import annotations

from weakref import WeakSet

from torch import nn

from composer.ablation.arms import Arm
from composer.errors import ConfigError
from composer.trainer.trainer import Trainer

__all__ = ["FreshWeights", "check_metric", "check_switched_on"]


def check_switched_on(trainer: Trainer, arm: Arm) -> None:
    """Find methods of the arm that the Trainer was not given.

    Raises:
        ConfigError: there are some.
    """
    given = {type(algorithm) for algorithm in trainer.state.algorithms}
    lost = [type(each).__name__ for each in arm.algorithms if type(each) not in given]
    if lost:
        raise ConfigError(
            f"make_trainer did not switch on {', '.join(lost)}: pass algorithms=arm.algorithms to "
            "the Trainer"
        )


def check_metric(trainer: Trainer, metric: str, label: str | None) -> None:
    """Find out whether one evaluator, and only one, measures what counts.

    Args:
        trainer: of a run.
        metric: the metric's name.
        label: the evaluator's; ``None`` for the only one.

    Raises:
        ConfigError: none does, or several do.
    """
    found = trainer.state.eval_metrics
    if not found:
        raise ConfigError(
            "make_trainer gives its Trainer nothing to evaluate on: give it an eval_dataloader"
        )
    measured = [each for each in found if metric in found[each] and label in (None, each)]
    if not measured:
        there = ", ".join(f"{name!r} of {each!r}" for each in found for name in found[each])
        wanted = repr(metric) if label is None else f"{metric!r} of {label!r}"
        raise ConfigError(f"no evaluation has the metric {wanted}; there are {there or 'none'}")
    if len(measured) > 1:
        raise ConfigError(
            f"evaluators {', '.join(map(repr, measured))} all have the metric {metric!r}; say "
            "which one counts: label=..."
        )


class FreshWeights:
    """Sees to it that no run trains on with weights of another."""

    def __init__(self) -> None:
        self._seen: WeakSet[nn.Module] = WeakSet()

    def check(self, trainer: Trainer) -> None:
        """Look for layers of earlier runs; frozen ones and those without weights may be shared.

        Raises:
            ConfigError: the model has some.
        """
        layers = {
            layer
            for layer in trainer.state.model.modules()
            if any(weight.requires_grad for weight in layer.parameters(recurse=False))
        }
        if any(layer in self._seen for layer in layers):
            raise ConfigError(
                "make_trainer returned a model that an earlier run has trained already; make it "
                "anew in each call, or copy.deepcopy it"
            )
        self._seen.update(layers)
