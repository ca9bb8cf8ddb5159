"""Log norms of gradients and of what the optimizer does with them."""

from __future__ import annotations

import torch
from torch import Tensor

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError
from composer.optim.update_norms import NORM_PREFIX, gradient_norms

__all__ = ["OptimizerMonitor"]

GRADIENT_PREFIX = f"{NORM_PREFIX}grad/"
GLOBAL_NORM = f"{GRADIENT_PREFIX}global"


class OptimizerMonitor(Callback):
    """Logs the L2 norm of each gradient, and what the optimizer knows about its steps.

    ======================================  =======================================================
    ``l2_norm/grad/<parameter>``            gradient, averaged over ranks, before clipping by value
    ``l2_norm/grad/global``                 all gradients together
    ``l2_norm/{moment,param,update}/...``   from optimizers that offer them, such as DecoupledAdamW
    ======================================  =======================================================

    Parameters that are sharded over ranks are measured as a whole. Norms stay on the device until
    the logger reads everything at once.

    Args:
        log_optimizer_metrics: whether to ask optimizers for their own metrics.
        batch_log_interval: every how many batches to log, at least 1.
    """

    def __init__(self, log_optimizer_metrics: bool = True, batch_log_interval: int = 10) -> None:
        if batch_log_interval < 1:
            raise ConfigError(f"batch_log_interval={batch_log_interval!r} must be at least 1")
        self.log_optimizer_metrics = log_optimizer_metrics
        self.batch_log_interval = batch_log_interval

    def batch_end(self, state: State, logger: Logger) -> None:
        """Measure and log, every ``batch_log_interval`` batches; on all ranks, logged or not."""
        if state.timestamp.batch.value % self.batch_log_interval:
            return
        parameters = dict(state.model.named_parameters())
        gradients = gradient_norms(parameters)
        if not gradients:
            return
        metrics: dict[str, Tensor] = {}
        if self.log_optimizer_metrics:
            metrics = _metrics_of_optimizers(state, parameters)
        metrics.update({f"{GRADIENT_PREFIX}{name}": norm for name, norm in gradients.items()})
        norms = list(gradients.values())
        metrics[GLOBAL_NORM] = torch.linalg.vector_norm(
            torch.stack([norm.to(norms[0].device, torch.float32) for norm in norms])
        )
        logger.log_metrics(metrics)


def _metrics_of_optimizers(state: State, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what the optimizers report, put together over ranks; all ranks must call this."""
    names = {id(parameter): name for name, parameter in parameters.items()}
    metrics: dict[str, Tensor] = {}
    for optimizer in state.optimizers:
        report = getattr(optimizer, "report_per_parameter_metrics", None)
        if report is None:
            continue
        own: dict[str, Tensor] = {}
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if id(parameter) in names and parameter.grad is not None:
                    own = report(parameter, names[id(parameter)], own)
        own = optimizer.pre_reduce_metrics(own)  # pyright: ignore[reportAttributeAccessIssue]
        metrics.update(optimizer.dist_reduce_metrics(own))  # pyright: ignore[reportAttributeAccessIssue]
    return metrics
