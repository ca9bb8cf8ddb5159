"""Learning rate schedules made to drive an optimizer.

:func:`compile_composer_scheduler` ties a schedule to an optimizer and to the training state; the
trainer then calls ``step()`` after it has moved the timestamp on, so that batch ``k`` trains with
the multiplier of time ``k``. All schedules are offered here too.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from composer.errors import ArgumentTypeError, ConfigError, StateError, unknown_name
from composer.optim.curves import (
    ConstantScheduler,
    CosineAnnealingScheduler,
    CosineAnnealingWarmRestartsScheduler,
    ExponentialScheduler,
    LinearScheduler,
    MultiStepScheduler,
    PolynomialScheduler,
    StepScheduler,
)
from composer.optim.learning_rates import set_rate
from composer.optim.scale_schedule import scale_pytorch_scheduler
from composer.optim.schedule import ComposerScheduler, Run, Schedule
from composer.optim.warmup import (
    ConstantWithWarmupScheduler,
    CosineAnnealingWithWarmupScheduler,
    LinearWithWarmupScheduler,
    MultiStepWithWarmupScheduler,
    PolynomialWithWarmupScheduler,
    WarmupStableDecayScheduler,
)

if TYPE_CHECKING:
    from composer.core.state import State

__all__ = [
    "CompiledScheduler",
    "ComposerScheduler",
    "ConstantScheduler",
    "ConstantWithWarmupScheduler",
    "CosineAnnealingScheduler",
    "CosineAnnealingWarmRestartsScheduler",
    "CosineAnnealingWithWarmupScheduler",
    "ExponentialScheduler",
    "LinearScheduler",
    "LinearWithWarmupScheduler",
    "MultiStepScheduler",
    "MultiStepWithWarmupScheduler",
    "PolynomialScheduler",
    "PolynomialWithWarmupScheduler",
    "StepScheduler",
    "WarmupStableDecayScheduler",
    "compile_composer_scheduler",
    "read_schedule",
    "scale_pytorch_scheduler",
]

log = logging.getLogger(__name__)


class CompiledScheduler(LambdaLR):
    """A schedule tied to one optimizer; made by :func:`compile_composer_scheduler`.

    A torch scheduler in every respect (state dict included), but the learning rate depends on the
    training state and not on how often :meth:`step` was called. Parameter groups that are added
    later are scheduled as well.

    Args:
        optimizer: whose learning rates are set.
        multiplier: returns the multiplier that holds now.
    """

    def __init__(self, optimizer: Optimizer, multiplier: Callable[[], float]) -> None:
        self._multiplier = multiplier
        super().__init__(optimizer, lambda _: multiplier())

    def step(self, epoch: int | None = None) -> None:
        """Set the learning rates for the state's timestamp as it is now.

        Args:
            epoch: not supported; the timestamp says where training stands.
        """
        if epoch is not None:
            raise ConfigError(
                f"epoch={epoch!r}: this schedule follows state.timestamp; call step()"
            )
        self._step_count += 1
        self.last_epoch += 1
        self.refresh()

    def refresh(self) -> None:
        """Set the learning rates again, without counting a step.

        For when the run has changed: another ``max_duration``, a restored timestamp.
        """
        multiplier = self._multiplier()
        groups = self.optimizer.param_groups
        if len(groups) != len(self.base_lrs):
            self._adopt_groups(groups)
        rates: list[float | Tensor] = []
        for group, base_lr in zip(groups, self.base_lrs, strict=True):
            rate = base_lr * multiplier
            set_rate(group, rate)
            rates.append(rate)
        self._last_lr = rates

    def _adopt_groups(self, groups: list[dict[str, Any]]) -> None:
        self.base_lrs = [group.setdefault("initial_lr", group["lr"]) for group in groups]
        self.lr_lambdas = [self.lr_lambdas[0]] * len(groups)

    def get_lr(self) -> list[float | Tensor]:
        """Return the learning rates that hold now, one for each parameter group."""
        multiplier = self._multiplier()
        return [base_lr * multiplier for base_lr in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: plain numbers, under torch's names."""
        kept = super().state_dict()
        del kept["_multiplier"]
        return kept


def read_schedule(
    name: str, given: Callable[[State], float] | Mapping[str, Any]
) -> Callable[[State], float]:
    """Return an argument as a schedule.

    Args:
        name: the argument's name, for messages.
        given: a schedule, or its JSON form: its class's name -> its arguments.

    Raises:
        TypeError: it is neither.
        ValueError: no schedule of this package has that name or these arguments.

    Example:
        >>> read_schedule("schedule", {"LinearScheduler": {"alpha_f": 0.5}})
        LinearScheduler(alpha_i=1.0, alpha_f=0.5, t_max='1.0dur')
    """
    if callable(given):
        return given
    if not isinstance(given, Mapping) or len(given) != 1:
        raise ArgumentTypeError(
            f"{name}={given!r} is no schedule; give one such as CosineAnnealingScheduler(), a "
            "function of the state, or {'CosineAnnealingScheduler': {'alpha_f': 0.1}}"
        )
    ((kind, arguments),) = given.items()
    known = {each: cls for each, cls in globals().items() if _is_ready_made(cls)}
    if kind not in known:
        raise unknown_name(f"schedule in {name}", kind, known)
    try:
        return known[kind](**arguments)
    except TypeError as error:
        raise ConfigError(f"{name}={given!r}: {error}") from error


def _is_ready_made(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Schedule) and value is not Schedule


def compile_composer_scheduler(
    scheduler: ComposerScheduler | Callable[[State], float],
    state: State,
    ssr: float = 1.0,
    optimizer: Optimizer | None = None,
) -> CompiledScheduler:
    """Tie a schedule to an optimizer, and set the learning rates for the state as it is now.

    Scale ``state.max_duration`` first where ``ssr`` is not 1: the schedule takes it as it is.

    Args:
        scheduler: the schedule. A function of the state alone will do if ``ssr`` is 1.
        state: the training state that the schedule reads, now and at every step.
        ssr: scale schedule ratio, more than 0.
        optimizer: the optimizer to drive; by default the state's only one.

    Raises:
        TypeError: ``scheduler`` cannot be called.
        ValueError: the schedule does not fit the run, cannot be scaled, or it is not clear which
            optimizer is meant.
        RuntimeError: the state lacks something that the schedule needs.
    """
    if not callable(scheduler):
        raise ArgumentTypeError(
            f"{scheduler!r} is no schedule; give a function (state, ssr=1.0) -> multiplier, "
            "or one of composer.optim such as CosineAnnealingScheduler()"
        )
    if not ssr > 0:
        raise ConfigError(f"the scale schedule ratio must be more than 0, got {ssr!r}")
    multiplier = _bind(scheduler, state, ssr)
    compiled = CompiledScheduler(optimizer or _only_optimizer(state), multiplier)
    _explain_length(scheduler, state, ssr)
    return compiled


def _bind(scheduler: Callable[..., float], state: State, ssr: float) -> Callable[[], float]:
    if _takes_ratio(scheduler):
        return lambda: scheduler(state, ssr)
    if ssr != 1.0:
        raise ConfigError(
            f"{scheduler!r} takes the state alone, so it cannot be scaled by {ssr!r}; "
            "give it a second argument 'ssr' and multiply its times by it"
        )
    return lambda: scheduler(state)


def _takes_ratio(scheduler: Callable[..., float]) -> bool:
    try:
        signature = inspect.signature(scheduler)
    except ValueError:  # built-in functions may have none
        return True
    try:
        signature.bind(None, 1.0)
    except TypeError:
        return False
    return True


def _only_optimizer(state: State) -> Optimizer:
    optimizers = state.optimizers
    if not optimizers:
        raise StateError("a schedule needs an optimizer, and the state has none yet")
    if len(optimizers) > 1:
        raise ConfigError(
            f"the state has {len(optimizers)} optimizers; say which one the schedule drives: "
            "compile_composer_scheduler(..., optimizer=...)"
        )
    return optimizers[0]


def _explain_length(scheduler: object, state: State, ssr: float) -> None:
    """Say so in the log where a schedule and the run do not end together."""
    t_max, alpha_f = getattr(scheduler, "t_max", None), getattr(scheduler, "alpha_f", None)
    length = state.dataloader_len
    run = Run(state.max_duration, None if length is None else int(length), ssr)
    run_end = run.end()
    if t_max is None or alpha_f is None or run_end is None:
        return
    end = run.resolve(t_max)
    if end.unit is not run_end.unit or end.value == run_end.value:
        return
    if end.value > run_end.value:
        log.info("%r ends at %s; the run stops before, at %s", scheduler, end, run_end)
        return
    level = logging.WARNING if alpha_f == 0 else logging.INFO
    message = "%r ends at %s; until the run ends at %s the learning rate is multiplied by %s"
    log.log(level, message, scheduler, end, run_end, alpha_f)
