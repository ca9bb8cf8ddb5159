"""Everything a run knows about itself, in one place with flat names.

Plug-ins read it, methods change the fields they name in ``writes``, the loops move the timestamp
and set the batch. It holds no file format (see :mod:`composer.core.state_io`) and no parallelism.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer

from composer.core.precision import Precision
from composer.core.serializable import Serializable
from composer.core.state_io import (
    load_model_state,
    load_optimizer_state,
    load_state,
    optimizers_to_dict,
    state_to_dict,
)
from composer.core.time import Time, Timestamp, TimeUnit, ensure_time
from composer.distributed import comm
from composer.errors import ConfigError
from composer.utils.batch_helpers import batch_get, batch_set
from composer.utils.iter_helpers import ensure_tuple

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import LRScheduler

    from composer.core.algorithm import Algorithm
    from composer.core.callback import Callback
    from composer.core.evaluator import Evaluator
    from composer.core.logger import Logger
    from composer.core.passes import AlgorithmPass
    from composer.core.tracer import Tracer
    from composer.core.weight_view import WeightView
    from composer.devices.device import Device

__all__ = ["State"]


class State(Serializable):
    """The state of a run.

    Args:
        model: the model, a :class:`~composer.models.base.ComposerModel`.
        rank_zero_seed: the seed of rank 0; rank ``r`` uses ``rank_zero_seed + r``.
        run_name: the run's name.
        device: where the model lives.
        max_duration: when training ends; a bare number counts epochs.
        device_train_microbatch_size: samples per forward pass on each device.
        auto_microbatching: whether that size is found by trying.
        train_dataloader: what is trained on.
        evaluators: what is evaluated.
        dataloader: the loader in use now (training, evaluation or prediction).
        dataloader_label: its label; required with a loader.
        dataloader_len: batches per epoch of it; -1 asks the loader.
        dataset_state: positions of data sets restored from a checkpoint.
        dataset_resumption: which data sets have been restored.
        precision: number format.
        precision_config: options of ``amp_fp8``.
        optimizers: one optimizer, several, or several by name.
        scaler: gradient scaler of ``amp_fp16``.
        save_metrics: whether checkpoints keep metric objects.
        algorithms: training methods.
        callbacks: callbacks, logger destinations included.
        parallelism_config: how the model is spread over devices.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        rank_zero_seed: int,
        run_name: str,
        device: Device,
        max_duration: str | int | Time[Any] | None = None,
        device_train_microbatch_size: int | float | None = None,
        auto_microbatching: bool = False,
        train_dataloader: Iterable[Any] | None = None,
        evaluators: Evaluator | Sequence[Evaluator] | None = None,
        dataloader: Iterable[Any] | None = None,
        dataloader_label: str | None = None,
        dataloader_len: int | Time[int] = -1,
        dataset_state: dict[str, Any] | None = None,
        dataset_resumption: dict[str, Any] | None = None,
        precision: str | Precision = Precision.FP32,
        precision_config: dict[str, Any] | None = None,
        optimizers: Optimizer | Sequence[Optimizer] | Mapping[str, Optimizer] | None = None,
        scaler: torch.amp.GradScaler | None = None,
        save_metrics: bool = False,
        algorithms: Algorithm | Sequence[Algorithm] | None = None,
        callbacks: Callback | Sequence[Callback] | None = None,
        parallelism_config: Any = None,
    ) -> None:
        # A ComposerModel; typed loosely, because that class stands on a floor above.
        self.model: Any = model
        self.rank_zero_seed = rank_zero_seed
        self.run_name = run_name
        self.device = device
        self.parallelism_config = parallelism_config
        self.device_train_microbatch_size = device_train_microbatch_size
        self.auto_microbatching = auto_microbatching
        self.precision = precision
        self.precision_config = precision_config
        self.scaler = scaler
        self.save_metrics = save_metrics

        self.timestamp = Timestamp()
        self.previous_timestamp: Timestamp | None = None
        self.eval_timestamp = Timestamp()
        self.predict_timestamp = Timestamp()
        self.max_duration = max_duration

        self.train_dataloader = train_dataloader
        self.evaluators = evaluators
        self.dataset_state: dict[str, Any] = (
            dataset_state if dataset_state is not None else {"train": None, "eval": {}}
        )
        self.dataset_resumption: dict[str, Any] = (
            dataset_resumption if dataset_resumption is not None else {"train": False, "eval": {}}
        )
        self._dataloader: Iterable[Any] | None = None
        self._dataloader_label: str | None = None
        # What no counter tells of how far the run is: the calls of fit it has begun, and the
        # evaluators that were running when it was stopped.
        self.progress: dict[str, Any] = {}
        self._dataloader_len: int | None = None
        self.set_dataloader(dataloader, dataloader_label, dataloader_len)

        self.optimizers = optimizers
        self.schedulers = None
        self.algorithms = algorithms
        self.callbacks = callbacks
        self.profiler: Tracer | None = None
        self.weight_view: WeightView | None = None

        # Optimizer steps for which a batch is cut; methods set it on BATCH_START.
        self.steps_per_batch = 1
        # Batches that epochs had less than the loader has; a method that leaves some out counts
        # them, so that schedules of the learning rate end with the run.
        self.batches_left_out = 0
        self.batch: Any = None
        self.outputs: Any = None
        self.loss: Any = None
        self.total_loss_dict: dict[str, torch.Tensor] = {}
        self.metric_outputs: dict[str, Any] = {}
        self.train_metrics: dict[str, Any] | None = None
        self.eval_metrics: dict[str, dict[str, Any]] = {}
        self.train_metric_values: dict[str, Any] = {}
        self.eval_metric_values: dict[str, Any] = {}
        # Known before the checkpoint is loaded, to those who must not begin anew then.
        self.load_path: str | None = None
        self.device_mesh: Any = None

    # Training time.

    @property
    def max_duration(self) -> Time[Any] | None:
        """When training ends; ``None`` until it is known."""
        return self._max_duration

    @max_duration.setter
    def max_duration(self, max_duration: str | int | Time[Any] | None) -> None:
        if max_duration is None:
            self._max_duration: Time[Any] | None = None
            return
        duration = ensure_time(max_duration, TimeUnit.EPOCH)
        if duration.unit in (TimeUnit.SECOND, TimeUnit.DURATION):
            raise ConfigError(
                f"max_duration={max_duration!r} is in {duration.unit.value!r}; count it in epochs "
                "('ep'), batches ('ba'), samples ('sp'), tokens ('tok') or iterations ('iter')"
            )
        self._max_duration = duration

    @property
    def is_training_done(self) -> bool:
        """Whether ``max_duration`` is reached."""
        limit = self._max_duration
        return limit is None or self.timestamp.count(limit.unit) >= limit.value

    def get_elapsed_duration(self) -> Time[float] | None:
        """Return the share of ``max_duration`` that is done, as ``dur``; ``None`` without one.

        A ``max_duration`` in epochs moves at epoch ends only.
        """
        limit = self._max_duration
        if limit is None:
            return None
        # Training that was stopped before its first batch has a limit of 0, and has reached it.
        share = self.timestamp.count(limit.unit) / limit.value if limit.value else 1.0
        return Time(share, TimeUnit.DURATION)

    def stop_training(self) -> None:
        """End training after the current batch."""
        limit = self._max_duration
        unit = TimeUnit.BATCH if limit is None or limit.unit is TimeUnit.EPOCH else limit.unit
        self.max_duration = self.timestamp.get(unit)

    @property
    def timer(self) -> Timestamp:
        """The timestamp, under its older name."""
        return self.timestamp

    @property
    def seed(self) -> int:
        """The seed of this rank."""
        return self.rank_zero_seed + comm.get_global_rank()

    # Data.

    @property
    def train_dataloader(self) -> Iterable[Any] | None:
        """What is trained on."""
        return self._train_dataloader

    @train_dataloader.setter
    def train_dataloader(self, dataloader: Iterable[Any] | None) -> None:
        self._train_dataloader = dataloader

    @property
    def evaluators(self) -> list[Evaluator]:
        """What is evaluated."""
        return self._evaluators

    @evaluators.setter
    def evaluators(self, evaluators: Evaluator | Sequence[Evaluator] | None) -> None:
        self._evaluators: list[Evaluator] = list(ensure_tuple(evaluators))

    @property
    def dataloader(self) -> Iterable[Any] | None:
        """The loader in use now."""
        return self._dataloader

    @property
    def dataloader_label(self) -> str | None:
        """The label of the loader in use now."""
        return self._dataloader_label

    @property
    def dataloader_len(self) -> Time[int] | None:
        """Batches per epoch of the loader in use; ``None`` where it has no length."""
        return None if self._dataloader_len is None else Time(self._dataloader_len, TimeUnit.BATCH)

    @dataloader_len.setter
    def dataloader_len(self, num_batches: int | Time[int]) -> None:
        if self._dataloader is None:
            raise ConfigError("dataloader_len cannot be set without a dataloader")
        wanted, actual = int(num_batches), _length(self._dataloader)
        if wanted < 0:
            self._dataloader_len = actual
        elif actual is not None and wanted > actual:
            warnings.warn(
                f"{wanted} batches of {self._dataloader_label!r} were asked for, but there are "
                f"only {actual}; using {actual}",
                stacklevel=2,
            )
            self._dataloader_len = actual
        else:
            self._dataloader_len = wanted

    def set_dataloader(
        self,
        dataloader: Iterable[Any] | None = None,
        dataloader_label: str | None = None,
        dataloader_len: int | Time[int] = -1,
    ) -> None:
        """Make a loader the one in use.

        Args:
            dataloader: the loader; ``None`` for no loader.
            dataloader_label: its label, given exactly when there is a loader.
            dataloader_len: batches per epoch; -1 asks the loader.

        Raises:
            ValueError: a loader without a label, or the other way round.
        """
        if (dataloader is None) != (dataloader_label is None):
            raise ConfigError(
                "a dataloader and its label belong together, got "
                f"dataloader={dataloader!r}, dataloader_label={dataloader_label!r}"
            )
        self._dataloader = dataloader
        self._dataloader_label = dataloader_label
        self._dataloader_len = None
        if dataloader is not None:
            self.dataloader_len = dataloader_len

    def batch_get_item(self, key: str | int | Callable[..., Any] | Any) -> Any:
        """Return the part of the batch under ``key``.

        Args:
            key: an index, a name, a callable, or a (get, set) pair of callables.
        """
        return batch_get(self.batch, key)

    def batch_set_item(self, key: str | int | Callable[..., Any] | Any, value: Any) -> None:
        """Replace the part of the batch under ``key``; keys as in :meth:`batch_get_item`."""
        self.batch = batch_set(self.batch, key, value=value)

    @property
    def batch_pair(self) -> tuple[Any, Any]:
        """The batch as (inputs, targets), under its older name.

        Raises:
            TypeError: the batch is not a pair.
        """
        if not isinstance(self.batch, Sequence) or len(self.batch) != 2:
            raise TypeError(
                f"state.batch is no pair but a {type(self.batch).__name__}; use state.batch"
            )
        inputs, targets = self.batch
        return inputs, targets

    # What trains and what watches.

    @property
    def optimizers(self) -> list[Optimizer]:
        """The optimizers, in the order given."""
        return list(self.named_optimizers.values())

    @optimizers.setter
    def optimizers(
        self, optimizers: Optimizer | Sequence[Optimizer] | Mapping[str, Optimizer] | None
    ) -> None:
        if isinstance(optimizers, Mapping):
            self.named_optimizers: dict[str, Optimizer] = dict(optimizers)
            return
        self.named_optimizers = {}
        for optimizer in ensure_tuple(optimizers):
            self.named_optimizers[_free_name(type(optimizer).__name__, self.named_optimizers)] = (
                optimizer
            )

    @property
    def schedulers(self) -> list[LRScheduler]:
        """The compiled learning rate schedules."""
        return self._schedulers

    @schedulers.setter
    def schedulers(self, schedulers: LRScheduler | Sequence[LRScheduler] | None) -> None:
        self._schedulers: list[LRScheduler] = list(ensure_tuple(schedulers))

    @property
    def algorithms(self) -> list[Algorithm]:
        """The training methods, in the user's order."""
        return self._algorithms

    @algorithms.setter
    def algorithms(self, algorithms: Algorithm | Sequence[Algorithm] | None) -> None:
        self._algorithms: list[Algorithm] = list(ensure_tuple(algorithms))

    @property
    def callbacks(self) -> list[Callback]:
        """The callbacks, logger destinations first."""
        return self._callbacks

    @callbacks.setter
    def callbacks(self, callbacks: Callback | Sequence[Callback] | None) -> None:
        self._callbacks: list[Callback] = list(ensure_tuple(callbacks))

    @property
    def precision(self) -> Precision:
        """The number format of the forward and backward pass."""
        return self._precision

    @precision.setter
    def precision(self, precision: str | Precision) -> None:
        self._precision = Precision(precision)

    # How the model is spread; sharding fills these in.

    @property
    def is_model_ddp(self) -> bool:
        """Whether :attr:`model` is wrapped; never, the wrapper is the trainer's business."""
        return False

    @property
    def fsdp_config(self) -> Any:
        """The sharding options, where the model is sharded."""
        return getattr(self.parallelism_config, "fsdp", None)

    @property
    def fsdp_enabled(self) -> bool:
        """Whether the model is sharded."""
        return self.fsdp_config is not None

    @property
    def fsdp_config_version(self) -> int:
        """Which sharding is used: 0 for none, 2 for ``fully_shard``, the only one there is."""
        return 2 if self.fsdp_enabled else 0

    @property
    def fsdp_state_dict_type(self) -> str | None:
        """How checkpoints keep a sharded model: ``'full'`` or ``'sharded'``; else ``None``."""
        return getattr(self.fsdp_config, "state_dict_type", None)

    @property
    def fsdp_sharded_state_dict_enabled(self) -> bool:
        """Whether each rank saves its own part of the model."""
        return self.fsdp_state_dict_type == "sharded"

    @property
    def load_monolith_rank0_only(self) -> bool:
        """Whether only rank 0 reads a single-file checkpoint of a sharded model."""
        return bool(getattr(self.fsdp_config, "load_monolith_rank0_only", False))

    @property
    def tp_config(self) -> Any:
        """The tensor parallel options, where the model is tensor parallel."""
        return getattr(self.parallelism_config, "tp", None)

    # Checkpoints.

    def state_dict(self) -> dict[str, Any]:
        """Return everything a checkpoint keeps; see :mod:`composer.core.state_io`."""
        return state_to_dict(self)

    def get_model_state_dict(self) -> dict[str, Any]:
        """Return the model's parameters and buffers, by name."""
        return self.model.state_dict()

    def get_optim_state_dict(self) -> dict[str, Any]:
        """Return the optimizers' states, by the optimizer's name and the parameters' names."""
        return optimizers_to_dict(self)

    def load_model_state(
        self,
        state_dict: dict[str, Any],
        logger: Logger,
        strict: bool,
        exclude_algorithms: list[str] | None = None,
        algorithm_passes: list[AlgorithmPass] | None = None,
    ) -> None:
        """Take over only the weights of what :meth:`state_dict` returned.

        Arguments as in :meth:`load_state_dict`.
        """
        load_model_state(self, state_dict, logger, strict, exclude_algorithms, algorithm_passes)

    def load_optim_state(self, state_dict: dict[str, Any], strict: bool = True) -> None:
        """Take over only the optimizers' states of what :meth:`state_dict` returned.

        Args:
            state_dict: the dict.
            strict: whether an optimizer without a state in the dict is refused.

        Raises:
            ValueError: ``strict`` and no state for an optimizer.
        """
        missing = self.named_optimizers.keys() - state_dict.get("optimizers", {}).keys()
        if strict and missing:
            raise ConfigError(f"the dict has no state of the optimizers {sorted(missing)}")
        load_optimizer_state(self, state_dict)

    def load_state_dict(  # pyright: ignore[reportIncompatibleMethodOverride] - Composer's own form
        self,
        state: dict[str, Any],
        logger: Logger,
        strict: bool = False,
        exclude_algorithms: list[str] | None = None,
        algorithm_passes: list[AlgorithmPass] | None = None,
    ) -> None:
        """Take over what :meth:`state_dict` returned.

        Args:
            state: the dict; it may lack parts.
            logger: given to methods that are added and applied.
            strict: whether the model's names must match exactly.
            exclude_algorithms: methods of the dict that must not be added.
            algorithm_passes: the order of methods, to see whether one can still be added.
        """
        load_state(self, state, logger, strict, exclude_algorithms, algorithm_passes)


def _length(dataloader: Iterable[Any]) -> int | None:
    try:
        return len(dataloader)  # pyright: ignore[reportArgumentType]
    except (TypeError, NotImplementedError):
        return None


def _free_name(name: str, taken: Mapping[str, Any]) -> str:
    """Return ``name``, with a number behind it where it is taken."""
    if name not in taken:
        return name
    number = 1
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"
