"""The Trainer: takes a model, data and methods, builds the parts of a run and forwards calls.

It owns no mathematics: the loop is in :mod:`composer.trainer.fit_loop`, one batch in
:mod:`composer.trainer.train_step`, evaluation in :mod:`composer.trainer.eval_loop`.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TextIO

from composer.checkpoint.export import ExportFormat, Transform, export_with_logger
from composer.checkpoint.load_run import load_checkpoint
from composer.checkpoint.retention import Retention
from composer.checkpoint.save_run import save_checkpoint
from composer.core.algorithm import Algorithm
from composer.core.callback import Callback
from composer.core.data_spec import DataSpec, ensure_data_spec
from composer.core.engine import Engine
from composer.core.evaluator import Evaluator
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.logger_destination import LoggerDestination
from composer.core.microbatch import check_microbatch_size
from composer.core.passes import AlgorithmPass
from composer.core.precision import Precision, check_precision
from composer.core.state import State
from composer.core.time import Time, Timestamp
from composer.core.tracer import Tracer
from composer.core.weight_view import evaluation_weights
from composer.devices.device import Device
from composer.devices.select import get_device
from composer.distributed import comm, reproducibility
from composer.distributed.config import ParallelismConfig
from composer.distributed.data_parallel import DDPSyncStrategy
from composer.distributed.plan import ParallelismPlan
from composer.errors import ConfigError, StateError
from composer.models.base import ComposerModel
from composer.trainer import assembly
from composer.trainer.arguments import (
    EvalOptions,
    LoadOptions,
    LoggingOptions,
    SaveOptions,
    TrainDataOptions,
    check_duration,
    check_num_batches,
    refuse_unknown_keywords,
)
from composer.trainer.assembly import OptimizersInput
from composer.trainer.batch_source import BatchSource
from composer.trainer.data_position import DataloaderPosition
from composer.trainer.dry_run import DryRunReport, dry_run, everything_put_back
from composer.trainer.eval_loop import EvalLoop
from composer.trainer.explain import Composition
from composer.trainer.fit_ledger import FitCall, FitLedger
from composer.trainer.gradient_check import GradientCheck, check_gradients
from composer.trainer.precision_policy import PrecisionPolicy, convert_to_float8, make_scaler
from composer.trainer.predict_loop import PredictLoop
from composer.trainer.preemption import Interruption, saved_when_stopped
from composer.trainer.resume import find_latest
from composer.trainer.run_name import make_run_name
from composer.trainer.schedule import (
    SchedulersInput,
    Schedules,
    check_scale_schedule_ratio,
    compile_schedulers,
    scale_max_duration,
    steps_every_batch,
)
from composer.trainer.train_step import closure_optimizer
from composer.utils.auto_log_hparams import extract_hparams
from composer.utils.iter_helpers import ensure_tuple

__all__ = ["Trainer"]

log = logging.getLogger(__name__)

Loader = Iterable[Any] | DataSpec | dict[str, Any]
EvalLoader = Iterable[Any] | DataSpec | Evaluator | Sequence[Evaluator] | dict[str, Any]
Interval = int | str | Time[int] | Callable[[State, Event], bool]
Filter = list[str] | Callable[[dict[str, Any]], None]


class Trainer:
    """Trains a model, with methods composed into the loop.

    Every keyword is checked here, before anything runs.

    Args:
        model: what to train.
        train_dataloader: what to train on: a loader, a :class:`DataSpec`, or a dict of its
            arguments. It may be given to :meth:`fit` instead.
        train_dataloader_label: the loader's name in metrics.
        train_subset_num_batches: batches per epoch; -1 for all.
        spin_dataloaders: whether resuming in the middle of an epoch may read batches again where
            data cannot be sought; a warning then says why. Without it that is refused.
        max_duration: when to stop: ``'10ep'``, ``'500ba'``, ``'1e6sp'``, ``'1e9tok'``; a bare
            number counts epochs.
        algorithms: the methods.
        algorithm_passes: changes the order in which methods run; see
            :mod:`composer.core.passes`.
        optimizers: one optimizer; or several, as a list or by name, each for parameters of its own.
            All step after each batch, with one precision and one accumulation.
        schedulers: learning rate schedules, Composer's or torch's; several multiply. A mapping of
            optimizer names gives each optimizer its own.
        scale_schedule_ratio: stretches ``max_duration`` and every schedule.
        step_schedulers_every_batch: whether schedules step after each batch (the default, unless
            there is a torch one) or after each epoch.
        eval_dataloader: what to evaluate on: a loader, an :class:`Evaluator`, or several.
        eval_interval: when: a time (a bare number counts epochs), or a function of the state and
            the event.
        eval_subset_num_batches: batches per evaluation; -1 for all.
        callbacks: what watches the run.
        loggers: where logged values go.
        logger: the same as ``loggers``.
        run_name: the run's name; by default the environment's ``COMPOSER_RUN_NAME`` or
            ``RUN_NAME``, else one is made.
        progress_bar: whether to show progress.
        log_to_console: whether to print metrics as lines.
        console_stream: where both write: ``'stderr'``, ``'stdout'`` or an open file.
        console_log_interval: how often lines are printed.
        log_traces: whether progress and console also show which methods ran.
        auto_log_hparams: whether every argument given here is logged as a hyperparameter.
        load_path: a checkpoint to start from: a file, a link, or an address.
        load_object_store: where ``load_path`` lies, if not here.
        load_weights_only: whether to take only the model's weights from it.
        load_strict_model_weights: whether its weights must match the model's names exactly.
        load_progress_bar: whether to show progress while fetching it.
        load_ignore_keys: parts of it to leave out: glob patterns of ``/``-joined paths, or a
            function that edits the dict.
        load_exclude_algorithms: methods of the checkpoint that must not be added to this run.
        load_trust: whether code in the checkpoint may be run, which some old files need; for files
            of one's own only.
        save_folder: where checkpoints are written, here or at an address such as
            ``'s3://bucket/{run_name}'``; ``None`` writes none.
        save_filename: name of a checkpoint, with placeholders.
        save_latest_filename: name of the link to the newest; ``None`` for no link.
        save_overwrite: whether existing checkpoints may be replaced.
        save_interval: when to save: a time, or a function of the state and the event.
        save_weights_only: whether to save only the model's weights.
        save_ignore_keys: parts to leave out, as ``load_ignore_keys``.
        save_num_checkpoints_to_keep: how many local checkpoints to keep; -1 for all.
        save_retention: which checkpoints to keep, where the number of the newest is not enough.
        save_async: whether training goes on while checkpoints are written. It takes host memory of
            the size of the state.
        save_metrics: whether checkpoints keep metric objects.
        autoresume: whether to go on from the newest checkpoint of this run, where there is one.
        parallelism_config: how the model is sharded over devices.
        device: ``'cpu'``, ``'gpu'`` or ``'mps'``; a GPU if there is one.
        precision: ``'fp32'``, ``'amp_fp16'``, ``'amp_bf16'`` or ``'amp_fp8'``; by default
            ``amp_fp16`` on a GPU and ``fp32`` elsewhere.
        precision_config: options of ``amp_fp16``'s scaler or of ``amp_fp8``.
        device_train_microbatch_size: samples per forward pass on each device; ``'auto'`` halves it
            until it fits. Gradients do not depend on it.
        accumulate_train_batch_on_tokens: whether microbatches weigh by the tokens that generate
            loss: ``None`` where the batch says which do, ``True`` always, ``False`` never.
        seed: the seed of rank 0, in [0, 2**32 - 1]; random by default.
        deterministic_mode: whether torch must use deterministic operations.
        dist_timeout: seconds after which a rank that does not answer is given up.
        ddp_sync_strategy: when gradients are averaged over ranks.
        profiler: records where the time of chosen batches goes; a
            :class:`~composer.profiler.Profiler`.
        python_log_level: level of the ``composer`` logger, such as ``'INFO'``.
        compile_config: arguments of ``torch.compile`` for the model's forward pass; ``{}`` for its
            defaults, ``None`` not to compile.
        check_gradients: whether ``fit`` begins by proving, on the first batch, that gradients do
            not depend on the microbatch size; see :meth:`check_gradients`.

    Raises:
        TypeError: an unknown keyword, with the nearest known one, or an argument of a wrong type.
        ValueError: an argument that cannot work.

    Example:
        >>> import torch
        >>> from composer.models.tasks.classification import ComposerClassifier
        >>> model = ComposerClassifier(torch.nn.Linear(4, 2), num_classes=2)
        >>> batches = [(torch.randn(8, 4), torch.zeros(8, dtype=torch.int64))]
        >>> trainer = Trainer(
        ...     model=model,
        ...     train_dataloader=batches,
        ...     max_duration="2ep",
        ...     optimizers=torch.optim.SGD(model.parameters(), lr=0.1),
        ...     progress_bar=False,
        ... )
        >>> trainer.fit()
        >>> str(trainer.state.timestamp.epoch)
        '2ep'
    """

    @refuse_unknown_keywords
    def __init__(
        self,
        *,
        model: ComposerModel,
        train_dataloader: Loader | None = None,
        train_dataloader_label: str = "train",
        train_subset_num_batches: int = -1,
        spin_dataloaders: bool = True,
        max_duration: int | str | Time[Any] | None = None,
        algorithms: Algorithm | Sequence[Algorithm] | None = None,
        algorithm_passes: AlgorithmPass
        | tuple[AlgorithmPass, int]
        | Sequence[AlgorithmPass | tuple[AlgorithmPass, int]]
        | None = None,
        optimizers: OptimizersInput = None,
        schedulers: SchedulersInput = None,
        scale_schedule_ratio: float = 1.0,
        step_schedulers_every_batch: bool | None = None,
        eval_dataloader: EvalLoader | None = None,
        eval_interval: Interval = 1,
        eval_subset_num_batches: int = -1,
        callbacks: Callback | Sequence[Callback] | None = None,
        loggers: LoggerDestination | Sequence[LoggerDestination] | None = None,
        logger: LoggerDestination | Sequence[LoggerDestination] | None = None,
        run_name: str | None = None,
        progress_bar: bool = True,
        log_to_console: bool = False,
        console_stream: str | TextIO = "stderr",
        console_log_interval: int | str | Time[int] = "1ba",
        log_traces: bool = False,
        auto_log_hparams: bool = False,
        load_path: str | None = None,
        load_object_store: Any = None,
        load_weights_only: bool = False,
        load_strict_model_weights: bool = True,
        load_progress_bar: bool = True,
        load_ignore_keys: Filter | None = None,
        load_exclude_algorithms: list[str] | None = None,
        load_trust: bool = False,
        save_folder: str | None = None,
        save_filename: str = "ep{epoch}-ba{batch}-rank{rank}.pt",
        save_latest_filename: str | None = "latest-rank{rank}.pt",
        save_overwrite: bool = False,
        save_interval: Interval = "1ep",
        save_weights_only: bool = False,
        save_ignore_keys: Filter | None = None,
        save_num_checkpoints_to_keep: int = -1,
        save_retention: Retention | None = None,
        save_async: bool = True,
        save_metrics: bool = False,
        autoresume: bool = False,
        parallelism_config: ParallelismConfig | dict[str, Any] | None = None,
        device: str | Device | None = None,
        precision: str | Precision | None = None,
        precision_config: dict[str, Any] | None = None,
        device_train_microbatch_size: int | float | str | None = None,
        accumulate_train_batch_on_tokens: bool | None = None,
        seed: int | None = None,
        deterministic_mode: bool = False,
        dist_timeout: float = 300.0,
        ddp_sync_strategy: str | DDPSyncStrategy | None = None,
        profiler: Tracer | None = None,
        python_log_level: str | None = None,
        compile_config: dict[str, Any] | None = None,
        check_gradients: bool = False,
    ) -> None:
        hparams = extract_hparams(locals()) if auto_log_hparams else {}
        if python_log_level is not None:
            logging.getLogger("composer").setLevel(python_log_level.upper())

        # 1. Everything that can be refused is refused before anything is built.
        model = assembly.check_model(model)
        algorithms, callbacks = ensure_tuple(algorithms), ensure_tuple(callbacks)
        assembly.check_plugins(algorithms, callbacks)
        check_microbatch_size(device_train_microbatch_size)
        check_scale_schedule_ratio(scale_schedule_ratio, schedulers)
        duration = None if max_duration is None else check_duration(max_duration, "max_duration")
        logging_options = LoggingOptions(
            loggers=loggers, logger=logger, progress_bar=progress_bar,
            log_to_console=log_to_console, console_stream=console_stream,
            console_log_interval=console_log_interval, log_traces=log_traces,
        )  # fmt: skip
        load_options = LoadOptions(
            path=load_path, object_store=load_object_store, weights_only=load_weights_only,
            strict_model_weights=load_strict_model_weights, progress_bar=load_progress_bar,
            ignore_keys=load_ignore_keys, exclude_algorithms=load_exclude_algorithms,
            trust=load_trust,
        )  # fmt: skip
        save_options = SaveOptions(
            folder=save_folder, filename=save_filename, latest_filename=save_latest_filename,
            overwrite=save_overwrite, interval=save_interval, weights_only=save_weights_only,
            ignore_keys=save_ignore_keys,
            num_checkpoints_to_keep=save_num_checkpoints_to_keep,
            retention=save_retention, is_async=save_async,
        )  # fmt: skip
        eval_options = EvalOptions(eval_dataloader, eval_interval, eval_subset_num_batches)
        train_options = TrainDataOptions(
            train_dataloader, train_dataloader_label, train_subset_num_batches
        )

        # 2. The machine: device, number format, ranks, seed.
        self._device = get_device(device)
        chosen_precision = self._choose_precision(precision)
        rank_zero_seed = assembly.set_up_ranks(self._device, dist_timeout, seed, deterministic_mode)
        self._plan = ParallelismPlan(
            self._device,
            comm.get_world_size(),
            parallelism_config,
            ddp_sync_strategy=ddp_sync_strategy,
            find_unused_parameters=any(a.find_unused_parameters for a in algorithms),
        )

        # 3. The state and what hangs on it.
        self._device.module_to_device(model)
        self.state = State(
            model=model,
            rank_zero_seed=rank_zero_seed,
            run_name=make_run_name(run_name),
            device=self._device,
            precision=chosen_precision,
            precision_config=precision_config,
            optimizers=assembly.choose_optimizers(model, optimizers),
            save_metrics=save_metrics,
            algorithms=algorithms,
            parallelism_config=self._plan.config,
        )
        assembly.place_optimizers(self.state)
        destinations = assembly.build_destinations(logging_options)
        self.logger = model.logger = Logger(self.state, destinations)
        self.state.callbacks = [
            *destinations, *assembly.default_callbacks(destinations, callbacks), *callbacks
        ]  # fmt: skip
        assembly.bind_profiler(self.state, profiler)
        self._checkpoint_saver = assembly.add_checkpoint_saver(self.state, save_options)
        self._algorithm_passes = algorithm_passes
        self.engine = Engine(self.state, self.logger, algorithm_passes)
        self._interruption = Interruption()
        load_options = self._choose_checkpoint(load_options, autoresume, run_name)

        # 4. Surgery. Metrics, loaders and schedules come after it, because it may change them, and
        # even put another model in the place of `model`.
        self.engine.run_event(Event.INIT)
        self.logger.log_hyperparameters({**assembly.run_facts(self.state), **hparams})

        # 5. Data, metrics, schedules.
        self.state.train_metrics = assembly.train_metrics_of(self.state.model, self._device)
        self._set_evaluators(eval_options)
        self._microbatch_size = device_train_microbatch_size
        self._data_spec = self._set_train_data(train_options)
        if duration is not None:
            self.state.max_duration = scale_max_duration(duration, scale_schedule_ratio)
        self._schedules: Schedules | None = None
        self._set_schedulers(schedulers, scale_schedule_ratio, step_schedulers_every_batch)
        self._set_precision(chosen_precision)
        closure_optimizer(self.state.optimizers, self._precision_policy())

        # 6. The checkpoint.
        self._position = DataloaderPosition(spin_dataloaders)
        self._load(load_options)
        reproducibility.seed_all(self.state.seed)

        # 7. Ranks and compilation see the final model.
        self._parts = assembly.FitParts(
            state=self.state,
            engine=self.engine,
            logger=self.logger,
            plan=self._plan,
            forward=self._plan.apply(self.state.model),
            device=self._device,
            weigh_by_tokens=accumulate_train_batch_on_tokens,
            position=self._position,
        )
        assembly.compile_in_place(self.state.model, compile_config)
        self._must_check_gradients = check_gradients

    # What users call.

    @refuse_unknown_keywords
    def fit(
        self,
        *,
        train_dataloader: Loader | None = None,
        train_dataloader_label: str = "train",
        train_subset_num_batches: int | None = None,
        spin_dataloaders: bool | None = None,
        duration: int | str | Time[Any] | None = None,
        reset_time: bool = False,
        schedulers: SchedulersInput = None,
        scale_schedule_ratio: float = 1.0,
        step_schedulers_every_batch: bool | None = None,
        eval_dataloader: EvalLoader | None = None,
        eval_subset_num_batches: int = -1,
        eval_interval: Interval = 1,
        device_train_microbatch_size: int | float | str | None = None,
        precision: str | Precision | None = None,
    ) -> None:
        """Train. Call it again to go on; each argument given replaces the constructor's.

        The first Ctrl-C stops at the end of the batch, or of the evaluation batch: a checkpoint is
        saved where there is a ``save_folder``, loggers are flushed, and ``fit`` may be called again
        to go on. The second stops at once. SIGTERM and SIGUSR1 do the same and end the program with
        the exit code 75, upon which a scheduler may run it again. With several ranks all stop
        together, whichever of them got the signal.

        Args:
            train_dataloader: what to train on.
            train_dataloader_label: its name in metrics.
            train_subset_num_batches: batches per epoch; -1 for all.
            spin_dataloaders: as in the constructor.
            duration: how much longer to train; without it, until ``max_duration``. Where
                ``autoresume`` goes on with this call, or finds that it had come to its end, this
                counts from where the call began before.
            reset_time: whether to count from zero.
            schedulers: learning rate schedules.
            scale_schedule_ratio: stretches ``duration`` and the schedules given here.
            step_schedulers_every_batch: as in the constructor.
            eval_dataloader: what to evaluate on.
            eval_subset_num_batches: batches per evaluation; -1 for all.
            eval_interval: when to evaluate.
            device_train_microbatch_size: samples per forward pass.
            precision: number format.

        Raises:
            ValueError: no data, no duration, or nothing left to train.
            KeyboardInterrupt: after Ctrl-C.
            SystemExit: after SIGTERM or SIGUSR1.
        """
        state = self.state
        if self.engine.is_closed:
            raise StateError("this trainer is closed; make a new one to train")
        # What can be refused is refused before anything is replaced.
        check_microbatch_size(device_train_microbatch_size)
        check_num_batches("train_subset_num_batches", train_subset_num_batches)
        eval_options = EvalOptions(eval_dataloader, eval_interval, eval_subset_num_batches)
        eval_options.require_dataloader_if_used()
        check_scale_schedule_ratio(scale_schedule_ratio, schedulers)
        more = None if duration is None else check_duration(duration, "duration")
        call = self._ledger.next_call()
        chosen_precision = self._choose_precision(precision or self.state.precision)

        self._microbatch_size = device_train_microbatch_size or self._microbatch_size
        data_spec = self._replace_train_data(
            train_dataloader, train_dataloader_label, train_subset_num_batches, call
        )
        if device_train_microbatch_size is not None:
            self._set_microbatch_size(data_spec)
        if precision is not None:
            self._set_precision(chosen_precision)
        if spin_dataloaders is not None:
            self._position.spin_dataloaders = spin_dataloaders
        if reset_time and not call.was_begun:
            state.timestamp, state.previous_timestamp = Timestamp(), None
        self._set_duration(more, scale_schedule_ratio, call)
        if schedulers is not None:
            self._set_schedulers(schedulers, scale_schedule_ratio, step_schedulers_every_batch)
        if eval_dataloader is not None:
            self._set_evaluators(eval_options)
        if call.is_over:
            log.info("this call of fit had come to its end before the run was interrupted")
            return
        if self._must_check_gradients:
            self.check_gradients().require()
        self._ledger.begin(call)
        self._run_fit_loop(data_spec)

    def eval(self, eval_dataloader: EvalLoader | None = None, subset_num_batches: int = -1) -> None:
        """Evaluate now; values are in ``state.eval_metrics`` and logged.

        Args:
            eval_dataloader: what to evaluate on, for this call; the constructor's by default.
            subset_num_batches: batches of each loader; -1 for all.

        Raises:
            ValueError: nothing to evaluate on.
        """
        state = self.state
        if eval_dataloader is None:
            if not state.evaluators:
                raise ConfigError(
                    "nothing to evaluate on: give eval_dataloader here or to the Trainer"
                )
            evaluators = [copy.copy(evaluator) for evaluator in state.evaluators]
            if subset_num_batches != -1:
                for evaluator in evaluators:
                    evaluator.subset_num_batches = subset_num_batches
        else:
            evaluators = self._make_evaluators(EvalOptions(eval_dataloader, 1, subset_num_batches))
            state.eval_metrics.update(assembly.eval_metrics_of(state.model, evaluators))
        with self._loggers_kept_informed():
            self.engine.run_event(Event.EVAL_STANDALONE_START)
            self._eval_loop().run(evaluators)
            self.engine.run_event(Event.EVAL_STANDALONE_END)

    def predict(
        self,
        dataloader: Loader,
        subset_num_batches: int = -1,
        *,
        return_outputs: bool = True,
    ) -> list[Any]:
        """Run the model over a loader.

        Args:
            dataloader: the inputs, as batches the model's forward takes.
            subset_num_batches: how many batches; -1 for all.
            return_outputs: whether to return the outputs; callbacks see them in any case.

        Returns:
            The outputs of each batch, on the CPU; empty if not wanted.
        """
        loop = PredictLoop(state=self.state, engine=self.engine, precision=self._precision_policy())
        with self._loggers_kept_informed():
            return loop.run(ensure_data_spec(dataloader), subset_num_batches, return_outputs)

    def save_checkpoint(
        self, name: str = "ep{epoch}-ba{batch}-rank{rank}", *, weights_only: bool = False
    ) -> str | None:
        """Save a checkpoint now.

        Args:
            name: its path, with placeholders.
            weights_only: whether to save only the model's weights.

        Returns:
            The path written; ``None`` on ranks that write none.
        """
        return save_checkpoint(self.state, name, weights_only=weights_only)

    def save_checkpoint_to_save_folder(self) -> None:
        """Save a checkpoint as the run's own, into ``save_folder``.

        Raises:
            ValueError: there is no ``save_folder``.
        """
        if self._checkpoint_saver is None:
            raise ConfigError(
                "there is no save_folder: give it to the Trainer, or use save_checkpoint"
            )
        self._checkpoint_saver.save(self.state, self.logger)
        self._checkpoint_saver.wait(self.logger)

    @property
    def saved_checkpoints(self) -> list[str]:
        """Paths of the checkpoints written so far and still kept."""
        saver = self._checkpoint_saver
        return [] if saver is None else list(saver.saved_checkpoints)

    def export_for_inference(
        self,
        save_format: str | ExportFormat,
        save_path: str,
        save_object_store: Any = None,
        sample_input: Any = None,
        transforms: Sequence[Transform] | None = None,
        input_names: Sequence[str] | None = None,
        output_names: Sequence[str] | None = None,
    ) -> None:
        """Export the model for inference, checked by loading it again; rank 0 exports.

        Args:
            save_format: ``'torch_export'``, ``'onnx'``, ``'safetensors'`` or ``'torchscript'``.
            save_path: the file, or its name at logger destinations that keep files.
            save_object_store: where to put the file, if not here.
            sample_input: a batch that the model is called with; by default the last one seen.
            transforms: functions that change the copy that is exported.
            input_names: names of the inputs in an ONNX file.
            output_names: names of the outputs in an ONNX file.

        Raises:
            ValueError: an unknown format, or no batch to call the model with.
            RuntimeError: the file gives other outputs than the model; it is not kept.
        """
        sample = self.state.batch if sample_input is None else sample_input
        if comm.get_global_rank() != 0:
            return
        with evaluation_weights(self.state):
            export_with_logger(
                self.state.model,
                save_format,
                save_path,
                self.logger,
                save_object_store,
                None if sample is None else (sample, {}),
                transforms,
                input_names,
                output_names,
            )

    def explain(self) -> Composition:
        """Return which method acts on which event, in which order, and what it changes.

        Printed, it is a table.
        """
        return Composition(self.engine, self.state)

    def dry_run(self, num_batches: int = 1) -> DryRunReport:
        """Train, evaluate and save one step, then put everything back.

        What would fail in an hour fails now: data that cannot be loaded, a batch that does not
        fit, an evaluator whose metrics do not take the model's outputs, a state that cannot be
        saved. Callbacks and loggers see nothing of it.

        Args:
            num_batches: how many batches to train; the time of several says what a step costs.

        Returns:
            What each part took.

        Raises:
            Exception: whatever failed; the run is as it was before.
        """
        data_spec = self._require_train_data()
        self._set_duration(None, 1.0)
        schedules = self._compiled_schedules()

        def train() -> None:
            silent = Logger(self.state)
            engine = Engine(self.state, silent, self._algorithm_passes)
            parts = dataclasses.replace(
                self._parts, engine=engine, logger=silent, position=DataloaderPosition()
            )
            assembly.build_fit_loop(parts, data_spec, schedules, Interruption()).run()

        def evaluate(evaluators: list[Evaluator]) -> None:
            silent = Logger(self.state)
            engine = Engine(self.state, silent, self._algorithm_passes)
            EvalLoop(
                state=self.state, engine=engine, logger=silent, precision=self._precision_policy()
            ).run(evaluators)

        saver = self._checkpoint_saver
        weights_only = saver is not None and saver.weights_only
        return dry_run(self.state, train, evaluate, weights_only, num_batches)

    def check_gradients(self, microbatch_size: int | None = None) -> GradientCheck:
        """Compare the gradients of the first batch, whole, with those of its microbatches.

        They are equal where the model's loss is a mean over samples, or over the tokens that the
        batch says count. ``check_gradients().require()`` raises where they are not. The
        constructor's ``check_gradients=True`` does so at the start of ``fit``.

        Args:
            microbatch_size: samples per microbatch; by default cuts of uneven size.
        """
        data_spec = self._require_train_data()
        with everything_put_back(self.state):
            batch = next(iter(data_spec.dataloader))
            if data_spec.batch_transforms is not None:
                batch = data_spec.batch_transforms(batch)
        source = BatchSource(data_spec, self._device, self._parts.weigh_by_tokens)
        model: ComposerModel = self.state.model
        return check_gradients(model, batch, source, self._device, microbatch_size)

    def close(self) -> None:
        """End the run: everything logged is delivered, callbacks and loggers are closed."""
        self.engine.close()

    # The parts of the two long methods above, in order of use.

    def _choose_precision(self, given: str | Precision | None) -> Precision:
        if given is None:
            is_gpu = self._device.torch_device.type == "cuda"
            given = Precision.AMP_FP16 if is_gpu else Precision.FP32
        precision = Precision(given)
        check_precision(precision, self._device.torch_device.type)
        return precision

    def _set_precision(self, precision: Precision) -> None:
        state = self.state
        if precision is Precision.AMP_FP8:
            convert_to_float8(state.model, state.precision_config)
        if state.scaler is None or precision is not state.precision:
            device_type = self._device.torch_device.type
            state.scaler = make_scaler(precision, device_type, state.precision_config)
        state.precision = precision

    def _make_evaluators(self, options: EvalOptions) -> list[Evaluator]:
        if options.dataloader is None:
            return []
        return options.evaluators(list(self.state.model.get_metrics(is_train=False)))

    def _set_evaluators(self, options: EvalOptions) -> None:
        self.state.evaluators = self._make_evaluators(options)
        self.state.eval_metrics = assembly.eval_metrics_of(self.state.model, self.state.evaluators)
        if options.is_idle:
            log.warning("eval_interval and eval_subset_num_batches need an eval_dataloader")

    def _set_train_data(self, options: TrainDataOptions) -> DataSpec | None:
        if options.dataloader is None:
            return None
        data_spec = options.data_spec()
        self.state.set_dataloader(data_spec.dataloader, options.label, options.num_batches)
        self.state.train_dataloader = data_spec.dataloader
        self._set_microbatch_size(data_spec)
        return data_spec

    def _replace_train_data(
        self, dataloader: Loader | None, label: str, num_batches: int | None, call: FitCall
    ) -> DataSpec:
        if dataloader is not None:
            known = () if self._data_spec is None else (self._data_spec, self._data_spec.dataloader)
            if not call.was_begun and known and all(dataloader is not each for each in known):
                # Other data: an epoch that was left in the middle is not gone on with in it.
                self.state.timestamp = self.state.timestamp.copy(
                    batch_in_epoch=0, sample_in_epoch=0, token_in_epoch=0
                )
                self.state.dataset_state["position"] = None
            every = -1 if num_batches is None else num_batches
            self._data_spec = self._set_train_data(TrainDataOptions(dataloader, label, every))
        elif num_batches is not None and self.state.dataloader is not None:
            self.state.dataloader_len = num_batches
        return self._require_train_data()

    def _set_microbatch_size(self, data_spec: DataSpec) -> None:
        state, given = self.state, self._microbatch_size
        check_microbatch_size(given)
        state.auto_microbatching = given == "auto"
        if not state.auto_microbatching:
            state.device_train_microbatch_size = assembly.fixed_microbatch_size(data_spec, given)
            return
        # A size that was found already, perhaps by the run that wrote the checkpoint, is kept.
        if state.device_train_microbatch_size is None:
            state.device_train_microbatch_size = assembly.fixed_microbatch_size(data_spec, None)
        # A rank may run out of memory while others average gradients already, and all would wait
        # for ever. So they average once all have said that theirs are there.
        self._plan.sync_strategy = DDPSyncStrategy.FORCED_SYNC

    def _set_schedulers(
        self, schedulers: SchedulersInput, ratio: float, every_batch: bool | None
    ) -> None:
        self._schedulers, self._ratio = schedulers, ratio
        self._steps_every_batch = steps_every_batch(schedulers, every_batch)
        self._schedules = None
        if self.state.max_duration is not None and self.state.dataloader is not None:
            self._compiled_schedules()

    def _compiled_schedules(self) -> Schedules:
        """Return the schedules, bound to optimizers as soon as data and duration are known."""
        if self._schedules is None:
            compiled = compile_schedulers(self._schedulers, self.state, self._ratio)
            self.state.schedulers = compiled
            self._schedules = Schedules(compiled, self._steps_every_batch)
        return self._schedules

    def _choose_checkpoint(
        self, options: LoadOptions, autoresume: bool, run_name: str | None
    ) -> LoadOptions:
        """Return what to load: with ``autoresume``, this run's newest checkpoint if it has one."""
        if autoresume:
            folder, latest, filename = assembly.check_autoresume(run_name, self._checkpoint_saver)
            resumed_from = find_latest(folder, latest, self.state.run_name, filename)
            if resumed_from is not None:
                options = LoadOptions.to_resume(resumed_from, options)
        self.state.load_path = options.path
        return options

    def _load(self, options: LoadOptions) -> None:
        self.engine.run_event(Event.BEFORE_LOAD)
        if options.path is not None:
            self._read_checkpoint(options, options.path)
        self._ledger = FitLedger(self.state, is_resumed=options.is_own)
        self.engine.run_event(Event.AFTER_LOAD)
        # Only now, because a checkpoint may have brought methods of its own.
        if self.state.algorithms and self.logger.destinations:
            self.logger.log_hyperparameters(self.explain().hyperparameters())

    def _read_checkpoint(self, options: LoadOptions, path: str) -> None:
        rng_states = load_checkpoint(
            path,
            self.state,
            self.logger,
            object_store=options.object_store,
            load_weights_only=options.weights_only,
            strict_model_weights=options.strict_model_weights,
            progress_bar=options.progress_bar,
            ignore_keys=options.ignore_keys,
            exclude_algorithms=options.exclude_algorithms,
            algorithm_passes=self.engine.algorithm_passes,
            trust=options.trust,
            verify=options.verify,
        )
        self._position.continue_from(rng_states)

    def _require_train_data(self) -> DataSpec:
        if self._data_spec is None:
            raise ConfigError("no train_dataloader: give it to the Trainer or to fit()")
        if not self.state.optimizers:
            raise ConfigError(
                "the model has no parameters that can be trained, so there is no optimizer"
            )
        return self._data_spec

    def _set_duration(
        self, duration: Time[Any] | None, ratio: float, call: FitCall | None = None
    ) -> None:
        state = self.state
        start = call.start if call is not None else None
        if duration is not None:
            more = scale_max_duration(duration, ratio)
            state.max_duration = (start or state.timestamp).get(more.unit) + more
        if state.max_duration is None:
            raise ConfigError("no duration: give max_duration to the Trainer or duration to fit()")
        # A call that was interrupted after its last batch still has to come to its end.
        if start is None and state.is_training_done:
            raise ConfigError(
                f"nothing left to train: max_duration={str(state.max_duration)!r} is reached at "
                f"{state.timestamp}. Give fit(duration=...) to train on, or reset_time=True to "
                "start again"
            )

    def _run_fit_loop(self, data_spec: DataSpec) -> None:
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s", self.explain())
        model = self.state.model
        if not model.training:
            model.train()
        schedules = self._compiled_schedules()
        schedules.refresh()
        loop = assembly.build_fit_loop(self._parts, data_spec, schedules, self._interruption)
        saver = self._checkpoint_saver
        saved = saved_when_stopped(self._interruption, saver, self.state, self.logger)
        with self._loggers_kept_informed(), self._interruption, saved:
            loop.run()
        for optimizer in self.state.optimizers:
            optimizer.zero_grad(set_to_none=True)

    @contextlib.contextmanager
    def _loggers_kept_informed(self) -> Iterator[None]:
        """Deliver what is logged, also after an error or Ctrl-C: what was measured is not lost.

        Nor is a checkpoint that is being written.
        """
        try:
            yield
        except BaseException:
            with contextlib.suppress(KeyboardInterrupt):
                self.logger.interrupt()
                if self._checkpoint_saver is not None:
                    self._checkpoint_saver.settle()
            raise
        self.logger.flush()

    def _precision_policy(self) -> PrecisionPolicy:
        state = self.state
        return PrecisionPolicy(state.precision, self._device.torch_device.type, state.scaler)

    def _eval_loop(self) -> EvalLoop:
        return EvalLoop(
            state=self.state,
            engine=self.engine,
            logger=self.logger,
            precision=self._precision_policy(),
        )
