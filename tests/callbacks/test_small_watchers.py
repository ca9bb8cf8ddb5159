"""FreeOutputs, LRMonitor and NaNMonitor: what is special about each."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from composer.callbacks.free_outputs import FreeOutputs
from composer.callbacks.lr_monitor import LRMonitor
from composer.callbacks.nan_monitor import NaNMonitor
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import TrainingError
from composer.optim.curves import LinearScheduler
from tests.core._doubles import Memory, make_state
from tests.trainer._runs import (
    Regression,
    assert_same,
    classifier,
    fitted,
    make_trainer,
    sgd,
    weights_of,
)


class Outputs(Callback):
    def __init__(self) -> None:
        self.in_backward: list[Any] = []

    def before_backward(self, state: State, logger: Logger) -> None:
        self.in_backward.append(state.outputs)


def test_outputs_are_gone_in_the_backward_pass() -> None:
    outputs = Outputs()
    make_trainer(callbacks=[FreeOutputs(), outputs]).fit()
    assert outputs.in_backward == [None] * 4


def test_training_metrics_are_the_same_without_outputs() -> None:
    kept, _, plain = fitted()
    freed, _, memory = fitted(callbacks=[FreeOutputs()])
    name = "metrics/train/MulticlassAccuracy"
    assert memory.series(name) == plain.series(name)
    assert_same(weights_of(kept), weights_of(freed))


def test_rates_are_logged_by_optimizer_and_group() -> None:
    model = classifier()
    optimizer = torch.optim.SGD(
        [{"params": [p], "lr": 0.1 * (i + 1)} for i, p in enumerate(model.parameters())]
    )
    _, _, memory = fitted(
        model=model,
        optimizers=optimizer,
        schedulers=LinearScheduler(alpha_f=0.0, t_max="4ba"),
        callbacks=[LRMonitor()],
    )
    assert memory.series("lr-SGD/group0") == pytest.approx([0.075, 0.05, 0.025, 0.0])
    assert memory.series("lr-SGD/group3")[0] == pytest.approx(0.3)


def test_named_optimizers_keep_their_names() -> None:
    model = classifier()
    weights, biases = [
        [p for n, p in model.named_parameters() if kind in n] for kind in ("weight", "bias")
    ]
    optimizers = {
        "body": torch.optim.SGD(weights, lr=0.1),
        "rest": torch.optim.SGD(biases, lr=0.2),
    }
    _, _, memory = fitted(model=model, optimizers=optimizers, callbacks=[LRMonitor()])
    assert memory.series("lr-body/group0") == [0.1] * 4
    assert memory.series("lr-rest/group0") == [0.2] * 4


class BadLoss(Regression):
    """A model whose loss turns bad after some batches."""

    def __init__(self, loss: Any, after: int = 1) -> None:
        super().__init__()
        self.bad, self.after, self.calls = loss, after, 0

    def loss(self, outputs: torch.Tensor, batch: Any, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        good = outputs.mean()
        return good if self.calls <= self.after else self.bad(good)


BAD = {
    "a tensor": lambda good: good * float("nan"),
    "a sequence": lambda good: (good, good * float("nan")),
    "a mapping": lambda good: {"total": good, "extra": [good, good * float("nan")]},
    "one of many": lambda good: torch.stack([good, good * float("nan")]),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_loss_that_is_nan_stops_training_before_the_weights_change(kind: str) -> None:
    model = BadLoss(BAD[kind])
    trainer = make_trainer(model=model, optimizers=sgd(model), callbacks=NaNMonitor())
    with pytest.raises(TrainingError, match="of batch 1 is NaN"):
        trainer.fit()
    assert trainer.state.timestamp.batch == 1
    assert all(value.isfinite().all() for value in weights_of(trainer).values())


def test_an_infinite_loss_is_a_number() -> None:
    model = BadLoss(lambda good: good * float("inf"), after=3)
    make_trainer(model=model, optimizers=sgd(model), callbacks=NaNMonitor()).fit()


def test_without_a_host_value_the_answer_comes_with_the_next_flush() -> None:
    class Elsewhere(torch.Tensor):
        is_cpu = False  # pyright: ignore[reportAssignmentType]

    state = make_state()
    logger = Logger(state, Memory())
    state.loss = torch.tensor(float("nan")).as_subclass(Elsewhere)
    NaNMonitor().after_loss(state, logger)
    with pytest.raises(TrainingError, match="the loss of batch 0 is NaN"):
        logger.flush()
