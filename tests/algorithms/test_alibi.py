import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from composer.algorithms._alibi_attention import (
    PolicyRegistry,
    alibi_bias,
    alibi_slopes,
    policy_registry,
    register_alibi,
    zero_and_freeze_expand_position_embeddings,
)
from composer.algorithms.alibi import Alibi, apply_alibi
from composer.core.event import Event
from composer.errors import ArgumentTypeError, ConfigError, DataError
from composer.utils.warnings import NoEffectWarning
from tests.algorithms._runs import HandRun

# Slopes and biases.


@pytest.mark.parametrize(
    ("num_heads", "slopes"),
    [
        (1, [2**-8]),
        (2, [2**-4, 2**-8]),
        (8, [2**-1, 2**-2, 2**-3, 2**-4, 2**-5, 2**-6, 2**-7, 2**-8]),
        # Those of 2, then every second of those of 4 (2**-2, 2**-4, 2**-6, 2**-8).
        (3, [2**-4, 2**-8, 2**-2]),
        (6, [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3]),
    ],
)
def test_slopes_are_the_papers(num_heads: int, slopes: list[float]) -> None:
    assert alibi_slopes(num_heads) == slopes


def test_the_bias_falls_with_the_distance_by_each_heads_slope() -> None:
    module = register_alibi(nn.Module(), 2, 8, causal=True)
    bias = alibi_bias(module, 3, 3)
    distances = torch.tensor([[0.0, 1, 2], [1, 0, 1], [2, 1, 0]])
    assert torch.equal(bias, torch.stack([-distances / 16, -distances / 256])[None])


def test_queries_are_the_last_of_the_sequence() -> None:
    module = register_alibi(nn.Module(), 1, 8, causal=True)
    assert (alibi_bias(module, 1, 4) * 256).flatten().tolist() == [-3, -2, -1, 0]


def test_the_slopes_are_not_saved_and_are_exact_in_any_format() -> None:
    module = register_alibi(nn.Linear(1, 1), 8, 2048, causal=True)
    assert "alibi" not in module.state_dict()
    assert alibi_bias(module.bfloat16(), 1, 2048)[0, 0, 0, 0].item() == -2047 / 2


def test_a_sequence_that_is_too_long_is_refused() -> None:
    with pytest.raises(DataError, match="9 tokens are more than max_sequence_length=8"):
        alibi_bias(register_alibi(nn.Module(), 1, 8, causal=True), 9, 9)


# Layers of torch.


def attention(**keywords: Any) -> nn.MultiheadAttention:
    torch.manual_seed(0)
    return nn.MultiheadAttention(4, 2, batch_first=True, **keywords)


def by_hand(layer: nn.MultiheadAttention, x: Tensor, allowed: Tensor | None = None) -> Tensor:
    """Attention with biases, written out; x of shape (N, L, 4), two heads."""
    n, length, _ = x.shape
    q, k, v = (
        part.view(n, length, 2, 2).transpose(1, 2)
        for part in F.linear(x, layer.in_proj_weight, layer.in_proj_bias).chunk(3, -1)
    )
    places = torch.arange(length)
    distances = (places[:, None] - places).abs()
    slopes = torch.tensor([2**-4, 2**-8]).view(1, 2, 1, 1)
    scores = q @ k.transpose(-1, -2) / math.sqrt(2) - slopes * distances
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -math.inf)
    mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, length, 4)
    return layer.out_proj(mixed)


def test_torchs_attention_gets_biases() -> None:
    layer, x = attention(), torch.randn(3, 5, 4)
    apply_alibi(nn.ModuleList([layer]), 8)
    torch.testing.assert_close(layer(x, x, x, need_weights=False)[0], by_hand(layer, x))
    torch.testing.assert_close(layer(x, x, x)[0], by_hand(layer, x))


@pytest.mark.parametrize("kind", ["bool", "float", "hint"])
def test_causal_masks_of_torchs_attention_stay(kind: str) -> None:
    layer, x = attention(), torch.randn(3, 5, 4)
    apply_alibi(nn.ModuleList([layer]), 8)
    allowed = torch.ones(5, 5, dtype=torch.bool).tril()
    mask = nn.Transformer.generate_square_subsequent_mask(5) if kind != "bool" else ~allowed
    out, _ = layer(x, x, x, attn_mask=mask, is_causal=kind == "hint", need_weights=False)
    torch.testing.assert_close(out, by_hand(layer, x, allowed))


def test_padding_masks_of_torchs_attention_stay() -> None:
    layer, x = attention(), torch.randn(3, 5, 4)
    apply_alibi(nn.ModuleList([layer]), 8)
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[:, 3:] = True
    out, _ = layer(x, x, x, key_padding_mask=padding)
    torch.testing.assert_close(out, by_hand(layer, x, ~padding[:, None, None]))


def test_attention_to_another_sequence_gets_none() -> None:
    layer, x, memory = attention(), torch.randn(3, 5, 4), torch.randn(3, 7, 4)
    before = layer(x, memory, memory)[0]
    apply_alibi(nn.ModuleList([layer]), 8)
    assert torch.equal(layer(x, memory, memory)[0], before)


@pytest.mark.parametrize("shape", [(5, 3, 4), (5, 4)])
def test_other_layouts_of_torchs_attention_work(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer, x = nn.MultiheadAttention(4, 2), torch.randn(shape)
    apply_alibi(nn.ModuleList([layer]), 8)
    batched = x.transpose(0, 1) if x.ndim == 3 else x[None]
    expected = by_hand(layer, batched)
    got = layer(x, x, x)[0]
    torch.testing.assert_close(got.transpose(0, 1) if x.ndim == 3 else got[None], expected)


def test_torchs_encoder_computes_the_same_in_evaluation() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    apply_alibi(model, 8)
    x = torch.randn(2, 5, 4)
    trained = model(x)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), trained)


def test_a_copied_model_has_biases_of_its_own() -> None:
    model = nn.ModuleList([attention()])
    apply_alibi(model, 8)
    again, x = copy.deepcopy(model), torch.randn(2, 5, 4)
    torch.testing.assert_close(again[0](x, x, x)[0], by_hand(model[0], x))


# Models of transformers.


def gpt2(implementation: str = "sdpa") -> Any:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_layer=2, n_head=2, n_embd=8, vocab_size=11, n_positions=8, bos_token_id=0,
        eos_token_id=0, attn_implementation=implementation,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config).eval()


def bert(kind: str, implementation: str) -> Any:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        num_hidden_layers=1, num_attention_heads=2, hidden_size=8, intermediate_size=12,
        vocab_size=11, max_position_embeddings=10, pad_token_id=1, bos_token_id=0,
        eos_token_id=2, attn_implementation=implementation,
    )  # fmt: skip
    return getattr(transformers, f"{kind}ForMaskedLM")(config).eval()


def capture_attention(model: nn.Module, class_name: str) -> list[Tensor]:
    """Note the masks that the attention layers get."""
    masks: list[Tensor] = []
    for module in model.modules():
        if type(module).__name__ == class_name:

            def note(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
                masks.append(kwargs["attention_mask"])

            module.register_forward_pre_hook(note, with_kwargs=True)
    return masks


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_gpt2_adds_biases_to_its_causal_mask(implementation: str) -> None:
    model = gpt2(implementation)
    apply_alibi(model, 16)
    masks = capture_attention(model, "GPT2Attention")
    model(torch.arange(3)[None])
    mask = masks[0].clamp(min=-1e4)
    expected = torch.tensor([[0.0, -1e4, -1e4], [-1, 0, -1e4], [-2, -1, 0]])
    for head, slope in enumerate([2**-4, 2**-8]):
        scaled = torch.where(expected < -100, expected, expected * slope)
        torch.testing.assert_close(mask[0, head], scaled)


@pytest.mark.parametrize("kind", ["Bert", "Roberta"])
def test_bert_adds_biases_both_ways_and_keeps_its_padding_mask(kind: str) -> None:
    outputs = []
    for implementation in ("eager", "sdpa"):
        model = bert(kind, implementation)
        apply_alibi(model, 16)
        ids = torch.arange(12)[None] % 7 + 3
        padded = torch.tensor([[1] * 9 + [0] * 3])
        outputs.append(model(ids, attention_mask=padded).logits[:, :9])
        outputs.append(model(ids[:, :9]).logits)
    for other in outputs[1:]:
        torch.testing.assert_close(other, outputs[0])


@pytest.mark.parametrize(
    ("make", "rows"), [(gpt2, 16), (lambda: bert("Bert", "sdpa"), 16)], ids=["gpt2", "bert"]
)
def test_position_embeddings_are_zero_frozen_long_enough_and_out_of_the_optimizer(
    make: Any, rows: int
) -> None:
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    apply_alibi(model, 16, optimizer)
    names = ("wpe.weight", "position_embeddings.weight")
    (weight,) = [p for name, p in model.named_parameters() if name.endswith(names)]
    assert weight.shape == (rows, 8)
    assert not weight.any()
    assert not weight.requires_grad
    params = optimizer.param_groups[0]["params"]
    assert {id(p) for p in params} == {id(p) for p in model.parameters() if p is not weight}
    assert model.config.max_position_embeddings == rows


def test_roberta_has_room_for_the_positions_before_its_first() -> None:
    model = bert("Roberta", "sdpa")
    apply_alibi(model, 16)
    assert model.roberta.embeddings.position_embeddings.num_embeddings == 18
    assert model(torch.full((1, 16), 5)).logits.shape == (1, 16, 11)


def test_gpt2_runs_on_longer_sequences_and_writes_the_same_with_and_without_its_cache() -> None:
    model = gpt2()
    apply_alibi(model, 32)
    ids = torch.arange(10)[None]
    written = [
        model.generate(ids, max_new_tokens=6, do_sample=False, use_cache=cache, eos_token_id=None)
        for cache in (True, False)
    ]
    assert torch.equal(*written)


def test_it_runs_in_bfloat16() -> None:
    model = gpt2()
    apply_alibi(model, 16)
    ids = torch.arange(6)[None]
    with torch.autocast("cpu", torch.bfloat16):
        assert model(ids, attention_mask=torch.tensor([[0, 0, 1, 1, 1, 1]])).logits.isfinite().all()
    assert model.bfloat16()(ids).logits.isfinite().all()


def test_an_implementation_without_place_for_biases_is_refused() -> None:
    model = gpt2("eager")
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(ConfigError, match="'flash_attention_2' of GPT2Attention takes no bias"):
        apply_alibi(model, 16)


# Classes of the user's.


def test_policies_can_be_registered() -> None:
    class Own(nn.Module):
        pass

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own = Own()
            self.positions = nn.Embedding(4, 2)

    try:

        @policy_registry.register(Own)
        def add(module: nn.Module, index: int, max_sequence_length: int) -> nn.Module:
            return register_alibi(module, 4, max_sequence_length, causal=True)

        @policy_registry.register(Model)
        def switch_off(module: nn.Module, index: int, max_sequence_length: int) -> nn.Module:
            zero_and_freeze_expand_position_embeddings(module, max_sequence_length, "positions")
            return module

        model = Model()
        apply_alibi(model, 6)
    finally:
        policy_registry.pop(Own, None)
        policy_registry.pop(Model, None)
    assert alibi_bias(model.own, 2, 2).shape == (1, 4, 2, 2)
    assert model.positions(torch.tensor([5])).tolist() == [[0.0, 0.0]]


def test_what_is_no_policy_is_refused() -> None:
    registry = PolicyRegistry()
    with pytest.raises(ArgumentTypeError, match="classes of modules"):
        registry.register(int)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="a policy takes"):
        registry.register(nn.Linear)(lambda module: module)  # type: ignore


def test_what_is_no_embedding_is_refused() -> None:
    with pytest.raises(ArgumentTypeError, match="'0' of Sequential is a Linear"):
        zero_and_freeze_expand_position_embeddings(nn.Sequential(nn.Linear(1, 1)), 4, "0")


def test_nothing_to_change_is_said() -> None:
    with pytest.warns(NoEffectWarning, match="register a policy"):
        apply_alibi(nn.Sequential(nn.Linear(1, 1)), 8)


def test_a_second_call_changes_nothing() -> None:
    model = nn.ModuleList([attention()])
    apply_alibi(model, 8)
    apply_alibi(model, 8)
    assert len(model[0]._forward_pre_hooks) == 1


# The method.


def short(batch: Any, scaling: float) -> Any:
    method = Alibi(16, scaling)
    run = HandRun(method, nn.ModuleList([attention()]))
    run.begin()
    run.state.batch = batch
    run.run(Event.AFTER_DATALOADER)
    return run.state.batch


def test_batches_are_cut_into_more_and_shorter_sequences() -> None:
    ids = torch.arange(16).view(2, 8)
    batch = {"input_ids": ids, "label": torch.ones(2), "name": "x"}
    cut = short(batch, 0.25)
    assert cut["input_ids"].tolist() == [[2 * row, 2 * row + 1] for row in range(8)]
    assert cut["label"] is batch["label"]


def test_with_scaling_one_batches_stay_and_are_not_looked_at() -> None:
    batch = (torch.ones(1), torch.ones(1))
    assert short(batch, 1) is batch
    assert Event.AFTER_DATALOADER not in Alibi(16, 1).events


@pytest.mark.parametrize(
    ("batch", "message"),
    [((torch.ones(2, 8),), "got a tuple"), ({"ids": torch.ones(2, 7)}, "sequences of 1.75 tokens")],
)
def test_batches_that_cannot_be_cut_are_refused(batch: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        short(batch, 0.25)


@pytest.mark.parametrize("arguments", [(0,), (8, 0), (8, 1.5)])
def test_arguments_out_of_range_are_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ConfigError, match="out of range"):
        Alibi(*arguments)
