"""Builds the parts of a run, in the order in which they need each other."""

from __future__ import annotations

import copy
import logging
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer

from composer._version import __version__
from composer.core.algorithm import Algorithm
from composer.core.callback import Callback
from composer.core.data_spec import DataSpec
from composer.core.engine import Engine
from composer.core.evaluator import Evaluator
from composer.core.logger import Logger
from composer.core.logger_destination import LoggerDestination
from composer.core.microbatch import Microbatcher
from composer.core.state import State
from composer.devices.device import Device
from composer.distributed import comm
from composer.distributed.plan import ParallelismPlan
from composer.errors import ArgumentTypeError, ConfigError
from composer.models.base import ComposerModel
from composer.optim.decoupled_weight_decay import DecoupledSGDW
from composer.trainer.arguments import LoggingOptions
from composer.trainer.batch_counts import BatchCounts
from composer.trainer.batch_source import BatchSource
from composer.trainer.eval_loop import EvalLoop
from composer.trainer.fit_loop import FitLoop
from composer.trainer.gradients import GradientPass
from composer.trainer.precision_policy import PrecisionPolicy
from composer.trainer.preemption import Interruption
from composer.trainer.resume import DataloaderPosition
from composer.trainer.schedule import Schedules
from composer.trainer.train_metrics import TrainMetrics
from composer.trainer.train_step import TrainStep

__all__ = [
    "FitParts",
    "build_destinations",
    "build_fit_loop",
    "check_model",
    "check_plugins",
    "choose_optimizers",
    "default_microbatch_size",
    "eval_metrics_of",
    "run_facts",
]

log = logging.getLogger(__name__)

OptimizersInput = Optimizer | Sequence[Optimizer] | Mapping[str, Optimizer] | None


def check_model(model: Any) -> ComposerModel:
    """Return the model, if the Trainer can train it.

    Raises:
        TypeError: not a ComposerModel.
    """
    if isinstance(model, ComposerModel):
        return model
    advice = (
        "wrap it: ComposerClassifier(module, num_classes=...), or a ComposerModel of your own with "
        "forward(batch) and loss(outputs, batch)"
    )
    raise ArgumentTypeError(f"model={type(model).__name__} is no ComposerModel; {advice}")


def check_plugins(algorithms: Sequence[Any], callbacks: Sequence[Any]) -> None:
    """Refuse what is neither a method nor a callback, and say where it belongs.

    Raises:
        TypeError: naming the object.
    """
    for given, kind, name in ((algorithms, Algorithm, "algorithms"), (callbacks, Callback, "callbacks")):
        for plugin in given:
            if not isinstance(plugin, kind):
                hint = " (did you forget to make an instance?)" if isinstance(plugin, type) else ""
                raise ArgumentTypeError(
                    f"{name} takes instances of {kind.__name__}, got {plugin!r}{hint}"
                )


def choose_optimizers(model: torch.nn.Module, given: OptimizersInput) -> OptimizersInput:
    """Return the optimizers; a plain default, with a warning, where none was given.

    Raises:
        TypeError: something that is no optimizer.
        ValueError: an optimizer without any of the model's parameters.
    """
    if given is None:
        parameters = [p for p in model.parameters() if p.requires_grad]
        if not parameters:
            return None
        log.warning("no optimizer was given: training with DecoupledSGDW(lr=0.1)")
        return DecoupledSGDW(parameters, lr=0.1)
    values = given.values() if isinstance(given, Mapping) else [given]
    flat = [one for each in values for one in (each if isinstance(each, Sequence) else [each])]
    own = {id(parameter) for parameter in model.parameters()}
    for optimizer in flat:
        if not isinstance(optimizer, Optimizer):
            raise ArgumentTypeError(
                f"optimizers takes torch optimizers, got {optimizer!r} ({type(optimizer).__name__})"
            )
        held = [p for group in optimizer.param_groups for p in group["params"]]
        if not any(id(parameter) in own for parameter in held):
            raise ConfigError(
                f"{type(optimizer).__name__} holds none of the model's parameters; make it with "
                "model.parameters() of the model given to the Trainer"
            )
    return given


def build_destinations(options: LoggingOptions) -> list[LoggerDestination]:
    """Return the user's destinations, then the progress bar and the console where asked for."""
    # Here, because a run without them must not pay for loading them.
    from composer.loggers.console_logger import ConsoleLogger  # noqa: PLC0415
    from composer.loggers.progress_bar_logger import ProgressBarLogger  # noqa: PLC0415

    destinations = list(options.given)
    has_bar = any(isinstance(each, ProgressBarLogger) for each in destinations)
    has_console = any(isinstance(each, ConsoleLogger) for each in destinations)
    if options.progress_bar and not has_bar:
        destinations.append(ProgressBarLogger(options.console_stream, options.log_traces))
    if options.log_to_console and not has_console:
        destinations.append(
            ConsoleLogger(options.console_log_interval, options.console_stream, options.log_traces)
        )
    return destinations


def default_microbatch_size(data_spec: DataSpec, given: Any) -> int | float | None:
    """Return the microbatch size to begin with: the loader's batch size where none is given."""
    if given is not None and given != "auto":
        return given
    return getattr(data_spec.dataloader, "batch_size", None)


def eval_metrics_of(model: ComposerModel, evaluators: Sequence[Evaluator]) -> dict[str, dict[str, Any]]:
    """Return each evaluator's own copies of the model's metrics, by label and name."""
    available = model.get_metrics(is_train=False) if evaluators else {}
    return {e.label: copy.deepcopy(e.select_metrics(available)) for e in evaluators}


def run_facts(state: State) -> dict[str, Any]:
    """Return what is logged about every run as hyperparameters."""
    facts: dict[str, Any] = {
        "composer_version": __version__,
        "composer_commit_hash": None,
        "num_nodes": comm.get_world_size() // comm.get_local_world_size(),
        f"num_{state.device.name}s_per_node": comm.get_local_world_size(),
        "node_name": platform.node() or "unknown",
        "rank_zero_seed": state.rank_zero_seed,
    }
    facts.update({f"enabled_algorithms/{type(a).__name__}": True for a in state.algorithms})
    return facts


@dataclass(frozen=True, slots=True)
class FitParts:
    """What a training loop is made of that outlives one ``fit``."""

    state: State
    engine: Engine
    logger: Logger
    plan: ParallelismPlan
    forward: torch.nn.Module
    device: Device
    weigh_by_tokens: bool | None
    position: DataloaderPosition


def build_fit_loop(
    parts: FitParts, data_spec: DataSpec, schedules: Schedules, interruption: Interruption
) -> FitLoop:
    """Build the loop of one ``fit``."""
    state, engine, logger = parts.state, parts.engine, parts.logger
    precision = PrecisionPolicy(state.precision, parts.device.torch_device.type, state.scaler)
    metrics = TrainMetrics(state, logger, engine.listens)
    counts = BatchCounts()
    microbatcher = Microbatcher(
        state.device_train_microbatch_size,
        state.auto_microbatching,
        lambda size: setattr(state, "device_train_microbatch_size", size),
    )
    gradients = GradientPass(
        state=state,
        engine=engine,
        plan=parts.plan,
        precision=precision,
        metrics=metrics,
        forward=parts.forward,
    )
    step = TrainStep(
        state=state,
        engine=engine,
        gradients=gradients,
        precision=precision,
        microbatcher=microbatcher,
        counts=counts,
        metrics=metrics,
    )
    return FitLoop(
        state=state,
        engine=engine,
        logger=logger,
        source=BatchSource(data_spec, parts.device, parts.weigh_by_tokens),
        position=parts.position,
        step=step,
        counts=counts,
        schedules=schedules,
        metrics=metrics,
        evaluation=EvalLoop(state=state, engine=engine, logger=logger, precision=precision),
        interruption=interruption,
    )
