"""LAWA: judge and keep the plain average of the latest weights.

Papers: Kaddour, "Stop Wasting My Time! Saving Days of ImageNet and BERT Training with Latest Weight
Averaging", 2022, arXiv:2209.14981; Ajroldi, Orvieto, Geiping, "When, Where and Why to Average
Weights?", 2025, arXiv:2502.06761.

Idea: every so often the weights are kept aside, the oldest of ``num_latest`` such sets is dropped,
and evaluation, checkpoints and export use their mean. Training never does. Unlike an exponential
average nothing older than the window has a part in it; unlike SWA it is there from early on.

When it helps: all seven workloads of the second paper, in which it reached the same quality about
12 % sooner; while the learning rate is still high it shows what the weights will be worth, so a run
that shall end early can. Best together with a rate that decays. When it hurts: memory, for
``num_latest`` more sets of weights, which checkpoints hold too; where the rate has decayed to zero
little is left to gain.

Suggested values: a window (``num_latest`` times ``update_interval``) of about 1 % of the run, which
the second paper finds best across workloads; a few per cent in short runs. Running statistics of
batch norm are averaged like weights, which is near to what the averaged weights would give;
``torch.optim.swa_utils.update_bn`` computes them anew. Weights in bfloat16 round the mean; keep
them in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from composer.algorithms._averaging import LatestSets, copies_like
from composer.algorithms._checks import check_whole
from composer.algorithms._weight_average import (
    UPDATE_EVENTS,
    WeightAverage,
    has_passed,
    is_due,
    read_interval,
    read_start,
)
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.core.units import Time

__all__ = ["LAWA"]


class LAWA(WeightAverage):
    """Average the latest sets of weights; evaluate and save the average.

    The model in a checkpoint is the average. The method's own state has the training weights and
    the sets, with which a resumed run goes on exactly.

    Args:
        num_latest: how many sets are averaged, >= 2; until there are so many, those that there are.
        update_interval: time between two sets, in ``ba`` or ``ep``.
        lawa_start: when the first set is taken, in ``ba``, ``ep`` or ``dur``.

    Raises:
        ValueError: an argument is not allowed.
    """

    def __init__(
        self,
        num_latest: int = 5,
        update_interval: str | Time[Any] = "1ep",
        lawa_start: str | Time[Any] = "0.0dur",
    ) -> None:
        check_whole("num_latest", num_latest, 2)
        self.num_latest = num_latest
        self.update_interval = read_interval("update_interval", update_interval)
        self.lawa_start = read_start("lawa_start", lawa_start)
        self.events: Mapping[Event, str] = {
            Event.INIT: "register",
            Event.AFTER_LOAD: "take_over",
            Event.FIT_START: "prepare",
            UPDATE_EVENTS[self.update_interval.unit]: "update",
        }
        super().__init__()

    def forget(self) -> None:
        """Leave an earlier run behind."""
        super().forget()
        # Oldest first.
        self._latest: list[dict[str, Tensor]] = []
        # All of it as lists, made once per fit.
        self._lists: LatestSets | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_lists": None}

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values."""
        return {
            "num_latest": self.num_latest,
            "update_interval": str(self.update_interval),
            "lawa_start": str(self.lawa_start),
        }

    def take_over(self, state: State, logger: Logger) -> None:
        """Go on with the weights of a checkpoint."""
        is_loaded = self._loaded is not None
        super().take_over(state, logger)
        if is_loaded:
            self._latest = [copies_like(each, state.model) for each in self._latest]

    def prepare(self, state: State, logger: Logger) -> None:
        """Get ready for a ``fit``, in which the model's tensors may be other ones."""
        self.go_on(state, logger)
        self._lists = None

    def update(self, state: State, logger: Logger) -> None:
        """Take the weights into the average where that is due."""
        self.check_not_shown()
        if not is_due(state, self.update_interval) or not has_passed(state, self.lawa_start):
            return
        if not self.is_ready:
            self.begin(state.model)
        if len(self._latest) < self.num_latest:
            copies = {name: torch.empty_like(each) for name, each in self._started().items()}
            self._latest.insert(0, copies)
            self._lists = None
        if self._lists is None:
            self._lists = LatestSets(state.model, self._started(), self._latest)
        self._lists.take()
        self._latest.append(self._latest.pop(0))

    # Checkpoints.

    def state_dict(self) -> dict[str, Any]:
        """Return the weights that the model does not hold at this moment, and the latest sets."""
        return {**super().state_dict(), "latest": [dict(each) for each in self._latest]}

    def load_state_dict(self, state: dict[str, Any], strict: bool = False) -> None:
        """Go on from what :meth:`state_dict` returned; see the base class."""
        super().load_state_dict(state, strict)
        self._latest = [dict(each) for each in state.get("latest", [])]
