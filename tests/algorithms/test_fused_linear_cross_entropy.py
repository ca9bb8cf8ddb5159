from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from composer.algorithms._deferred_scores import DeferredLinear, DeferredScores
from composer.algorithms.fused_linear_cross_entropy import (
    FusedLinearCrossEntropy,
    apply_fused_linear_cross_entropy,
)
from composer.errors import ConfigError
from composer.metrics.nlp import LanguageCrossEntropy
from composer.models.base import ComposerModel
from composer.models.huggingface import HuggingFaceModel
from composer.trainer.trainer import Trainer
from composer.utils.warnings import NoEffectWarning

transformers = pytest.importorskip("transformers", reason="some of these models are of its own")

VOCABULARY = 101


def gpt2() -> Any:
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_layer=1, n_embd=16, n_head=2, vocab_size=VOCABULARY, n_positions=32, resid_pdrop=0.0,
        embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


def gemma() -> Any:
    """Squeezes its scores by a tangent before the loss."""
    torch.manual_seed(0)
    config = transformers.Gemma2Config(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, head_dim=8, vocab_size=VOCABULARY,
    )  # fmt: skip
    return transformers.Gemma2ForCausalLM(config)


def sentences(count: int = 8) -> list[dict[str, Tensor]]:
    """Tokens with padding of different length, which makes no loss."""
    ids = torch.randint(VOCABULARY, (count, 12), generator=torch.Generator().manual_seed(1))
    labels = [row.where(torch.arange(12) < 12 - i, -100) for i, row in enumerate(ids)]
    return [{"input_ids": a, "labels": b} for a, b in zip(ids, labels, strict=True)]


def batch() -> dict[str, Tensor]:
    return next(iter(DataLoader(sentences(), 4)))


class Labelled(ComposerModel):
    """A plain model; labels are those of the very tokens."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Embedding(VOCABULARY, 16), nn.Linear(16, 16), nn.GELU())
        self.head = nn.Linear(16, VOCABULARY)

    def forward(self, batch: Any) -> Tensor:
        return self.head(self.layers(batch["input_ids"]))

    def loss(self, outputs: Tensor, batch: Any, *args: Any, **kwargs: Any) -> Tensor:
        return F.cross_entropy(outputs.flatten(0, 1), batch["labels"].flatten())


@pytest.mark.parametrize("make", [gpt2, gemma])
@pytest.mark.parametrize("autocast", [False, True], ids=["fp32", "bf16"])
def test_models_of_transformers_learn_the_same(make: Any, autocast: bool) -> None:
    plain = make().train()
    fused = copy.deepcopy(plain)
    apply_fused_linear_cross_entropy(fused)
    for model in (plain, fused):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = model(**batch()).loss
        loss.backward()
    for own, other in zip(fused.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad, atol=1e-5, rtol=1e-3)


def test_the_scores_of_a_model_of_transformers_are_never_computed() -> None:
    model = gpt2().train()
    apply_fused_linear_cross_entropy(model)
    outputs = model(**batch())
    assert isinstance(outputs.logits, DeferredScores)
    assert outputs.logits._whole is None


def trained(model: ComposerModel, algorithms: Any, **keywords: Any) -> Trainer:
    trainer = Trainer(
        model=model,
        train_dataloader=DataLoader(sentences(), 8),
        optimizers=torch.optim.SGD(model.parameters(), lr=0.5),
        algorithms=algorithms,
        max_duration="2ba",
        progress_bar=False,
        **keywords,
    )
    trainer.fit()
    return trainer


def assert_same_weights(left: ComposerModel, right: ComposerModel) -> None:
    for own, other in zip(left.parameters(), right.parameters(), strict=True):
        torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("microbatch", [8, 3, 1])
def test_runs_end_with_the_same_weights_however_batches_are_cut(microbatch: int) -> None:
    plain = trained(Labelled(), None)
    fused = trained(Labelled(), FusedLinearCrossEntropy(), device_train_microbatch_size=microbatch)
    assert_same_weights(plain.state.model, fused.state.model)


def test_training_metrics_of_a_wrapped_model_are_right() -> None:
    def run(algorithms: Any) -> Any:
        model = HuggingFaceModel(gpt2(), metrics=[LanguageCrossEntropy()])
        return trained(model, algorithms)

    plain, fused = run(None), run(FusedLinearCrossEntropy())
    assert_same_weights(plain.state.model, fused.state.model)
    values = [run.state.train_metrics["LanguageCrossEntropy"].compute() for run in (plain, fused)]
    torch.testing.assert_close(values[1], values[0])


def test_the_trained_model_can_be_exported() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    apply_fused_linear_cross_entropy(model)
    x = torch.rand(2, 4)
    exported = torch.export.export(model.eval(), (x,)).module()
    torch.testing.assert_close(exported(x), model(x))


def test_z_loss_is_added_in_training_alone() -> None:
    plain, fused = Labelled(), Labelled()
    apply_fused_linear_cross_entropy(fused, z_loss=0.1)
    given = batch()
    scores = plain(given)
    counts = given["labels"] != -100
    extra = 0.1 * scores.logsumexp(-1)[counts].square().mean()
    wanted = plain.loss(scores, given)
    torch.testing.assert_close(fused.loss(fused(given), given), wanted + extra)
    fused.eval()
    torch.testing.assert_close(fused.loss(fused(given), given), wanted)


def test_weights_stay_the_objects_they_are_also_where_they_are_shared() -> None:
    model = gpt2()
    before = dict(model.named_parameters())
    apply_fused_linear_cross_entropy(model)
    assert all(model.get_parameter(name) is each for name, each in before.items())
    assert model.lm_head.weight is model.transformer.wte.weight


def test_the_layer_can_be_named() -> None:
    model = Labelled()
    apply_fused_linear_cross_entropy(model, head="head")
    assert isinstance(model.head, DeferredLinear)


@pytest.mark.parametrize("head", ["tail", "layers", "Linear"])
def test_a_name_of_no_layer_or_of_several_is_refused(head: str) -> None:
    with pytest.raises(ConfigError, match=f"head='{head}' must name one linear layer.*head"):
        apply_fused_linear_cross_entropy(Labelled(), head=head)


def test_a_model_without_a_linear_layer_is_told_of() -> None:
    with pytest.warns(NoEffectWarning, match="found none; name it"):
        apply_fused_linear_cross_entropy(nn.Sequential(nn.ReLU()))


@pytest.mark.parametrize("wrong", [{"z_loss": -1}, {"kernel": "fast"}])
def test_arguments_that_cannot_work_are_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError):
        FusedLinearCrossEntropy(**wrong)
