"""Log learning rates."""

from __future__ import annotations

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State

__all__ = ["LRMonitor"]


class LRMonitor(Callback):
    """Logs ``lr-<optimizer>/group<i>``: the rate each parameter group trains the next batch with.

    An optimizer is called by its class, or by its name where the Trainer was given names.
    """

    def batch_end(self, state: State, logger: Logger) -> None:
        """Log every group's learning rate."""
        if not logger.listens_to_metrics:
            return
        logger.log_metrics(
            {
                f"lr-{name}/group{index}": group["lr"]
                for name, optimizer in state.named_optimizers.items()
                for index, group in enumerate(optimizer.param_groups)
            }
        )
