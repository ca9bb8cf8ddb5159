"""Stochastic depth: train a network of random depth, evaluate the whole of it.

Paper: Huang, Sun, Liu, Sedra, Weinberger, "Deep Networks with Stochastic Depth", 2016,
arXiv:1603.09382. By sample: Tan, Le, EfficientNet, 2019, arXiv:1905.11946.

Idea: in training a residual block's main path is left out with probability ``p_l``, which grows
from the first block to the last; what remains is the shortcut. In evaluation the main path counts
by ``1 - p_l``. It regularises, and by whole blocks it saves their time.

When it helps: deep residual networks and vision transformers trained for long; fine-tuning of large
ones. When it hurts: shallow networks, short runs, data enough not to overfit.

Suggested values: ``drop_rate=0.2`` and ``'linear'`` for ResNet-50; 0.1 to 0.5 for transformers, the
deeper the more. ``'block'`` is faster, ``'sample'`` regularises more smoothly and lets every
parameter take part in each batch. A checkpoint trained with it needs it on load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from composer.algorithms._checks import check_choice, check_number, read_time, warn_no_effect
from composer.algorithms._run_length import warn_if_never_due
from composer.algorithms._stochastic_depth_layers import (
    BlockStochasticModule,
    StochasticLayer,
    make_stochastic,
    rate_of_layer,
)
from composer.algorithms._targets import Target, check_target, find_targets, in_words
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.core.units import Time, TimeUnit
from composer.errors import ConfigError
from composer.utils.module_surgery import replace_module_classes

__all__ = ["BlockStochasticModule", "StochasticDepth", "apply_stochastic_depth"]

_METHODS = ("block", "sample")
_DISTRIBUTIONS = ("linear", "uniform")
# Composer's name for torchvision's block.
_ALIASES = {"ResNetBottleneck": "Bottleneck"}


def apply_stochastic_depth(
    model: nn.Module,
    target_layer_name: Target,
    stochastic_method: str = "block",
    drop_rate: float = 0.2,
    drop_distribution: str = "linear",
    optimizers: Optimizer | Sequence[Optimizer] | None = None,
) -> nn.Module:
    """Let residual blocks of a model leave out their main path at random, in place.

    torchvision's ResNet blocks are known in detail. Any other block is taken for one with an
    identity shortcut, ``x + f(x)``, such as the layers of a transformer. Weights stay the objects
    they are.

    Args:
        model: the model. A `NoEffectWarning` says so if it has no such block.
        target_layer_name: which blocks: ``'ResNetBottleneck'``, or the name of any class of blocks
            such as ``'BasicBlock'`` or ``'GPT2Block'``, or a pattern of the blocks' names in the
            model such as ``'encoder.layers.*'``; a class will do too.
        stochastic_method: ``'block'`` leaves blocks out for a whole batch, ``'sample'`` for single
            samples.
        drop_rate: probability, in [0, 1], with which the last block is left out.
        drop_distribution: ``'linear'``: the rate grows with depth up to ``drop_rate``;
            ``'uniform'``: it is the same everywhere.
        optimizers: optimizers of the model's parameters, which need no change.

    Returns:
        The model.

    Raises:
        ValueError: an argument is not allowed.

    Source:
        Huang et al. 2016, equations (2), (4) and (5).
    """
    _check(stochastic_method, drop_rate, drop_distribution)
    blocks = _find_blocks(model, target_layer_name)

    def policy(module: nn.Module, index: int) -> nn.Module | None:
        del index
        if module not in blocks:
            return None
        rate = rate_of_layer(blocks.index(module), len(blocks), drop_rate, drop_distribution)
        return make_stochastic(module, rate, stochastic_method)

    replace_module_classes(model, {type(block): policy for block in blocks}, optimizers)
    if not blocks and not _layers(model):
        warn_no_effect("StochasticDepth", model, in_words(target_layer_name))
    return model


def _find_blocks(model: nn.Module, target: Target) -> list[nn.Module]:
    """Return the blocks that are not stochastic yet, from first to last."""
    if isinstance(target, str):
        target = _ALIASES.get(target, target)
    wrapped = {inner for each in _layers(model) for inner in each.modules()}
    found = dict.fromkeys(find_targets(model, target).values())
    return [block for block in found if block not in wrapped]


def _layers(model: nn.Module) -> list[StochasticLayer]:
    return [each for each in model.modules() if isinstance(each, StochasticLayer)]


def _check(stochastic_method: str, drop_rate: float, drop_distribution: str) -> None:
    check_choice("stochastic_method", stochastic_method, _METHODS)
    check_number("drop_rate", drop_rate, 0, 1)
    check_choice("drop_distribution", drop_distribution, _DISTRIBUTIONS)


class StochasticDepth(Algorithm):
    """Let residual blocks leave out their main path; see :func:`apply_stochastic_depth`.

    Logs the hyperparameter ``stochastic_depth/num_stochastic_layers`` and, while rates grow, the
    last block's rate as ``stochastic_depth/drop_rate``.

    Args:
        target_layer_name: which blocks: a class name or a pattern of names in the model.
        stochastic_method: ``'block'`` or ``'sample'``.
        drop_rate: probability, in [0, 1], with which the last block is left out.
        drop_distribution: ``'linear'`` or ``'uniform'``.
        drop_warmup: share of training, as a number in [0, 1] or a time in ``dur``, in which the
            rates grow linearly from 0; with ``'block'`` only.

    Raises:
        ValueError: an argument is not allowed.
    """

    writes = ("model", "optimizers")

    def __init__(
        self,
        target_layer_name: str,
        stochastic_method: str = "block",
        drop_rate: float = 0.2,
        drop_distribution: str = "linear",
        drop_warmup: float | Time[Any] | str = 0.0,
    ) -> None:
        check_target("target_layer_name", target_layer_name)
        _check(stochastic_method, drop_rate, drop_distribution)
        self.target_layer_name = target_layer_name
        self.stochastic_method = stochastic_method
        self.drop_rate = drop_rate
        self.drop_distribution = drop_distribution
        self.drop_warmup = _share_of_training(drop_warmup)
        if self.drop_warmup > 0 and stochastic_method == "sample":
            raise ConfigError(
                f"drop_warmup={drop_warmup!r} works with stochastic_method='block' only; leave it "
                "out"
            )
        self.events: Mapping[Event, str] = {Event.INIT: "convert"}
        if self.drop_warmup > 0:
            self.events = {
                Event.INIT: "convert",
                Event.AFTER_LOAD: "take_up",
                Event.FIT_START: "look_ahead",
                Event.BATCH_START: "warm_up",
            }
        self._layers: list[tuple[StochasticLayer, float]] | None = None
        self._share: float | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A copy finds the layers of its own model.
        return {**self.__dict__, "_layers": None}

    @property
    def find_unused_parameters(self) -> bool:
        """Whether blocks that are left out have parameters without gradient."""
        return self.stochastic_method == "block"

    @staticmethod
    def required_on_load() -> bool:
        """Return True: evaluation scales what training left out."""
        return True

    def convert(self, state: State, logger: Logger) -> None:
        """Replace the blocks and log how many there are."""
        apply_stochastic_depth(
            state.model,
            self.target_layer_name,
            self.stochastic_method,
            self.drop_rate,
            self.drop_distribution,
            state.optimizers,
        )
        self._layers = None
        number = len(_layers(state.model))
        logger.log_hyperparameters({"stochastic_depth/num_stochastic_layers": number})

    def look_ahead(self, state: State, logger: Logger) -> None:
        """Warn where the run is too short for a block to be left out."""
        warn_if_never_due(self, state, "leaves out a block", lambda done: done > 0)

    def warm_up(self, state: State, logger: Logger) -> None:
        """Set the rates for where training stands."""
        elapsed = state.get_elapsed_duration()
        share = 1.0 if elapsed is None else min(1.0, elapsed.value / self.drop_warmup)
        self._set_rates(state, share)
        if share < 1.0 and logger.listens_to_metrics:
            logger.log_metrics({"stochastic_depth/drop_rate": self.drop_rate * share})

    def take_up(self, state: State, logger: Logger) -> None:
        """Set the rates of the last batch before a checkpoint: an evaluation may come first."""
        del logger
        if self._share is not None:
            self._set_rates(state, self._share)

    def state_dict(self) -> dict[str, Any]:
        """Return what share of their full values the rates have now."""
        return {**super().state_dict(), "share": self._share}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Keep the share for the event AFTER_LOAD, which has the model.

        Args:
            state: what :meth:`state_dict` returned.
        """
        self._share = state.get("share")

    def _set_rates(self, state: State, share: float) -> None:
        if self._layers is None:
            found = _layers(state.model)
            rates = [
                rate_of_layer(index, len(found), self.drop_rate, self.drop_distribution)
                for index in range(len(found))
            ]
            self._layers = list(zip(found, rates, strict=True))
        self._share = share
        for layer, rate in self._layers:
            layer.drop_rate = rate * share


def _share_of_training(given: float | Time[Any] | str) -> float:
    if isinstance(given, str | Time):
        given = float(read_time("drop_warmup", given, (TimeUnit.DURATION,)).value)
    check_number("drop_warmup", given, 0, 1)
    return float(given)
