"""What happens to a batch that would spoil the run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from composer.callbacks.loss_spike_monitor import COUNT, LossSpikeMonitor
from composer.callbacks.nan_monitor import NaNMonitor
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.distributed import comm
from composer.errors import ConfigError, TrainingError
from composer.trainer.trainer import Trainer
from tests._dist import run_ranks
from tests.core._doubles import Memory
from tests.trainer._runs import Regression, assert_same, make_trainer, weights_of

BAD_BATCH = 12


def batches(count: int = 20, bad: float | None = 1e6, at: int = BAD_BATCH) -> list[Any]:
    """Return batches of a line with noise; one of them can be spoiled."""
    generator = torch.Generator().manual_seed(3)
    made: list[tuple[Tensor, Tensor]] = []
    for index in range(count):
        inputs = torch.randn(8, 6, generator=generator)
        targets = inputs.sum(1) + 0.1 * torch.randn(8, generator=generator)
        if bad is not None and index == at:
            targets = targets * bad
        made.append((inputs, targets))
    return made


class Weights(Callback):
    """Keeps the weights after each batch."""

    def __init__(self) -> None:
        self.after: list[Tensor] = []

    def batch_end(self, state: State, logger: Logger) -> None:
        self.after.append(state.model.line.weight.detach().clone())


def run(monitor: LossSpikeMonitor | None, data: list[Any] | None = None, **arguments: Any) -> Any:
    torch.manual_seed(0)
    model = Regression()
    make = arguments.pop("make_optimizer", lambda p: torch.optim.AdamW(p, lr=0.02))
    weights = Weights()
    given = {"loggers": Memory(), "max_duration": "1ep", **arguments}
    callbacks = [*([monitor] if monitor else []), *given.pop("callbacks", []), weights]
    trainer = make_trainer(
        model=model, optimizers=make(model.parameters()),
        train_dataloader=batches() if data is None else data, callbacks=callbacks, **given,
    )  # fmt: skip
    return trainer, weights


def monitor(action: str, **arguments: Any) -> LossSpikeMonitor:
    return LossSpikeMonitor(action, **{"warmup_batches": 5, "window": 10, **arguments})


def test_a_warning_says_which_batch_and_nothing_else_happens(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = Memory()
    watched, _ = run(monitor("warn"), loggers=memory)
    with caplog.at_level(logging.WARNING):
        watched.fit()
    plain, _ = run(None)
    plain.fit()
    assert f"batch {BAD_BATCH} is bad" in caplog.text
    assert [step for step, each in memory.metrics if COUNT in each] == [BAD_BATCH]
    assert_same(weights_of(plain), weights_of(watched))


def test_a_run_without_a_bad_batch_has_no_spike() -> None:
    watcher = monitor("warn")
    trainer, _ = run(watcher, batches(bad=None), max_duration="3ep")
    trainer.fit()
    assert watcher.num_spikes == 0


OPTIMIZERS = {
    "plain": lambda p: torch.optim.AdamW(p, lr=0.02),
    "fused": lambda p: torch.optim.AdamW(p, lr=0.02, fused=True),
    "fused momentum": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, fused=True),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=0.1),
}


@pytest.mark.parametrize("bad", [1e6, float("nan"), float("inf")])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_skipped_batch_leaves_no_trace(kind: str, bad: float) -> None:
    make = OPTIMIZERS[kind]
    trainer, weights = run(monitor("skip"), batches(bad=bad), make_optimizer=make)
    trainer.fit()
    assert torch.equal(weights.after[BAD_BATCH], weights.after[BAD_BATCH - 1])
    # The same as if that batch had never been there: no moment decayed, no step was counted.
    data = batches(bad=bad)
    del data[BAD_BATCH]
    without, _ = run(None, data, make_optimizer=make)
    without.fit()
    assert_same(weights_of(trainer), weights_of(without))


def test_skipping_is_refused_where_the_optimizer_computes_gradients_itself() -> None:
    trainer, _ = run(monitor("skip"), make_optimizer=torch.optim.LBFGS)
    with pytest.raises(ConfigError, match="LBFGS"):
        trainer.fit()


class Clock(Callback):
    """Keeps time and learning rate of each batch."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []

    def batch_start(self, state: State, logger: Logger) -> None:
        [group] = state.optimizers[0].param_groups
        self.seen.append((state.timestamp.batch.value, group["lr"]))


def rewinding(folder: Path, watcher: LossSpikeMonitor, **arguments: Any) -> tuple[Trainer, Weights]:
    return run(
        watcher, save_folder=str(folder), save_interval="4ba", save_filename="ba{batch}.pt",
        **arguments,
    )  # fmt: skip


def test_rewinding_takes_weights_back_and_lets_time_and_data_go_on(tmp_path: Path) -> None:
    from composer.optim.curves import LinearScheduler

    watcher, clock = monitor("rewind"), Clock()
    trainer, weights = rewinding(
        tmp_path, watcher, callbacks=[clock], schedulers=LinearScheduler(alpha_f=0.0)
    )
    trainer.fit()
    # Saved after batch 12 of 20, which is the thirteenth: the newest from before it.
    saved = torch.load(tmp_path / "ba12.pt", weights_only=True)
    assert torch.equal(weights.after[BAD_BATCH], saved["state"]["model"]["line.weight"])
    assert watcher.num_rewinds == 1
    assert [batch for batch, _ in clock.seen] == list(range(20))
    rates = [rate for _, rate in clock.seen]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < rates[BAD_BATCH]


def test_what_follows_is_trained_from_there(tmp_path: Path) -> None:
    trainer, _ = rewinding(tmp_path, monitor("rewind"))
    trainer.fit()
    # By hand: from the checkpoint, on the batches after the bad one.
    model = Regression()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    saved = torch.load(tmp_path / "ba12.pt", weights_only=True)["state"]
    model.load_state_dict(saved["model"])
    twin, _ = rewinding(tmp_path / "twin", monitor("warn"))
    twin.state.load_optim_state(saved)
    optimizer.load_state_dict(
        {**optimizer.state_dict(), "state": twin.state.optimizers[0].state_dict()["state"]}
    )
    for batch in batches()[BAD_BATCH + 1 :]:
        optimizer.zero_grad()
        model.loss(model(batch), batch).backward()
        optimizer.step()
    assert_same(weights_of(trainer), model.state_dict())


def test_the_checkpoint_can_be_asked_to_lie_further_back(tmp_path: Path) -> None:
    trainer, weights = rewinding(tmp_path, monitor("rewind", rewind_batches=3))
    trainer.fit()
    saved = torch.load(tmp_path / "ba8.pt", weights_only=True)
    assert torch.equal(weights.after[BAD_BATCH], saved["state"]["model"]["line.weight"])


def test_rewinding_again_and_again_is_given_up(tmp_path: Path) -> None:
    data = batches(bad=None)
    for index in (13, 15, 17):
        data[index] = (data[index][0], data[index][1] * float("nan"))
    trainer, _ = rewinding(tmp_path, monitor("rewind", max_rewinds=2), data=data)
    with pytest.raises(TrainingError, match="batch 17 is bad, and the run was rewound 2 times"):
        trainer.fit()


def test_rewinding_needs_checkpoints() -> None:
    trainer, _ = run(monitor("rewind"))
    with pytest.raises(ConfigError, match="save_folder"):
        trainer.fit()


def test_rewinding_with_nothing_saved_yet_says_what_there_is(tmp_path: Path) -> None:
    data = batches(bad=float("nan"), at=1)
    trainer, _ = rewinding(tmp_path, monitor("rewind"), data=data)
    with pytest.raises(TrainingError, match="no checkpoint from before batch 1"):
        trainer.fit()


def test_what_it_has_learned_is_in_the_checkpoint(tmp_path: Path) -> None:
    straight, resumed = monitor("skip"), monitor("skip")
    first, _ = run(straight, save_folder=str(tmp_path), save_interval="7ba",
                   save_filename="ba{batch}.pt")  # fmt: skip
    first.fit()
    second, _ = run(resumed, load_path=str(tmp_path / "ba7.pt"))
    second.fit()
    assert resumed.state_dict() == straight.state_dict()
    assert straight.num_spikes == 1
    assert_same(weights_of(first), weights_of(second))


class Elsewhere(LossSpikeMonitor):
    """Is told by the logger, as on an accelerator."""

    def _tell(self, state: State, logger: Logger, values: dict[str, Tensor]) -> None:
        from functools import partial

        from composer.core.logger import READ_DELAY

        act = partial(self._act, logger, state.timestamp.batch.value)
        logger.read(values, partial(act, delay=READ_DELAY))


def test_told_later_it_goes_back_later_and_leaves_a_good_checkpoint(tmp_path: Path) -> None:
    watcher = Elsewhere("rewind", window=10, warmup_batches=5)
    trainer, weights = rewinding(tmp_path, watcher, data=batches(24, bad=float("nan")))
    trainer.fit()
    assert watcher.num_rewinds == 1
    assert not weights.after[BAD_BATCH].isfinite().all()
    assert weights.after[-1].isfinite().all()
    # Batch 16 was saved with what was spoiled, so the run saved again at once.
    spoiled = torch.load(tmp_path / "ba16.pt", weights_only=True)["state"]["model"]
    assert not spoiled["line.weight"].isfinite().all()
    mended = torch.load(tmp_path / "ba17.pt", weights_only=True)["state"]["model"]
    assert mended["line.weight"].isfinite().all()


def skip_on_two_ranks() -> tuple[Tensor, int]:
    """Train with one rank's data spoiled; only the finite outlier of the loss tells rank 0."""
    from composer.core.data_spec import DataSpec

    data = batches(bad=1e5 if comm.get_global_rank() == 1 else None)
    watcher = monitor("skip")
    trainer, weights = run(watcher, DataSpec(iter_of(data)))
    trainer.fit()
    assert torch.equal(weights.after[BAD_BATCH], weights.after[BAD_BATCH - 1])
    return weights_of(trainer)["line.weight"], watcher.num_spikes


class iter_of:
    """A loader of which composer does not ask whether ranks get their own samples."""

    def __init__(self, data: list[Any]) -> None:
        self.data = data

    def __iter__(self) -> Any:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)


def test_all_ranks_skip_together() -> None:
    (left, n_left), (right, n_right) = run_ranks(2, skip_on_two_ranks, timeout_s=120)
    assert torch.equal(left, right)
    assert n_left == n_right == 1


def test_a_nan_monitor_that_comes_first_still_stops_the_run() -> None:
    data = batches(bad=float("nan"))
    trainer, _ = run(monitor("warn"), data, callbacks=[NaNMonitor()])
    with pytest.raises(TrainingError, match=f"batch {BAD_BATCH} is NaN"):
        trainer.fit()


@pytest.mark.parametrize(
    "arguments",
    [
        {"action": "explode"},
        {"threshold": 0.0},
        {"window": 1},
        {"warmup_batches": 1},
        {"rewind_batches": -1},
        {"max_rewinds": 0},
    ],
)
def test_arguments_that_cannot_work_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        LossSpikeMonitor(**arguments)
