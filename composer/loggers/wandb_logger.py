"""Logs to Weights & Biases, or to any server that speaks its protocol.

The client is ``wandb`` itself: ``WANDB_BASE_URL`` names another server, and
``WANDB_MODE=offline`` does without one.
"""

from __future__ import annotations

import logging
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from composer.core.logger import Logger
from composer.core.logger_destination import LoggerDestination
from composer.core.state import State
from composer.distributed import comm
from composer.errors import DataError
from composer.loggers._plain import plain
from composer.loggers._rows import Rows
from composer.loggers._wandb_files import fetch_artifact, make_artifact
from composer.loggers._wandb_media import to_images, to_table
from composer.loggers._wandb_run import WandBRun, import_wandb

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["WandBLogger"]

log = logging.getLogger(__name__)

# How long the end of a run waits for a server that does not answer. Files take their time.
FINISH_TIMEOUT_S = 300.0
FINISH_TIMEOUT_WITH_FILES_S = 3600.0


class WandBLogger(LoggerDestination):
    """Logs metrics, hyperparameters, images, tables and files to Weights & Biases.

    There is one ``run.log`` a step, for all that the step produced. What a callback logs by itself
    with ``wandb.log`` stands in the same rows; a callback that ends the run does not end it for
    this logger. Training never waits for the server: without one, the run is written to disk, and
    a warning says how to send it later.

    The run's id is kept in checkpoints. A resumed run goes on in the same run of W&B, rewound to
    the checkpoint's step, so that no step is there twice. ``init_kwargs={"resume": "never"}``
    starts a new run instead, and an ``id`` of your own goes before the checkpoint's.

    Args:
        project: the project; W&B's own choice by default.
        group: the group of the run.
        name: the run's name; that of the Trainer by default.
        entity: the user or team.
        tags: labels of the run.
        log_artifacts: whether files, such as checkpoints, are kept as artifacts.
        rank_zero_only: whether only rank 0 logs. If not, each rank has a run of its own, in a
            group of the run's name, and its files are kept, too.
        init_kwargs: more arguments of ``wandb.init``, such as ``notes``, ``config`` or ``mode``.

    Attributes:
        run_dir: the folder with the run's files; ``None`` before there is a run.
        run_url: the run's page; ``None`` without a server.
        entity: the user or team, as soon as it is known.
        project: the project, as soon as it is known.

    Raises:
        ImportError: ``wandb`` is not installed.
    """

    def __init__(
        self,
        project: str | None = None,
        group: str | None = None,
        name: str | None = None,
        entity: str | None = None,
        tags: Sequence[str] | None = None,
        log_artifacts: bool = False,
        rank_zero_only: bool = True,
        init_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self._wandb = import_wandb()
        given = {
            "project": project,
            "group": group,
            "name": name,
            "entity": entity,
            "tags": None if tags is None else list(tags),
        }
        self._init_kwargs = dict(init_kwargs or {})
        self._init_kwargs.update({key: v for key, v in given.items() if v is not None})
        self.project: str | None = self._init_kwargs.get("project")
        self.entity: str | None = self._init_kwargs.get("entity")
        self.log_artifacts = log_artifacts
        self.rank_zero_only = rank_zero_only
        self.run_dir: str | None = None
        self.run_url: str | None = None
        self._enabled = not rank_zero_only or comm.get_global_rank() == 0
        if log_artifacts and rank_zero_only and comm.get_world_size() > 1:
            log.warning(
                "log_artifacts=True keeps the files of rank 0 alone. If checkpoints have parts on "
                "other ranks, pass rank_zero_only=False."
            )
        self._state: State | None = None
        self._logger: Logger | None = None
        self._run: WandBRun | None = None
        self._rows = Rows(self._send)
        self._early: list[tuple[dict[str, Any], int | None]] = []
        self._traces: dict[str, Any] = {}
        self._config: dict[str, Any] = {}
        # The id of each rank's run.
        self._run_ids: list[str | None] = []
        self._saved: dict[str, Any] | None = None
        self._has_failed = False
        self._is_closed = False

    # What is logged.

    def log_hyperparameters(self, hyperparameters: dict[str, Any]) -> None:
        """Put hyperparameters into the run's config. A value may change."""
        if not self._takes_values:
            return
        values = {str(name): plain(value) for name, value in hyperparameters.items()}
        if self._run is None:
            self._config.update(values)
        else:
            self._run.use(lambda run: run.config.update(values, allow_val_change=True))

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Add values to the row of their step."""
        if self._run is not None:
            if self._traces:
                metrics, self._traces = {**self._traces, **metrics}, {}
            self._rows.add(metrics, self._batch() if step is None else step)
        elif self._takes_values:
            self._early.append((metrics, step))

    def log_traces(self, traces: dict[str, Any]) -> None:
        """Add which methods ran to the next row.

        They come at once and metrics a little later: a row of their own step would be closed to
        the metrics of that step.
        """
        if self._takes_values:
            self._traces.update(traces)

    def log_table(
        self,
        columns: list[str],
        rows: list[list[Any]],
        name: str = "Table",
        step: int | None = None,
    ) -> None:
        """Log a ``wandb.Table``. One with uneven rows is refused, with a warning."""
        if not self._takes_values:
            return
        try:
            table = to_table(self._wandb, columns, rows)
        except (DataError, TypeError, ValueError, self._wandb.Error) as error:
            log.warning("the table %r is not logged to W&B: %s", name, error)
            return
        self.log_metrics({name: table}, step)

    def log_images(
        self,
        images: np.ndarray | torch.Tensor | Sequence[np.ndarray | torch.Tensor],
        name: str = "Images",
        channels_last: bool = False,
        step: int | None = None,
        masks: dict[str, Any] | None = None,
        mask_class_labels: dict[int, str] | None = None,
        use_table: bool = False,
    ) -> None:
        """Log images with their masks, side by side or as a table of the name ``<name> Table``.

        Images of a wrong shape are refused, with a warning.
        """
        if not self._takes_values:
            return
        try:
            drawn = to_images(self._wandb, images, channels_last, masks, mask_class_labels)
        except (DataError, TypeError, ValueError, self._wandb.Error) as error:
            log.warning("the images %r are not logged to W&B: %s", name, error)
            return
        if use_table:
            table = to_table(self._wandb, ["Image"], [[image] for image in drawn])
            self.log_metrics({f"{name} Table": table}, step)
        else:
            self.log_metrics({name: drawn}, step)

    # Files.

    def can_upload_files(self) -> bool:
        """Return whether files are kept as artifacts."""
        return self._enabled and self.log_artifacts

    def upload_file(
        self,
        state: State,
        remote_file_name: str,
        file_path: pathlib.Path,
        *,
        overwrite: bool,
    ) -> None:
        """Keep a file as an artifact of its name.

        The artifact's type is the file's ending, ``model`` for checkpoints; the run's counters are
        its metadata, ``latest`` and ``ep<epoch>-ba<batch>`` its aliases. Artifacts have versions,
        so that nothing is ever overwritten.
        """
        del overwrite
        if not (self.can_upload_files() and self._run is not None):
            return
        artifact, aliases = make_artifact(self._wandb, state.timestamp, remote_file_name, file_path)
        self._run.use(lambda run: run.log_artifact(artifact, aliases=aliases))

    def download_file(
        self,
        remote_file_name: str,
        destination: str,
        overwrite: bool = False,
        progress_bar: bool = True,
    ) -> None:
        """Fetch the file of an artifact.

        Args:
            remote_file_name: the artifact, as ``name``, ``name:alias`` or
                ``entity/project/name:alias``; ``latest`` is the default alias.
            destination: local path to write.
            overwrite: whether an existing local file may be replaced.
            progress_bar: not used: W&B shows its own.

        Raises:
            FileNotFoundError: there is no such artifact.
            FileExistsError: the local file exists.
            RuntimeError: the artifact holds not one file but several, or none.
        """
        del progress_bar
        if pathlib.Path(destination).exists() and not overwrite:
            raise FileExistsError(f"{destination!r} exists; pass overwrite=True to replace it")
        fetch_artifact(self._wandb, remote_file_name, self.entity, self.project, destination)

    # When.

    def init(self, state: State, logger: Logger) -> None:
        """Open the run, unless a checkpoint is to be loaded: that may name the run to go on in."""
        self._state, self._logger = state, logger
        self._is_closed = False
        if state.load_path is None:
            self._open()

    def after_load(self, state: State, logger: Logger) -> None:
        """Open the run that the checkpoint names, or a new one."""
        del state, logger
        if not self._run_ids:
            self._open()

    def fit_start(self, state: State, logger: Logger) -> None:
        """Forget an error that the user has got over."""
        del state, logger
        self._has_failed = False

    def fit_end(self, state: State, logger: Logger) -> None:
        """Send what was logged."""
        del state, logger
        self._deliver()

    def eval_standalone_end(self, state: State, logger: Logger) -> None:
        """Send what was logged."""
        del state, logger
        self._deliver()

    def predict_end(self, state: State, logger: Logger) -> None:
        """Send what was logged."""
        del state, logger
        self._deliver()

    def interrupted(self) -> None:
        """Send what was logged; unless training goes on, the run counts as failed."""
        self._has_failed = True
        self._rows.deliver()

    def post_close(self) -> None:
        """Send what is left and end the run. A server that does not answer is not waited for long.

        The run counts as failed if an error ended the training.
        """
        if self._traces:
            self.log_metrics({})
        self._rows.deliver()
        run, self._run = self._run, None
        self._is_closed = True
        if run is not None:
            run.finish(int(self._has_failed or sys.exc_info()[0] is not None))

    # Checkpoints.

    def state_dict(self) -> dict[str, Any]:
        """Return the run's id, and the row of the step that is not over yet."""
        if self._run is None:
            return {}
        if self._logger is not None:
            self._logger.flush()
        return {"run_ids": self._run_ids, **self._rows.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Note which run to go on in, if none is open yet."""
        self._saved = state if self._run is None else None

    # How.

    @property
    def _takes_values(self) -> bool:
        return self._enabled and not self._is_closed

    def _batch(self) -> int:
        return 0 if self._state is None else self._state.timestamp.batch.value

    def _send(self, row: dict[str, Any], step: int) -> None:
        if self._run is not None:
            self._run.log(row, step)

    def _deliver(self) -> None:
        if self._logger is not None:
            self._logger.flush()
        self._rows.deliver()

    def _open(self) -> None:
        """Open the run and let all ranks know it; all ranks call this."""
        if self._enabled:
            run = WandBRun(self._options(), self._deliver, self._batch)
            if not self._open_saved(run):
                run.open()
            self._run = run
            self.run_dir, self.run_url = run.run.dir, run.run.url
            self.entity, self.project = run.run.entity, run.run.project
            if self._config:
                self.log_hyperparameters(self._config)
        found = None if self._run is None else self._run.run.id
        everywhere = comm.all_gather_object((found, self.entity, self.project))
        self._run_ids = [run_id for run_id, _, _ in everywhere]
        self.entity, self.project = self.entity or everywhere[0][1], everywhere[0][2]
        early, self._early = self._early, []
        for metrics, step in early:
            self.log_metrics(metrics, step)

    def _open_saved(self, run: WandBRun) -> bool:
        """Open the run of the checkpoint; return whether there is one to go on in."""
        saved, rank, batch = self._saved or {}, comm.get_global_rank(), self._batch()
        ids: list[str | None] = saved.get("run_ids", [])
        own = ids[rank] if rank < len(ids) else None
        chosen = self._init_kwargs
        is_other = chosen.get("id", own) != own or "fork_from" in chosen or "resume_from" in chosen
        if own is None or batch == 0 or is_other or chosen.get("resume") == "never":
            return False
        # The row of this step was begun before the checkpoint, by evaluations for example. A file
        # of rank 0 has rank 0's row; what other ranks had logged then is the same or much like it.
        if run.resume(own, batch) and saved["step"] == batch:
            self._rows.load_state_dict(saved)
        return True

    def _options(self) -> dict[str, Any]:
        """Return the arguments of ``wandb.init``."""
        assert self._state is not None
        options = dict(self._init_kwargs)
        run_name = self._state.run_name
        options.setdefault("name", run_name)
        if not self.rank_zero_only:
            options["name"] += f"-rank{comm.get_global_rank()}"
            options.setdefault("group", run_name)
        timeout = FINISH_TIMEOUT_WITH_FILES_S if self.log_artifacts else FINISH_TIMEOUT_S
        options["settings"] = _with_finish_timeout(self._wandb, options.get("settings"), timeout)
        return options


def _with_finish_timeout(wandb: Any, settings: Any, timeout_s: float) -> Any:
    """Return settings that say how long the end of a run waits for the server."""
    if "finish_timeout" not in wandb.Settings.model_fields:
        return settings
    if settings is None:
        settings = {}
    if isinstance(settings, dict):
        return {"finish_timeout": timeout_s, **settings}
    if "finish_timeout" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"finish_timeout": timeout_s})
