"""Logs to MLflow: a server, or a database or folder on disk."""

from __future__ import annotations

import importlib
import logging
import re
import time
from collections.abc import Sequence
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from composer.core.logger import Logger
from composer.core.logger_destination import LoggerDestination
from composer.core.state import State
from composer.core.time import TimeUnit
from composer.distributed import comm
from composer.env import MLFLOW_EXPERIMENT_NAME
from composer.errors import ConfigError, DataError, StateError, unknown_name
from composer.loggers._images import to_arrays_and_masks, to_grey
from composer.loggers._mlflow_run import MLFlowRun
from composer.loggers._plain import number, plain
from composer.loggers._sender import Sender
from composer.loggers._tables import check_is_even
from composer.utils.import_helpers import import_extra

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["MLFlowLogger"]

log = logging.getLogger(__name__)

DEFAULT_EXPERIMENT = "my-mlflow-experiment"
CLOSE_TIMEOUT_S = 60.0
# What MLflow takes in one request.
_MAX_METRICS = 1000
_MAX_PARAMS = 100
_NOT_IN_NAMES = re.compile(r"[^\w\-. :/]")
# Adapters are saved as the models that they adapt.
_FLAVORS = {"transformers": "transformers", "peft": "transformers", "pytorch": "pytorch"}


class MLFlowLogger(LoggerDestination):
    """Logs metrics, hyperparameters, images, tables and models to MLflow.

    A run that is active already is used; otherwise one is made, or with ``resume`` found again, and
    is active until the trainer closes, so that ``mlflow.log_*`` in callbacks goes to it.

    Args:
        experiment_name: the experiment; ``MLFLOW_EXPERIMENT_NAME`` or ``my-mlflow-experiment`` by
            default. ``MLFLOW_EXPERIMENT_ID`` goes before it.
        run_name: the run's name; that of the Trainer by default. ``MLFLOW_RUN_ID`` names a run to
            go on in.
        tags: tags of the run.
        tracking_uri: where runs are kept; ``MLFLOW_TRACKING_URI`` or MLflow's choice by default.
        rank_zero_only: whether only rank 0 logs.
        flush_interval: after how many batches metrics are handed over.
        model_registry_prefix: what stands before the names of registered models, with a dot.
        model_registry_uri: where models are registered; by default, where runs are kept.
        synchronous: whether metrics are sent while training waits, not beside it.
        log_system_metrics: whether MLflow watches the machine.
        rename_metrics: name -> name in MLflow.
        ignore_metrics: globs of metrics that are left out.
        ignore_hyperparameters: globs of hyperparameters that are left out.
        run_group: a tag ``run_group``.
        resume: whether to go on in the newest run of this name, if there is one.
        logging_buffer_seconds: how long metrics are kept at most before they are handed over.
        log_duplicated_metric_every_n_steps: a metric that does not change is logged every so many
            steps only.

    Raises:
        ImportError: ``mlflow`` is not installed.
        ValueError: a ``flush_interval`` below 1.
    """

    def __init__(
        self,
        experiment_name: str | None = None,
        run_name: str | None = None,
        tags: dict[str, Any] | None = None,
        tracking_uri: str | None = None,
        rank_zero_only: bool = True,
        flush_interval: int = 10,
        model_registry_prefix: str = "",
        model_registry_uri: str | None = None,
        synchronous: bool = False,
        log_system_metrics: bool = True,
        rename_metrics: dict[str, str] | None = None,
        ignore_metrics: list[str] | None = None,
        ignore_hyperparameters: list[str] | None = None,
        run_group: str | None = None,
        resume: bool = False,
        logging_buffer_seconds: int | None = 10,
        log_duplicated_metric_every_n_steps: int = 100,
    ) -> None:
        self._mlflow: Any = import_extra("mlflow", "mlflow", "mlflow-skinny")
        if flush_interval < 1:
            raise ConfigError(f"flush_interval={flush_interval!r} must be 1 or more")
        self.experiment_name = experiment_name or MLFLOW_EXPERIMENT_NAME.get() or DEFAULT_EXPERIMENT
        self.run_name = run_name
        self.tags = dict(tags or {}) | ({"run_group": run_group} if run_group else {})
        self.tracking_uri = tracking_uri
        self.rank_zero_only = rank_zero_only
        self.flush_interval = flush_interval
        self.model_registry_prefix = model_registry_prefix
        self.model_registry_uri = model_registry_uri
        self.synchronous = synchronous
        self.log_system_metrics = log_system_metrics
        self.rename_metrics = dict(rename_metrics or {})
        self.ignore_metrics = list(ignore_metrics or [])
        self.ignore_hyperparameters = list(ignore_hyperparameters or [])
        self.resume = resume
        self.buffer_s = logging_buffer_seconds or 0
        self.repeat_every = log_duplicated_metric_every_n_steps
        self._enabled = not rank_zero_only or comm.get_global_rank() == 0
        self._client: Any = None
        self._run_id: str | None = None
        self._experiment_id: str | None = None
        self._run: MLFlowRun | None = None
        self._sender = Sender(self._send_now, "MLflow")
        self._metrics: list[Any] = []
        self._handed_over_s = time.monotonic()
        # Name -> (value, step) as logged last.
        self._last: dict[str, tuple[float, int]] = {}
        self._names: dict[str, str | None] = {}
        self._params: dict[str, str] = {}
        self._refused: set[str] = set()
        self._has_failed = False

    # What is logged.

    def log_hyperparameters(self, hyperparameters: dict[str, Any]) -> None:
        """Log hyperparameters as parameters.

        MLflow's parameters never change: a new value of one is kept as a tag of its name.
        """
        wanted = {
            _allowed(str(name)): str(plain(value))
            for name, value in hyperparameters.items()
            if not any(fnmatch(str(name), glob) for glob in self.ignore_hyperparameters)
        }
        if not self._enabled:
            return
        if self._run_id is None:
            self._params.update(wanted)
            return
        new = {name: value for name, value in wanted.items() if name not in self._params}
        changed = {k: v for k, v in wanted.items() if self._params.get(k, v) != v}
        self._params.update(new)
        self._send_params(new)
        for name, value in changed.items():
            self._client.set_tag(self._run_id, name, value)

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Keep numbers to be handed over; what is no number is refused, with a warning."""
        if self._run_id is None:
            return
        now_ms = int(time.time() * 1000)
        at = step or 0
        for key, logged in metrics.items():
            name = self._names[key] if key in self._names else self._choose_name(key)
            if name is None:
                continue
            value = number(logged)
            if value is None:
                self._refuse("metric", key, f"{type(logged).__name__} is no number")
            elif self._is_news(name, value, at):
                self._metrics.append(self._mlflow.entities.Metric(name, value, now_ms, at))
        if self.buffer_s and time.monotonic() - self._handed_over_s > self.buffer_s:
            self._hand_over()

    def log_table(
        self,
        columns: list[str],
        rows: list[list[Any]],
        name: str = "Table",
        step: int | None = None,
    ) -> None:
        """Log a table as a file ``<name>_<step>.json``. One with uneven rows is refused."""
        if self._run_id is None:
            return
        try:
            check_is_even(columns, rows)
        except DataError as error:
            self._refuse("table", name, str(error))
            return
        cells = {str(c): [plain(row[i]) for row in rows] for i, c in enumerate(columns)}
        file = f"{_allowed(name)}_{step}.json"
        self._client.log_table(self._run_id, data=cells, artifact_file=file)

    def log_images(
        self,
        images: np.ndarray | torch.Tensor | Sequence[np.ndarray | torch.Tensor],
        name: str = "image",
        channels_last: bool = False,
        step: int | None = None,
        masks: dict[str, Any] | None = None,
        mask_class_labels: dict[int, str] | None = None,
        use_table: bool = True,
    ) -> None:
        """Log images, and their masks as images of their own.

        Images of a wrong shape are refused, with a warning.
        """
        del mask_class_labels, use_table
        if self._run_id is None:
            return
        try:
            arrays, drawn = to_arrays_and_masks(images, channels_last, masks)
        except DataError as error:
            self._refuse("images", name, str(error))
            return
        for index, array in enumerate(arrays):
            self._log_image(array, f"{name}_{index}", step)
            for key, each in drawn.items():
                self._log_image(to_grey(each[index]), f"{name}_{index}_{key}", step)

    # Models.

    def save_model(self, flavor: str, **kwargs: Any) -> None:
        """Write a model to disk in MLflow's format.

        Args:
            flavor: ``'transformers'``, ``'peft'`` or ``'pytorch'``.
            kwargs: arguments of MLflow's ``save_model`` of that flavor.

        Raises:
            ValueError: another flavor.
        """
        self._flavor(flavor).save_model(**kwargs)

    def log_model(self, flavor: str, **kwargs: Any) -> Any:
        """Keep a model with the run.

        Args:
            flavor: ``'transformers'``, ``'peft'`` or ``'pytorch'``.
            kwargs: arguments of MLflow's ``log_model`` of that flavor.

        Raises:
            ValueError: another flavor.
        """
        return self._flavor(flavor).log_model(**kwargs)

    def register_model(
        self,
        model_uri: str,
        name: str,
        await_registration_for: int = 300,
        tags: dict[str, Any] | None = None,
    ) -> Any:
        """Register a model that was kept before.

        Args:
            model_uri: where it is, such as ``'runs:/<run id>/model'`` or a folder.
            name: the registered model's name, behind ``model_registry_prefix``.
            await_registration_for: seconds to wait for it to be ready.
            tags: tags of the model version.

        Returns:
            MLflow's model version.
        """
        return self._mlflow.register_model(
            model_uri=model_uri,
            name=self._registered_name(name),
            await_registration_for=await_registration_for,
            tags=tags,
        )

    def register_model_with_run_id(
        self,
        model_uri: str,
        name: str,
        await_creation_for: int = 300,
        tags: dict[str, Any] | None = None,
    ) -> Any:
        """Register a model as made by this logger's run; arguments as in :meth:`register_model`.

        Raises:
            RuntimeError: there is no run.
        """
        if self._run_id is None:
            raise StateError("there is no run yet: the Trainer opens it")
        full_name = self._registered_name(name)
        errors = self._mlflow.exceptions
        try:
            self._client.create_registered_model(full_name)
        except errors.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return self._client.create_model_version(
            name=full_name,
            source=model_uri,
            run_id=self._run_id,
            tags=tags,
            await_creation_for=await_creation_for,
        )

    def rename(self, key: str) -> str:
        """Return a metric's name in MLflow."""
        return self.rename_metrics.get(key, key)

    # When.

    def init(self, state: State, logger: Logger) -> None:
        """Open the run."""
        del logger
        if self._enabled:
            self._open(state.run_name)
        ids = comm.all_gather_object((self._experiment_id, self._run_id))
        if self._run_id is None and not self._enabled:
            # For those who ask on other ranks; nothing is logged there.
            self._experiment_id = ids[0][0]

    def after_load(self, state: State, logger: Logger) -> None:
        """Log which run this is, for whoever looks at another logger."""
        del state
        if self._run_id is not None:
            logger.log_hyperparameters(
                {"mlflow_experiment_id": self._experiment_id, "mlflow_run_id": self._run_id}
            )

    def fit_start(self, state: State, logger: Logger) -> None:
        """Forget an error that the user has got over."""
        del state, logger
        self._has_failed = False

    def batch_end(self, state: State, logger: Logger) -> None:
        """Hand over metrics, where the interval has passed."""
        del logger
        if state.timestamp.count(TimeUnit.BATCH) % self.flush_interval == 0:
            self._hand_over()

    def eval_end(self, state: State, logger: Logger) -> None:
        """Hand over metrics."""
        del state
        logger.flush()
        self._hand_over()

    def fit_end(self, state: State, logger: Logger) -> None:
        """Hand over metrics."""
        del state
        logger.flush()
        self._hand_over()

    def interrupted(self) -> None:
        """Hand over metrics; unless training goes on, the run counts as failed."""
        self._has_failed = True
        self._hand_over()

    def post_close(self) -> None:
        """Send what is left and end the run. A server that does not answer is not waited for."""
        run, self._run = self._run, None
        if run is None:
            return
        self._hand_over()
        self._run_id = None
        if self._sender.close(CLOSE_TIMEOUT_S):
            run.end("FAILED" if self._has_failed else "FINISHED")
        else:
            run.give_up()

    # How.

    def _open(self, trainer_run_name: str) -> None:
        mlflow = self._mlflow
        if self.tracking_uri is not None:
            mlflow.set_tracking_uri(self.tracking_uri)
        if self.model_registry_uri is not None:
            mlflow.set_registry_uri(self.model_registry_uri)
        self._client = mlflow.MlflowClient(self.tracking_uri)
        name = self.run_name or trainer_run_name
        if not self.rank_zero_only:
            name += f"-rank{comm.get_global_rank()}"
        self._run = MLFlowRun(mlflow, self._client)
        opened = self._run.open(
            self.experiment_name, name, self.tags, self.resume, self.log_system_metrics
        )
        self._run_id = opened.info.run_id
        self._experiment_id = opened.info.experiment_id
        params, self._params = self._params, dict(opened.data.params)
        self.log_hyperparameters(params)

    def _choose_name(self, key: str) -> str | None:
        """Return a metric's name, once for all its values; ``None`` if it is left out."""
        is_ignored = any(fnmatch(key, glob) for glob in self.ignore_metrics)
        self._names[key] = None if is_ignored else _allowed(self.rename(key))
        return self._names[key]

    def _is_news(self, name: str, value: float, step: int) -> bool:
        """Return whether a value is to be logged: it is another one, or long ago."""
        last = self._last.get(name)
        if last is not None and last[0] == value and step < last[1] + self.repeat_every:
            return False
        self._last[name] = (value, step)
        return True

    def _hand_over(self) -> None:
        self._handed_over_s = time.monotonic()
        if not self._metrics:
            return
        metrics, self._metrics = self._metrics, []
        for start in range(0, len(metrics), _MAX_METRICS):
            part = (self._run_id, metrics[start : start + _MAX_METRICS])
            if self.synchronous:
                self._send_now(part)
            else:
                self._sender.put(part)

    def _send_now(self, part: tuple[str | None, list[Any]]) -> None:
        run_id, metrics = part
        self._client.log_batch(run_id, metrics=metrics, synchronous=True)

    def _send_params(self, params: dict[str, str]) -> None:
        entities = [self._mlflow.entities.Param(name, value) for name, value in params.items()]
        for start in range(0, len(entities), _MAX_PARAMS):
            part = entities[start : start + _MAX_PARAMS]
            self._client.log_batch(self._run_id, params=part, synchronous=True)

    def _log_image(self, image: np.ndarray[Any, Any], name: str, step: int | None) -> None:
        shown = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
        key = _allowed(name).replace(":", "_")
        self._client.log_image(self._run_id, shown, key=key, step=step or 0)

    def _flavor(self, flavor: str) -> Any:
        if flavor not in _FLAVORS:
            raise unknown_name("flavor", flavor, _FLAVORS)
        return importlib.import_module(f"mlflow.{_FLAVORS[flavor]}")

    def _registered_name(self, name: str) -> str:
        prefix = self.model_registry_prefix
        return f"{prefix}.{name}" if prefix else name

    def _refuse(self, kind: str, name: str, reason: str) -> None:
        if name not in self._refused:
            self._refused.add(name)
            log.warning("the %s %r is not logged to MLflow: %s", kind, name, reason)


def _allowed(name: str) -> str:
    """Return a name that MLflow allows."""
    allowed = _NOT_IN_NAMES.sub("_", name).strip("/. ")[:250]
    if allowed != name:
        log.warning("MLflow does not allow the name %.60r; it is %.60r there", name, allowed)
    return allowed or "_"
