"""Notice a loss or a gradient that stands out, and keep it from spoiling the run."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import torch
from torch import Tensor

from composer.callbacks._rewind import Rewinder
from composer.callbacks._skipping import Skipper
from composer.callbacks._spikes import SpikeDetector
from composer.core.callback import Callback
from composer.core.logger import READ_DELAY, Logger
from composer.core.losses import read_losses
from composer.core.state import State
from composer.core.time import TimeUnit
from composer.distributed import comm
from composer.errors import ConfigError, TrainingError, unknown_name
from composer.optim.update_norms import gradient_norms

__all__ = ["LossSpikeMonitor"]

log = logging.getLogger(__name__)

ACTIONS = ("warn", "skip", "rewind")
COUNT = "loss_spikes/count"


class LossSpikeMonitor(Callback):
    """Acts on a batch whose loss or gradient is not finite, or far above those before it.

    All ranks judge the same numbers, the loss averaged over them and the norm of the gradients, by
    the running mean and spread of each, and so do the same. Whether a batch is bad is decided on
    the device; the answer comes with what the logger reads anyway.

    - ``'warn'`` says so.
    - ``'skip'`` leaves out the parameter update: weights and optimizer stay exactly as they were.
      Optimizers with ``fused=True`` are told on the device. With others, and with ``amp_fp16``,
      the host reads one flag a step.
    - ``'rewind'`` takes weights, optimizer and methods back to the last checkpoint from before the
      bad batch. Time and data go on from where they are, so that the batches in between are not
      trained on again and no curve has two branches (after arXiv 2204.02311, section 5.1). On an
      accelerator that happens some batches later, when the answer is there.

    ``loss_spikes/count`` is logged with each. Gradients are judged as methods leave them: where
    they are clipped, only the loss stands out. With ``amp_fp16``, gradients that are not finite are
    the gradient scaler's business.

    Args:
        action: ``'warn'``, ``'skip'`` or ``'rewind'``.
        threshold: standard deviations above the mean that are too many, above 0.
        window: over about how many batches mean and spread are taken, at least 2.
        warmup_batches: batches before which nothing finite is bad, at least 2.
        rewind_batches: (``'rewind'``) by how many batches the checkpoint must precede the bad one,
            at least 0: damage often begins before it shows.
        max_rewinds: (``'rewind'``) after how many to give up, at least 1.

    Raises:
        ValueError: an argument that cannot work; at the start of ``fit``, also an action that
            cannot work in this run.
        RuntimeError: (while training) there is nothing to rewind to, or it was done too often.
    """

    def __init__(
        self,
        action: str = "warn",
        threshold: float = 6.0,
        window: int = 100,
        warmup_batches: int = 50,
        rewind_batches: int = 0,
        max_rewinds: int = 3,
    ) -> None:
        if action not in ACTIONS:
            raise unknown_name("action", action, ACTIONS)
        if threshold <= 0:
            raise ConfigError(f"threshold={threshold!r} must be above 0")
        for name, value, least in (
            ("window", window, 2),
            ("warmup_batches", warmup_batches, 2),
            ("rewind_batches", rewind_batches, 0),
            ("max_rewinds", max_rewinds, 1),
        ):
            if value < least:
                raise ConfigError(f"{name}={value!r} must be at least {least}")
        self.action = action
        self.rewind_batches = rewind_batches
        self.max_rewinds = max_rewinds
        self.num_spikes = 0
        self.num_rewinds = 0
        self._detector = SpikeDetector(threshold, window, warmup_batches)
        self._skipper: Skipper | None = None
        self._rewinder: Rewinder | None = None
        self._losses: list[Tensor] = []
        # The bad batch to rewind from, after how many batches all ranks know of it, and the batch
        # before which everything was lost by the last rewind.
        self._bad_batch: int | None = None
        self._rewind_at = 0
        self._lost_before = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_skipper": None, "_rewinder": None, "_losses": []}

    def fit_start(self, state: State, logger: Logger) -> None:
        """Refuse an action that cannot work here."""
        del logger
        if self.action == "skip":
            self._skipper = Skipper(state)
        if self.action == "rewind":
            self._rewinder = Rewinder(state)

    def before_train_batch(self, state: State, logger: Logger) -> None:
        """Begin a batch."""
        del state, logger
        self._losses.clear()

    def after_loss(self, state: State, logger: Logger) -> None:
        """Note a microbatch's loss."""
        del logger
        total, _ = read_losses(state.loss)
        self._losses.append(total.detach())

    def after_train_batch(self, state: State, logger: Logger) -> None:
        """Judge the batch, and skip its update if it is bad."""
        loss, norm = self._numbers(state)
        values = torch.stack([loss, norm])
        stands_out = self._detector.judge(values)
        # A loss may well be NaN where no token counts; the gradients then are not.
        not_finite = norm.isfinite() if state.scaler is None else loss.isfinite()
        is_bad = stands_out.any() | ~not_finite
        if self._skipper is not None:
            self._skipper.skip_if(is_bad)
        self._tell(state, logger, {"is_bad": is_bad, "loss": loss, "norm": norm})

    def batch_end(self, state: State, logger: Logger) -> None:
        """Rewind, if a bad batch is known of on all ranks."""
        if self._skipper is not None:
            self._skipper.finish()
        if self._bad_batch is None or state.timestamp.count(TimeUnit.BATCH) < self._rewind_at:
            return
        bad_batch, self._bad_batch = self._bad_batch, None
        if self.num_rewinds == self.max_rewinds:
            raise TrainingError(
                f"batch {bad_batch} is bad, and the run was rewound {self.num_rewinds} times "
                "already. Lower the learning rate, clip gradients, look at the data, or allow more "
                "with max_rewinds"
            )
        self.num_rewinds += 1
        assert self._rewinder is not None
        self._rewinder.rewind(state, logger, bad_batch - self.rewind_batches)
        self._lost_before = state.timestamp.count(TimeUnit.BATCH)

    def state_dict(self) -> dict[str, Any]:
        """Return what was learned and what has happened."""
        return {
            "detector": self._detector.state_dict(),
            "num_spikes": self.num_spikes,
            "num_rewinds": self.num_rewinds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what an interrupted run has learned."""
        self._detector.load_state_dict(state["detector"])
        self.num_spikes, self.num_rewinds = state["num_spikes"], state["num_rewinds"]

    def _numbers(self, state: State) -> tuple[Tensor, Tensor]:
        """Return the loss and the norm of the gradients, the same on all ranks."""
        loss = torch.stack(self._losses).float().mean()
        if comm.get_world_size() > 1:
            comm.all_reduce(loss, "SUM")
            loss = loss / comm.get_world_size()
        groups = [group for optimizer in state.optimizers for group in optimizer.param_groups]
        parameters = [parameter for group in groups for parameter in group["params"]]
        # By place: names are of no interest here, and cost a walk through the model.
        norms = list(gradient_norms({str(i): p for i, p in enumerate(parameters)}).values())
        if not norms:
            return loss, torch.zeros_like(loss)
        norms = [norm.to(loss.device, torch.float32) for norm in norms]
        return loss, torch.linalg.vector_norm(torch.stack(norms))

    def _tell(self, state: State, logger: Logger, values: dict[str, Tensor]) -> None:
        """Find out about the batch: now on the CPU, with the logger's read elsewhere."""
        batch = state.timestamp.count(TimeUnit.BATCH)
        act = partial(self._act, logger, batch)
        if values["is_bad"].is_cpu:
            act({name: value.item() for name, value in values.items()}, delay=1)
        else:
            logger.read(values, partial(act, delay=READ_DELAY))

    def _act(self, logger: Logger, batch: int, values: dict[str, Any], delay: int) -> None:
        is_lost = self._bad_batch is not None or batch < self._lost_before
        if not values["is_bad"] or is_lost:
            return
        self.num_spikes += 1
        log.warning(
            "batch %d is bad: loss %.4g, gradient norm %.4g%s",
            batch,
            values["loss"],
            values["norm"],
            {"skip": "; its update is skipped", "rewind": "; going back"}.get(self.action, ""),
        )
        logger.log_metrics({COUNT: self.num_spikes}, step=batch)
        if self.action == "rewind":
            self._bad_batch = batch
            self._rewind_at = batch + delay
