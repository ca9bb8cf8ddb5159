"""A loss that averages over padding is refused or warned of, never trained on in silence."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from composer.errors import ConfigError
from tests.trainer._runs import TokenModel, make_trainer, token_batches


class OverAllPositions(TokenModel):
    def loss(self, outputs: Tensor, batch: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        return F.cross_entropy(
            outputs.flatten(0, 1), batch["labels"].flatten(), reduction="none"
        ).mean()


class InForward(TokenModel):
    """Makes its loss in the forward pass, as models of Hugging Face do."""

    reduction = "mean"

    def forward(self, batch: Mapping[str, Tensor]) -> Any:
        logits, labels = super().forward(batch).flatten(0, 1), batch["labels"].flatten()
        return F.cross_entropy(logits, labels, reduction=self.reduction).mean()

    def loss(self, outputs: Tensor, batch: Any, *args: Any, **kwargs: Any) -> Any:
        return outputs


class InForwardOverAll(InForward):
    reduction = "none"


def packed(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**batch, "document_ids": torch.ones_like(batch["input_ids"])}


def fit(model: TokenModel, batches: list[dict[str, Tensor]], **arguments: Any) -> None:
    make_trainer(model=model, train_dataloader=batches, max_duration="1ep", **arguments).fit()


@pytest.mark.parametrize("model", [OverAllPositions, InForwardOverAll])
def test_packed_documents_are_refused_with_a_loss_over_all_positions(model: Any) -> None:
    with pytest.raises(ConfigError, match="and only 15 of them have a label that counts"):
        fit(model(), [packed(each) for each in token_batches()])


@pytest.mark.parametrize("model", [OverAllPositions, InForwardOverAll])
def test_other_batches_with_padding_are_warned_of(model: Any) -> None:
    with pytest.warns(UserWarning, match="accumulate_train_batch_on_tokens=False"):
        fit(model(), token_batches())


@pytest.mark.parametrize("model", [TokenModel, InForward])
def test_a_mean_over_the_tokens_that_count_passes(model: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(model(), [packed(each) for each in token_batches()])


def test_who_weighs_by_samples_is_not_asked() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(OverAllPositions(), token_batches(), accumulate_train_batch_on_tokens=False)


def test_the_check_changes_nothing() -> None:
    models = [TokenModel(), TokenModel()]
    models[1].load_state_dict(models[0].state_dict())
    # Each batch is one microbatch: weighing by samples gives the same, and is not checked.
    fit(models[0], token_batches())
    fit(models[1], token_batches(), accumulate_train_batch_on_tokens=False)
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)
