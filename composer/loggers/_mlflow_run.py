"""A run of MLflow: found or made, and ended."""

from __future__ import annotations

import logging
from typing import Any

from composer.env import MLFLOW_EXPERIMENT_ID, MLFLOW_RUN_ID

__all__ = ["MLFlowRun"]

log = logging.getLogger(__name__)

_LAST_TRY_S = 5


class MLFlowRun:
    """A run that is active, so that ``mlflow.log_*`` goes to it.

    Args:
        mlflow: the module.
        client: MLflow's client.
    """

    def __init__(self, mlflow: Any, client: Any) -> None:
        self._mlflow = mlflow
        self._client = client
        self._run_id: str | None = None
        self._is_own = False

    def open(
        self,
        experiment_name: str,
        name: str,
        tags: dict[str, Any],
        resume: bool,
        log_system_metrics: bool,
    ) -> Any:
        """Use the run that is active, go on in one, or make one.

        Args:
            experiment_name: the experiment, if the environment does not name one.
            name: the run's name.
            tags: its tags.
            resume: whether to go on in the newest run of this name, if there is one.
            log_system_metrics: whether MLflow watches the machine.

        Returns:
            MLflow's run.
        """
        mlflow = self._mlflow
        run = mlflow.active_run()
        if run is None:
            self._is_own = True
            experiment_id = MLFLOW_EXPERIMENT_ID.get() or self._find_experiment(experiment_name)
            run_id = MLFLOW_RUN_ID.get()
            if run_id is None and resume:
                run_id = self._find(experiment_id, name)
            all_tags = {**tags, "run_name": name}
            if run_id is not None:
                run = mlflow.start_run(run_id=run_id, log_system_metrics=log_system_metrics)
                mlflow.set_tags(all_tags)
            else:
                run = mlflow.start_run(
                    experiment_id=experiment_id,
                    run_name=name,
                    tags=all_tags,
                    log_system_metrics=log_system_metrics,
                )
        self._run_id = run.info.run_id
        return run

    def end(self, status: str) -> None:
        """End the run; one that was active before is left to its owner."""
        active = self._mlflow.active_run()
        if not self._is_own:
            return
        if active is not None and active.info.run_id == self._run_id:
            self._mlflow.end_run(status)
        else:
            self._client.set_terminated(self._run_id, status)

    def give_up(self) -> None:
        """Let the run be over for this program, without asking a lost server again and again."""
        variables = self._mlflow.environment_variables
        retries = variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES
        timeout = variables.MLFLOW_HTTP_REQUEST_TIMEOUT
        before = retries.get_raw(), timeout.get_raw()
        retries.set(0)
        timeout.set(_LAST_TRY_S)
        try:
            self.end("FAILED")
        except self._mlflow.exceptions.MlflowException as error:
            log.warning("the run %s stays unfinished in MLflow: %s", self._run_id, error)
        finally:
            for variable, value in zip((retries, timeout), before, strict=True):
                if value is None:
                    variable.unset()
                else:
                    variable.set(value)

    def _find_experiment(self, name: str) -> str:
        """Return the experiment's id; it is made if it is new.

        ``mlflow.set_experiment`` would also choose it for all that the program does later.
        """
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return found.experiment_id
        try:
            return self._client.create_experiment(name)
        except self._mlflow.exceptions.MlflowException:
            # Another rank may have been first.
            found = self._client.get_experiment_by_name(name)
            if found is None:
                raise
            return found.experiment_id

    def _find(self, experiment_id: str, name: str) -> str | None:
        quoted = name.replace("'", "\\'")
        found = self._client.search_runs(
            [experiment_id],
            filter_string=f"tags.run_name = '{quoted}'",
            order_by=["attributes.start_time DESC"],
            max_results=1,
        )
        return found[0].info.run_id if found else None
