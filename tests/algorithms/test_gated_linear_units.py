import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from composer.algorithms._gated_layers import BERTGatedFFOutput, GatedLinear
from composer.algorithms.gated_linear_units import (
    GatedLinearUnits,
    apply_gated_linear_units,
    from_BertIntermediate,
    from_BertOutput,
)
from composer.errors import ConfigError, UnknownNameError
from composer.utils.warnings import NoEffectWarning
from tests.algorithms._runs import HandRun, classifier


class FeedForward(nn.Module):
    def __init__(self, act: Any = None) -> None:
        super().__init__()
        self.up = nn.Linear(4, 6)
        self.act = act or nn.GELU()
        self.drop = nn.Dropout(0.0)
        self.down = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.drop(self.act(self.up(x))))


def model_of(*blocks: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 4), *blocks)


# What a gated layer computes.


def test_a_gated_layer_multiplies_the_activated_gate_with_the_value() -> None:
    # Shazeer 2020, equation (5): ReGLU(x, W, V) = max(0, xW) * xV, without biases.
    layer = GatedLinear(3, 5, F.relu, False, False, like=torch.empty(1))
    x = torch.randn(2, 3)
    expected = F.relu(x @ layer.gate.weight.T) * (x @ layer.value.weight.T)
    torch.testing.assert_close(layer(x), expected)


def test_berts_layer_adds_the_residual_before_the_norm() -> None:
    # Shazeer 2020, equation (6), FFN_GEGLU = (GELU(xW) * xV) W_2, inside of BERT's layer:
    # LayerNorm(FFN(x) + residual).
    layer = BERTGatedFFOutput(4, 6, 0.0, F.gelu, 1e-12, gated_layer_bias=True)
    x, residual = torch.randn(2, 4), torch.randn(2, 4)
    gate = F.gelu(x @ layer.gated_layer.weight.T + layer.gated_layer.bias)
    hidden = gate * (x @ layer.non_gated_layer.weight.T)
    summed = hidden @ layer.wo.weight.T + layer.wo.bias + residual
    expected = F.layer_norm(summed, (4,), layer.layernorm.weight, layer.layernorm.bias, 1e-12)
    torch.testing.assert_close(layer(x, residual), expected)
    assert layer.non_gated_layer.bias is None


# Any feed-forward block.


@pytest.mark.parametrize("feed_forward", ["FeedForward", FeedForward, "1"])
def test_a_block_is_gated_with_its_own_activation(feed_forward: Any) -> None:
    block = FeedForward(nn.SiLU())
    up, down = copy.deepcopy(block.up), block.down
    apply_gated_linear_units(model_of(block), feed_forward=feed_forward)
    gated, x = block.up, torch.randn(2, 4)
    assert isinstance(gated, GatedLinear)
    expected = down(F.silu(gated.gate(x)) * (x @ up.weight.T))
    torch.testing.assert_close(block(x), expected)


def test_gates_begin_with_the_weights_of_the_layer_beside_them_in_another_order() -> None:
    block = FeedForward()
    weight = block.up.weight.detach().clone()
    apply_gated_linear_units(model_of(block), feed_forward="FeedForward")
    assert torch.equal(block.up.value.weight, weight)
    assert torch.equal(block.up.gate.weight.flatten().sort()[0], weight.flatten().sort()[0])
    assert not torch.equal(block.up.gate.weight, weight)


def test_an_activation_that_is_a_function_is_taken_too() -> None:
    block = FeedForward(torch.tanh)
    apply_gated_linear_units(model_of(block), feed_forward="FeedForward")
    x = torch.randn(2, 4)
    gated = block.up
    expected = block.down(torch.tanh(gated.gate(x)) * gated.value(x))
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("act_fn", ["relu", F.relu])
def test_another_activation_can_be_given(act_fn: Any) -> None:
    block = FeedForward()
    apply_gated_linear_units(
        model_of(block), act_fn=act_fn, feed_forward="1", gated_layer_bias=True
    )
    x = torch.randn(2, 4)
    expected = block.down(F.relu(block.up.gate(x)) * block.up.value(x))
    torch.testing.assert_close(block(x), expected)
    assert block.up.gate.bias is not None
    assert block.up.value.bias is None


def test_a_sequence_of_layers_is_a_block_too() -> None:
    block = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.1), nn.Linear(6, 4))
    apply_gated_linear_units(model_of(block), feed_forward="1")
    assert isinstance(block[0], GatedLinear)
    assert isinstance(block[1], nn.Identity)


def test_new_weights_go_where_the_old_ones_were_in_the_optimizer() -> None:
    model = model_of(FeedForward())
    decayed = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others}], lr=0.1
    )
    apply_gated_linear_units(model, optimizer, feed_forward="FeedForward", gated_layer_bias=True)
    first, second = (group["params"] for group in optimizer.param_groups)
    assert {id(p) for p in first} == {id(p) for p in model.parameters() if p.ndim == 2}
    assert {id(p) for p in second} == {id(p) for p in model.parameters() if p.ndim == 1}


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(4, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (Functional(), "0 activations"),
        (nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5)), "two linear layers"),
        (nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.ReLU(), nn.Linear(6, 4)), "2 activations"),
    ],
)
def test_blocks_that_cannot_be_gated_are_refused(block: nn.Module, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        apply_gated_linear_units(model_of(block), feed_forward="1")


def test_a_second_call_changes_nothing() -> None:
    model = model_of(FeedForward())
    apply_gated_linear_units(model, feed_forward="FeedForward")
    gated = model[1].up
    apply_gated_linear_units(model, feed_forward="FeedForward")
    assert model[1].up is gated


def test_nothing_to_gate_is_said() -> None:
    with pytest.warns(NoEffectWarning, match="point at others with feed_forward"):
        apply_gated_linear_units(model_of(FeedForward()))
    with pytest.warns(NoEffectWarning, match="'MLP'"):
        apply_gated_linear_units(model_of(FeedForward()), feed_forward="MLP")


# Known models.


def test_torchs_transformer_layers_are_known_and_use_no_kernel_of_their_own() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    apply_gated_linear_units(model)
    x = torch.randn(2, 3, 4)
    trained = model(x)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), trained)
    assert sum(isinstance(each, GatedLinear) for each in model.modules()) == 2


def bert(kind: str) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{kind}Config")(
        num_hidden_layers=2, num_attention_heads=2, hidden_size=8, intermediate_size=12,
        vocab_size=11, max_position_embeddings=16, pad_token_id=1,
        bos_token_id=0, eos_token_id=2, hidden_dropout_prob=0.0,
    )  # fmt: skip
    return getattr(transformers, f"{kind}ForMaskedLM")(config)


@pytest.mark.parametrize("kind", ["Bert", "Roberta"])
def test_the_layers_of_bert_are_gated(kind: str) -> None:
    model = bert(kind).eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    dense = next(m for m in model.modules() if type(m).__name__ == f"{kind}Output").dense
    apply_gated_linear_units(model, optimizer)
    layers = [each for each in model.modules() if isinstance(each, BERTGatedFFOutput)]
    assert len(layers) == 2
    assert torch.equal(layers[0].wo.weight, dense.weight)
    assert layers[0].act(torch.tensor(2.0)) == F.gelu(torch.tensor(2.0))
    assert {id(p) for p in optimizer.param_groups[0]["params"]} == {
        id(p) for p in model.parameters()
    }
    assert model(torch.arange(6)[None]).logits.isfinite().all()


def test_the_blocks_of_gpt2_are_gated() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        n_layer=2, n_head=2, n_embd=8, vocab_size=11, n_positions=16, bos_token_id=0,
        eos_token_id=0, resid_pdrop=0.0,
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config)
    block = model.transformer.h[0].mlp
    weight = block.c_fc.weight.detach().clone()
    apply_gated_linear_units(model)
    x = torch.randn(2, 8)
    new_gelu = transformers.activations.ACT2FN["gelu_new"]
    expected = block.c_proj(new_gelu(block.c_fc.gate(x)) * (x @ weight))
    torch.testing.assert_close(block(x), expected)


def test_the_halves_of_berts_layer_can_be_made_one_by_one() -> None:
    output: Any = nn.Module()
    output.dense, output.dropout, output.LayerNorm = (
        nn.Linear(6, 4),
        nn.Dropout(0.3),
        nn.LayerNorm(4, eps=1e-3),
    )
    new = from_BertOutput(output, 0, F.silu)
    assert (new.dropout.p, new.layernorm.eps) == (0.3, 1e-3)
    assert new.gated_layer.weight.shape == (6, 4)
    assert isinstance(from_BertIntermediate(nn.Linear(4, 6), 0), nn.Identity)


# The method.


def test_the_class_does_what_the_function_does() -> None:
    block = FeedForward()
    run = HandRun(GatedLinearUnits(feed_forward="FeedForward"), classifier(model_of(block)))
    run.begin()
    assert isinstance(block.up, GatedLinear)
    params = run.state.optimizers[0].param_groups[0]["params"]
    assert any(p is block.up.gate.weight for p in params)


def custom(x: Tensor) -> Tensor:
    return x


@pytest.mark.parametrize(
    ("act_fn", "name"),
    [(None, None), ("silu", "silu"), (F.silu, "silu"), (custom, f"{__name__}.custom")],
)
def test_a_checkpoint_keeps_the_activation_by_name(act_fn: Any, name: str | None) -> None:
    assert GatedLinearUnits(act_fn).arguments()["act_fn"] == name


def test_an_unknown_activation_is_refused_with_near_names() -> None:
    with pytest.raises(UnknownNameError, match="'gelu'"):
        GatedLinearUnits("gellu")
