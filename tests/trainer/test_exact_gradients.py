"""Gradients are those of the loss over the whole batch, however it is cut."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from composer.core.callback import Callback
from composer.core.data_spec import DataSpec
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError
from composer.models.base import ComposerModel
from tests.trainer._runs import (
    Regression,
    TokenModel,
    assert_close,
    classifier,
    fitted,
    loader,
    make_trainer,
    samples,
    sgd,
    token_batches,
)


class Gradients(Callback):
    """Keeps the gradients of each batch."""

    def __init__(self) -> None:
        self.batches: list[dict[str, Tensor]] = []

    def after_train_batch(self, state: State, logger: Logger) -> None:
        named = state.model.named_parameters()
        self.batches.append({name: p.grad.clone() for name, p in named if p.grad is not None})


def first_gradients(model: ComposerModel, data: Any, **arguments: Any) -> dict[str, Tensor]:
    kept = Gradients()
    make_trainer(
        model=model,
        train_dataloader=data,
        optimizers=sgd(model),
        callbacks=kept,
        max_duration="1ba",
        **arguments,
    ).fit()
    return kept.batches[0]


def token_model() -> TokenModel:
    torch.manual_seed(0)
    return TokenModel()


def token_gradients(batch: Any) -> dict[str, Tensor]:
    model = token_model()
    model.loss(model(batch), batch).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_a_mean_over_samples_has_one_gradient_at_every_microbatch_size(size: int) -> None:
    whole = first_gradients(classifier(), [samples(5)])
    cut = first_gradients(classifier(), [samples(5)], device_train_microbatch_size=size)
    assert_close(cut, whole)


def test_it_is_the_gradient_worked_out_by_hand() -> None:
    model = classifier()
    batch = samples(5)
    model.loss(model(batch), batch).backward()
    expected = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    cut = first_gradients(classifier(), [batch], device_train_microbatch_size=2)
    assert_close(cut, expected)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_a_mean_over_tokens_has_one_gradient_where_labels_say_which_count(size: int) -> None:
    batch = token_batches(1)[0]
    cut = first_gradients(token_model(), [batch], device_train_microbatch_size=size)
    assert_close(cut, token_gradients(batch))


def test_weighing_tokens_can_be_switched_off() -> None:
    batch = token_batches(1)[0]
    cut = first_gradients(
        token_model(),
        [batch],
        device_train_microbatch_size=2,
        accumulate_train_batch_on_tokens=False,
    )
    expected = token_gradients(batch)
    assert not torch.allclose(cut["head.bias"], expected["head.bias"], atol=1e-4)


def test_a_data_spec_may_say_which_tokens_count() -> None:
    batch = token_batches(1)[0]

    def count(part: Any) -> dict[str, int]:
        counted = int((part["labels"] != -100).sum())
        return {"total": part["input_ids"].numel(), "loss_generating": counted}

    spec = DataSpec([batch], get_num_tokens_in_batch=count)
    cut = first_gradients(
        token_model(),
        spec,
        device_train_microbatch_size=2,
        accumulate_train_batch_on_tokens=True,
    )
    assert_close(cut, token_gradients(batch))


def test_weighing_tokens_that_nobody_counts_is_refused() -> None:
    with pytest.raises(ConfigError, match="accumulate_train_batch_on_tokens=True"):
        first_gradients(
            classifier(),
            [samples(4)],
            device_train_microbatch_size=2,
            accumulate_train_batch_on_tokens=True,
        )


def test_a_microbatch_of_padding_alone_counts_for_nothing() -> None:
    batch = token_batches(1)[0]
    batch["labels"][2:4] = -100
    model = token_model()
    kept = Gradients()
    _, losses, _ = fitted(
        model=model,
        train_dataloader=[batch],
        optimizers=sgd(model),
        callbacks=[kept],
        device_train_microbatch_size=2,
    )
    assert_close(kept.batches[0], token_gradients(batch))
    whole = token_model()
    assert losses[0] == pytest.approx(whole.loss(whole(batch), batch).item())


def test_a_mean_that_divides_by_no_token_spoils_no_gradient() -> None:
    class Divides(TokenModel):
        def loss(self, outputs: Tensor, batch: Any, *args: Any, **kwargs: Any) -> Any:
            mask = (batch["labels"] != -100).float()
            return (outputs.square().mean(-1) * mask).sum() / mask.sum()

    batch = token_batches(1)[0]
    batch["labels"][2:4] = -100
    gradients = []
    for size in (5, 2):
        torch.manual_seed(0)
        gradients.append(first_gradients(Divides(), [batch], device_train_microbatch_size=size))
    assert_close(gradients[1], gradients[0])


def test_the_logged_loss_is_that_of_the_whole_batch() -> None:
    _, whole, _ = fitted(train_dataloader=[samples(5)])
    _, cut, _ = fitted(train_dataloader=[samples(5)], device_train_microbatch_size=2)
    assert cut == pytest.approx(whole, rel=1e-6)


def test_training_metrics_are_those_of_the_whole_batch() -> None:
    _, _, whole = fitted()
    _, _, cut = fitted(device_train_microbatch_size=3)
    name = "metrics/train/MulticlassAccuracy"
    assert cut.series(name) == pytest.approx(whole.series(name))


class SeveralLosses(Regression):
    """Returns losses in the form it is given."""

    def __init__(self, form: Any) -> None:
        torch.manual_seed(0)
        super().__init__()
        self.form = form

    def loss(self, outputs: Tensor, batch: Any, *args: Any, **kwargs: Any) -> Any:
        square = (outputs - batch[1]) ** 2
        return self.form(square, square.mean() * 3)


FORMS: dict[str, tuple[Any, float, set[str]]] = {
    "a tensor without a mean": (lambda a, b: a, 1, {"total"}),
    "a sequence": (lambda a, b: (a, b), 4, {"loss0", "loss1", "total"}),
    "a mapping": (lambda a, b: {"left": a, "right": b}, 4, {"left", "right", "total"}),
    "a mapping with a total": (lambda a, b: {"part": b, "total": a}, 1, {"part", "total"}),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [2, 5])
def test_losses_of_every_form_are_added_up_and_logged(form: str, size: int) -> None:
    make, factor, names = FORMS[form]
    inputs, _ = samples(5)
    batch = (inputs, inputs.sum(dim=1))
    plain = SeveralLosses(lambda a, b: a)
    expected = nn.functional.mse_loss(plain(batch), batch[1]).item()
    model, kept = SeveralLosses(make), Gradients()
    _, losses, memory = fitted(
        model=model,
        optimizers=sgd(model),
        train_dataloader=[batch],
        device_train_microbatch_size=size,
        callbacks=[kept],
    )
    assert losses[0] == pytest.approx(expected * factor, rel=1e-5)
    logged = {name for name in memory.metrics[0][1] if name.startswith("loss/")}
    assert logged == {f"loss/train/{name}" for name in names}
    by_hand = first_gradients(SeveralLosses(lambda a, b: a), [batch])
    assert_close(kept.batches[0], {name: factor * g for name, g in by_hand.items()})


@pytest.mark.parametrize("loss", [1.5, None, "loss", [], {}])
def test_a_loss_that_is_none_is_refused(loss: Any) -> None:
    model = SeveralLosses(lambda a, b: loss)
    inputs, _ = samples(4)
    with pytest.raises(TypeError, match=r"the model's loss returned"):
        fitted(model=model, optimizers=sgd(model), train_dataloader=[(inputs, inputs.sum(dim=1))])


class TestCheck:
    def test_a_mean_over_samples_passes(self) -> None:
        check = make_trainer(train_dataloader=loader(16, 5)).check_gradients()
        assert check.is_exact
        assert (check.num_samples, check.microbatch_size) == (5, 3)
        check.require()

    def test_a_mean_over_tokens_passes(self) -> None:
        trainer = make_trainer(
            model=token_model(), optimizers=None, train_dataloader=token_batches()
        )
        assert trainer.check_gradients(microbatch_size=2).is_exact

    def test_a_sum_is_found_out(self) -> None:
        model = SeveralLosses(lambda a, b: a.sum())
        inputs, _ = samples(6)
        trainer = make_trainer(
            model=model, optimizers=sgd(model), train_dataloader=[(inputs, inputs.sum(dim=1))]
        )
        check = trainer.check_gradients()
        assert not check.is_exact
        with pytest.raises(ConfigError, match=r"6 samples change.*microbatches of 4.*'line"):
            check.require()

    def test_fit_can_begin_with_it(self) -> None:
        model = SeveralLosses(lambda a, b: a.sum())
        inputs, _ = samples(6)
        trainer = make_trainer(
            model=model,
            optimizers=sgd(model),
            train_dataloader=[(inputs, inputs.sum(dim=1))],
            check_gradients=True,
        )
        with pytest.raises(ConfigError, match="gradients"):
            trainer.fit()
        assert trainer.state.timestamp.batch.value == 0

    def test_it_changes_nothing_in_training(self) -> None:
        _, plain, _ = fitted(train_dataloader=loader(shuffle=True))
        _, checked, _ = fitted(train_dataloader=loader(shuffle=True), check_gradients=True)
        assert plain == checked

    def test_a_batch_of_one_sample_cannot_be_checked(self) -> None:
        with pytest.raises(ConfigError, match="one sample"):
            make_trainer(train_dataloader=[samples(1)]).check_gradients()
