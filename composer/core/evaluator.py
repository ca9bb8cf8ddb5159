"""A data set to evaluate on: its batches, its metrics, and when its turn comes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from torch.utils.data import DataLoader

from composer.core.data_spec import DataSpec, ensure_data_spec
from composer.core.event import Event
from composer.core.interval import create_interval_scheduler, parse_interval
from composer.core.types import Batch
from composer.core.units import Time
from composer.errors import ConfigError

if TYPE_CHECKING:
    from composer.core.state import State

__all__ = ["Evaluator", "ensure_evaluator", "ensure_evaluators"]

DataInput = DataSpec | Iterable[Batch] | dict[str, Any]
M = TypeVar("M")


class Evaluator:
    """A named dataloader to evaluate on.

    Args:
        label: its name, which is part of the names of its metrics.
        dataloader: batches, a :class:`~composer.core.data_spec.DataSpec`, or a dictionary of its
            arguments.
        metric_names: regular expressions; a metric of the model belongs to this evaluator if one
            of them is found anywhere in its name, in any case. ``None`` takes all metrics.
        subset_num_batches: batches per evaluation; -1 takes all, ``None`` what the trainer says.
        eval_interval: when to evaluate: a number of epochs, a time such as ``'100ba'``, or a
            function ``f(state, event)`` that is asked on ``BATCH_END`` and ``EPOCH_END`` (a time
            also evaluates at the end of training); 0 is never, ``None`` is what the trainer says.
        device_eval_microbatch_size: samples per forward pass on each device; ``'auto'`` finds it
            by trying (GPU only). By default the batch size of the dataloader; a loader that has
            none, such as a list of batches, is not split.

    Attributes:
        auto_microbatching: whether the microbatch size is found by trying.

    Raises:
        ValueError: a metric name is not a regular expression, or an interval or size cannot be.

    Example:
        >>> Evaluator(label="test", dataloader=[], device_eval_microbatch_size=8).label
        'test'
    """

    def __init__(
        self,
        *,
        label: str,
        dataloader: DataInput,
        metric_names: list[str] | None = None,
        subset_num_batches: int | None = None,
        eval_interval: int | str | Time[Any] | Callable[[State, Event], bool] | None = None,
        device_eval_microbatch_size: int | str | float | None = None,
    ) -> None:
        self.label = label
        self.dataloader = ensure_data_spec(dataloader)
        self.metric_names = _checked_names(metric_names)
        self.subset_num_batches = _checked_subset(subset_num_batches)
        self.eval_interval = eval_interval
        self.auto_microbatching = device_eval_microbatch_size == "auto"
        self.device_eval_microbatch_size = _microbatch_size(
            device_eval_microbatch_size, self.dataloader.dataloader
        )

    @property
    def eval_interval(self) -> Callable[[State, Event], bool] | None:
        """The function that says when to evaluate; assign what the constructor takes."""
        return self._eval_interval

    @eval_interval.setter
    def eval_interval(
        self, eval_interval: int | str | Time[Any] | Callable[[State, Event], bool] | None
    ) -> None:
        if eval_interval is None or callable(eval_interval):
            self._eval_interval: Callable[[State, Event], bool] | None = eval_interval
            return
        self._eval_interval = create_interval_scheduler(
            parse_interval(eval_interval, "eval_interval"),
            checkpoint_events=False,
            final_events={Event.FIT_END},
        )

    def select_metrics(self, metrics: Mapping[str, M]) -> dict[str, M]:
        """Return the metrics that belong to this evaluator, in the order of ``metrics``.

        Warns about a name that no metric matches.

        Args:
            metrics: metrics by name, e.g. those of ``model.get_metrics(is_train=False)``.
        """
        if self.metric_names is None:
            return dict(metrics)
        found = {name: [m for m in metrics if _matches(name, m)] for name in self.metric_names}
        for pattern in (name for name, matched in found.items() if not matched):
            warnings.warn(
                f"evaluator {self.label!r}: no metric matches {pattern!r}; "
                f"the model has {list(metrics)}",
                stacklevel=2,
            )
        chosen = {name for matched in found.values() for name in matched}
        return {name: metric for name, metric in metrics.items() if name in chosen}

    def __repr__(self) -> str:
        return f"Evaluator(label={self.label!r}, metric_names={self.metric_names!r})"


def ensure_evaluator(
    evaluator: Evaluator | DataInput, default_metric_names: list[str]
) -> Evaluator:
    """Return an evaluator for a dataloader.

    Args:
        evaluator: an :class:`Evaluator`, which is returned as it is, or what its ``dataloader``
            may be; then the label is ``'eval'``.
        default_metric_names: metric names for a dataloader.
    """
    if isinstance(evaluator, Evaluator):
        return evaluator
    return Evaluator(label="eval", dataloader=evaluator, metric_names=default_metric_names)


def ensure_evaluators(
    evaluators: Evaluator | DataInput | Sequence[Evaluator | DataInput] | None,
    default_metric_names: list[str],
) -> list[Evaluator]:
    """Return the evaluators of an ``eval_dataloader`` argument.

    Args:
        evaluators: nothing, one dataloader, one evaluator, or several evaluators. A list that
            holds batches is one dataloader.
        default_metric_names: metric names for a dataloader.

    Raises:
        ValueError: evaluators and dataloaders in one list, or two of one label.
    """
    if evaluators is None:
        return []
    sources: Sequence[Any] = (evaluators,)
    if isinstance(evaluators, list | tuple) and any(map(_is_source, evaluators)):
        sources = evaluators
    kinds = {isinstance(each, Evaluator) for each in sources}
    if len(kinds) > 1:
        raise ConfigError(
            "evaluators and plain dataloaders do not mix in one list; wrap each dataloader: "
            "Evaluator(label=..., dataloader=...)"
        )
    made = [ensure_evaluator(each, default_metric_names) for each in sources]
    labels = [each.label for each in made]
    if len(set(labels)) < len(labels):
        raise ConfigError(
            f"several evaluators need different labels, got {labels}; "
            "give Evaluator(label=..., dataloader=...) for each"
        )
    return made


def _is_source(item: object) -> bool:
    """Whether an item of a list is something to evaluate on, and not a batch."""
    is_arguments = isinstance(item, dict) and "dataloader" in item
    return is_arguments or isinstance(item, Evaluator | DataSpec | DataLoader)


def _matches(pattern: str, name: str) -> bool:
    return pattern == name or re.search(pattern, name, re.IGNORECASE) is not None


def _checked_names(metric_names: Sequence[str] | None) -> list[str] | None:
    if metric_names is None:
        return None
    if not isinstance(metric_names, list | tuple):
        raise ConfigError(f"metric_names is a list of names, got {metric_names!r}")
    for name in metric_names:
        try:
            re.compile(name)
        except re.error as error:
            raise ConfigError(
                f"metric name {name!r} is not a regular expression ({error}); "
                "re.escape() makes one that matches it literally"
            ) from None
    return list(metric_names)


def _checked_subset(subset_num_batches: int | None) -> int | None:
    if subset_num_batches is not None and (subset_num_batches < -1 or subset_num_batches == 0):
        raise ConfigError(
            f"subset_num_batches={subset_num_batches!r}; give a number of batches from 1 on, "
            "or -1 for all"
        )
    return subset_num_batches


def _microbatch_size(size: int | str | float | None, dataloader: Any) -> int | float | None:
    if size is None or size == "auto":
        return _batch_size(dataloader)
    if isinstance(size, str | bool) or size <= 0:
        raise ConfigError(
            f"device_eval_microbatch_size={size!r}; give a number of samples from 1 on, or 'auto'"
        )
    return size


def _batch_size(dataloader: Any) -> int | None:
    sampler = getattr(dataloader, "batch_sampler", None)
    for holder in (dataloader, sampler):
        size = getattr(holder, "batch_size", None)
        if size is not None:
            return size
    return None
