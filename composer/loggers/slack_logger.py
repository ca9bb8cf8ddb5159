"""Posts what is logged to a channel of Slack."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from composer.core.interval import parse_interval
from composer.core.logger import Logger, format_log_data_value
from composer.core.logger_destination import LoggerDestination
from composer.core.state import State
from composer.core.time import Time, TimeUnit
from composer.distributed import comm
from composer.env import SLACK_LOGGING_API_KEY, SLACK_LOGGING_CHANNEL_ID
from composer.errors import ConfigError
from composer.loggers._sender import Sender
from composer.utils.import_helpers import import_extra

__all__ = ["SlackLogger"]

CLOSE_TIMEOUT_S = 30.0

Formatter = Callable[..., list[dict[str, Any]]]


class SlackLogger(LoggerDestination):
    """Posts chosen metrics, hyperparameters and traces to a channel, at intervals.

    Messages are sent beside the training, which does not wait for them. Only rank 0 posts.

    Args:
        include_keys: which names to post: regular expressions that match from a name's beginning.
        formatter_func: makes Slack blocks of a name, a value and the step, as keywords ``key``,
            ``value`` and ``step``; by default a line ``name: value``.
        log_interval: how often metrics are posted, in epochs (``'1ep'``) or batches (``'10ba'``).
        max_logs_per_message: how many values a message holds; Slack allows 50.
        slack_logging_api_key: the app's token; ``SLACK_LOGGING_API_KEY`` by default.
        channel_id: the channel; ``SLACK_LOGGING_CHANNEL_ID`` by default.

    Raises:
        ImportError: ``slack_sdk`` is not installed.
        ValueError: no token or no channel, or an interval in another unit.
    """

    def __init__(
        self,
        include_keys: Sequence[str] = (),
        formatter_func: Formatter | None = None,
        log_interval: int | str | Time[int] = "1ba",
        max_logs_per_message: int = 50,
        slack_logging_api_key: str | None = None,
        channel_id: str | None = None,
    ) -> None:
        slack_sdk = import_extra("slack_sdk", "slack", "slack-sdk")
        token = slack_logging_api_key or SLACK_LOGGING_API_KEY.get()
        channel = channel_id or SLACK_LOGGING_CHANNEL_ID.get()
        if token is None or channel is None:
            missing = "slack_logging_api_key" if token is None else "channel_id"
            variable = SLACK_LOGGING_API_KEY if token is None else SLACK_LOGGING_CHANNEL_ID
            raise ConfigError(f"{missing} is needed: give it here or set {variable.name}")
        if not 1 <= max_logs_per_message <= 50:
            raise ConfigError(f"max_logs_per_message={max_logs_per_message} must be in [1, 50]")
        self.log_interval = parse_interval(
            log_interval, "log_interval", units=(TimeUnit.EPOCH, TimeUnit.BATCH)
        )
        if self.log_interval.value <= 0:
            raise ConfigError(f"log_interval={str(log_interval)!r} must be above 0")
        self.channel_id = channel
        self.max_logs_per_message = max_logs_per_message
        self.client = slack_sdk.WebClient(token=token)
        self._pattern = re.compile("|".join(f"(?:{key})" for key in include_keys) or r"(?!)")
        self._format = formatter_func or _line
        self._enabled = comm.get_global_rank() == 0
        self._blocks: list[dict[str, Any]] = []
        self._sender = Sender(self._post, "Slack")

    # What is logged.

    def log_hyperparameters(self, hyperparameters: dict[str, Any]) -> None:
        """Post the chosen hyperparameters at once."""
        self._add(hyperparameters, None)
        self._send()

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Keep the chosen metrics for the next message."""
        self._add(metrics, step)

    def log_traces(self, traces: dict[str, Any]) -> None:
        """Post the chosen traces at once."""
        self._add(traces, None)
        self._send()

    # When.

    def batch_end(self, state: State, logger: Logger) -> None:
        """Post, where the interval in batches has passed."""
        del logger
        self._send_if_due(state, TimeUnit.BATCH)

    def epoch_end(self, state: State, logger: Logger) -> None:
        """Post, where the interval in epochs has passed."""
        del logger
        self._send_if_due(state, TimeUnit.EPOCH)

    def fit_end(self, state: State, logger: Logger) -> None:
        """Post what is left."""
        del state
        logger.flush()
        self._send()

    def close(self, state: State, logger: Logger) -> None:
        """Post what is left, and wait for Slack; not for long."""
        del state, logger
        self._send()
        self._enabled = False
        self._sender.close(CLOSE_TIMEOUT_S)

    # How.

    def _add(self, values: dict[str, Any], step: int | None) -> None:
        if not self._enabled:
            return
        for name, value in values.items():
            if self._pattern.match(name):
                self._blocks += self._format(key=name, value=value, step=step)

    def _send_if_due(self, state: State, unit: TimeUnit) -> None:
        interval = self.log_interval
        if interval.unit is unit and state.timestamp.count(unit) % interval.value == 0:
            self._send()

    def _send(self) -> None:
        size, blocks = self.max_logs_per_message, self._blocks
        self._blocks = []
        for start in range(0, len(blocks), size):
            self._sender.put(blocks[start : start + size])

    def _post(self, blocks: list[dict[str, Any]]) -> None:
        # The text is what notifications show.
        self.client.chat_postMessage(
            channel=self.channel_id, blocks=blocks, text=f"{len(blocks)} values"
        )


def _line(key: str, value: Any, step: int | None) -> list[dict[str, Any]]:
    """Return a line ``name: value`` as a Slack block, with the step if there is one."""
    where = "" if step is None else f" (step {step})"
    # Slack takes 3000 characters.
    text = f"*{key[:500]}:* {format_log_data_value(value)[:2000]}{where}"
    return [{"type": "section", "text": {"type": "mrkdwn", "text": text}}]
