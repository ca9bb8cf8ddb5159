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

from composer import env
from composer._version import __version__
from composer.callbacks.checkpoint_saver import CheckpointSaver
from composer.callbacks.stall_monitor import StallMonitor
from composer.core.algorithm import Algorithm
from composer.core.callback import Callback
from composer.core.data_spec import DataSpec
from composer.core.engine import Engine
from composer.core.evaluator import Evaluator
from composer.core.logger import Logger
from composer.core.logger_destination import LoggerDestination
from composer.core.microbatch import Microbatcher
from composer.core.state import State
from composer.core.tracer import Tracer
from composer.core.weight_view import WeightView, set_weight_view
from composer.devices.device import Device
from composer.distributed import comm, reproducibility
from composer.distributed.plan import ParallelismPlan
from composer.errors import ArgumentTypeError, ConfigError
from composer.models.base import ComposerModel
from composer.optim.decoupled_weight_decay import DecoupledSGDW
from composer.trainer.arguments import LoggingOptions, SaveOptions
from composer.trainer.batch_counts import BatchCounts
from composer.trainer.batch_source import BatchSource
from composer.trainer.data_position import DataloaderPosition
from composer.trainer.eval_loop import EvalLoop
from composer.trainer.fit_loop import FitLoop
from composer.trainer.gradients import GradientPass
from composer.trainer.precision_policy import PrecisionPolicy
from composer.trainer.preemption import Interruption
from composer.trainer.schedule import Schedules
from composer.trainer.train_metrics import TrainMetrics
from composer.trainer.train_step import TrainStep
from composer.utils.iter_helpers import ensure_tuple

__all__ = [
    "FitParts",
    "add_checkpoint_saver",
    "bind_profiler",
    "build_destinations",
    "build_fit_loop",
    "check_autoresume",
    "check_model",
    "check_plugins",
    "choose_optimizers",
    "compile_in_place",
    "default_callbacks",
    "eval_metrics_of",
    "fixed_microbatch_size",
    "place_optimizers",
    "run_facts",
    "set_up_ranks",
    "train_metrics_of",
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
    for given, kind, name in (
        (algorithms, Algorithm, "algorithms"),
        (callbacks, Callback, "callbacks"),
    ):
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
    flat = [one for each in values for one in ensure_tuple(each)]
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


def place_optimizers(state: State) -> None:
    """Move the optimizers' states to the device, and adopt the weight view of one that has two.

    Schedule-free optimizers train one set of weights and mean another to be used.

    Raises:
        ValueError: two optimizers do.
    """
    for optimizer in state.optimizers:
        state.device.optimizer_to_device(optimizer)
        if isinstance(optimizer, WeightView):
            set_weight_view(state, optimizer)


def build_destinations(options: LoggingOptions) -> list[LoggerDestination]:
    """Return the user's destinations, then the progress bar and the console where asked for."""
    # Here, because a run without them must not pay for loading them.
    from composer.loggers.console_logger import ConsoleLogger
    from composer.loggers.progress_bar_logger import ProgressBarLogger

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


def default_callbacks(
    destinations: Sequence[LoggerDestination], given: Sequence[Callback]
) -> list[Callback]:
    """Return the callbacks that the Trainer adds; all ranks must call this.

    Where what a logger gets outlives the run, that is a :class:`StallMonitor`, unless the user has
    one.
    """
    is_wanted = any(destination.is_lasting for destination in destinations)
    has_one = any(isinstance(callback, StallMonitor) for callback in given)
    # On all ranks or on none: it speaks with those of the others.
    return [StallMonitor()] if comm.any_rank(is_wanted) and not has_one else []


def bind_profiler(state: State, profiler: Tracer | None) -> None:
    """Let the profiler, if there is one, join the run with what it is made of."""
    state.profiler = profiler
    if profiler is not None:
        profiler.bind_to_state(state)


def set_up_ranks(device: Device, timeout_s: float, seed: int | None, deterministic: bool) -> int:
    """Connect the ranks, agree on a seed and use it.

    Returns:
        The seed of rank 0; rank ``r`` uses ``r`` more.
    """
    # Alone there is nobody to connect to, and a group would only slow metrics down.
    comm.connect(device, timeout_s, group_for_one=False)
    rank_zero_seed = reproducibility.agree_on_seed(seed)
    reproducibility.seed_all(rank_zero_seed + comm.get_global_rank())
    if deterministic:
        reproducibility.configure_deterministic_mode()
    return rank_zero_seed


def add_checkpoint_saver(state: State, options: SaveOptions) -> CheckpointSaver | None:
    """Return the user's own saver among the callbacks, or add one made of the options."""
    for callback in state.callbacks:
        if isinstance(callback, CheckpointSaver):
            return callback
    if options.folder is None:
        return None
    saver = CheckpointSaver(
        folder=options.folder,
        filename=options.filename,
        latest_filename=options.latest_filename,
        overwrite=options.overwrite,
        save_interval=options.interval,
        weights_only=options.weights_only,
        ignore_keys=options.ignore_keys,
        num_checkpoints_to_keep=options.num_checkpoints_to_keep,
        retention=options.retention,
        save_async=options.is_async,
    )
    state.callbacks.append(saver)
    return saver


def check_autoresume(run_name: str | None, saver: CheckpointSaver | None) -> tuple[str, str, str]:
    """Return the folder, the name of the link to the newest checkpoint, and the name template.

    The newest checkpoint is brought here if it is far away; all ranks call this.

    Raises:
        ValueError: ``autoresume`` cannot find a checkpoint again without what is missing.
    """
    name = run_name or env.COMPOSER_RUN_NAME.get() or env.RUN_NAME.get()
    needed = {
        "run_name": name,
        "save_folder": saver and saver.folder,
        "save_latest_filename": saver and saver.latest_filename,
    }
    missing = [argument for argument, value in needed.items() if not value]
    if saver is None or not saver.latest_filename or not name or missing:
        raise ConfigError(f"autoresume=True needs {' and '.join(missing)}")
    return saver.bring_newest(name), saver.latest_filename, saver.filename


def fixed_microbatch_size(data_spec: DataSpec, given: Any) -> int | float | None:
    """Return the size given, else the loader's batch size, else ``None`` for whole batches."""
    return getattr(data_spec.dataloader, "batch_size", None) if given is None else given


def train_metrics_of(model: ComposerModel, device: Device) -> dict[str, Any]:
    """Return copies of the model's training metrics, on the device."""
    return {
        name: device.module_to_device(copy.deepcopy(metric))
        for name, metric in model.get_metrics(is_train=True).items()
    }


def eval_metrics_of(
    model: ComposerModel, evaluators: Sequence[Evaluator]
) -> dict[str, dict[str, Any]]:
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


def compile_in_place(model: ComposerModel, config: Mapping[str, Any] | None) -> None:
    """Compile the model's forward pass; parameters keep their names."""
    if config is not None:
        model.compile(**config)


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
    counts = BatchCounts(lambda: interruption.wishes)
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
        checks_tokens=parts.weigh_by_tokens is not False,
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
        evaluation=EvalLoop(
            state=state,
            engine=engine,
            logger=logger,
            precision=precision,
            interruption=interruption,
        ),
        interruption=interruption,
    )
