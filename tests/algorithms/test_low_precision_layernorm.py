import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from composer.algorithms.low_precision_groupnorm import LowPrecisionGroupNorm
from composer.algorithms.low_precision_layernorm import (
    LowPrecisionLayerNorm,
    LPLayerNorm,
    apply_low_precision_layernorm,
)
from composer.core.event import Event
from composer.core.passes import sort_by_order
from composer.errors import ConfigError
from composer.utils.warnings import NoEffectWarning
from tests.algorithms._runs import HandRun


def small_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4, eps=1e-3), nn.Linear(4, 2))


class WideNorm(nn.LayerNorm):
    """Computes in its own way, which nobody else knows."""

    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


def test_it_rounds_inputs_and_parameters_to_the_autocasts_format() -> None:
    # Ba et al. 2016, section 3, of what was rounded to bfloat16.
    model = small_model()
    apply_low_precision_layernorm(model)
    norm, x = model[1], torch.randn(3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        got = norm(x)
    half = torch.bfloat16
    expected = F.layer_norm(x.to(half), (4,), norm.weight.to(half), norm.bias.to(half), 1e-3)
    assert got.dtype is half
    assert torch.equal(got, expected)


def test_without_autocast_it_is_torchs_own() -> None:
    model = small_model()
    before, x = copy.deepcopy(model), torch.randn(3, 4)
    apply_low_precision_layernorm(model)
    assert torch.equal(model(x), before(x))


def test_parameters_stay_the_objects_the_optimizer_has() -> None:
    model = small_model()
    before = dict(model.named_parameters())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    apply_low_precision_layernorm(model, "amp_bf16", optimizer)
    after = dict(model.named_parameters())
    assert all(after[name] is parameter for name, parameter in before.items())
    assert [*optimizer.param_groups[0]["params"]] == [*before.values()]


def test_gradients_reach_parameters_in_their_own_format() -> None:
    model = small_model()
    apply_low_precision_layernorm(model)
    with torch.autocast("cpu", torch.bfloat16):
        model(torch.randn(3, 4)).float().square().sum().backward()
    assert model[1].weight.grad.dtype is torch.float32
    assert model[1].weight.grad.any()


def test_a_norm_without_parameters_or_without_bias_is_replaced_too() -> None:
    model = nn.Sequential(nn.LayerNorm(4, elementwise_affine=False), nn.LayerNorm(4, bias=False))
    apply_low_precision_layernorm(model)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(torch.randn(2, 4)).dtype is torch.bfloat16
    assert [type(each) for each in model] == [LPLayerNorm, LPLayerNorm]


def test_a_second_call_changes_nothing() -> None:
    model = small_model()
    apply_low_precision_layernorm(model)
    norm = model[1]
    apply_low_precision_layernorm(model)
    assert model[1] is norm


def test_a_layer_with_a_forward_pass_of_its_own_is_left_alone() -> None:
    model = nn.Sequential(WideNorm(4), nn.LayerNorm(4))
    apply_low_precision_layernorm(model)
    assert [type(each) for each in model] == [WideNorm, LPLayerNorm]


def test_in_float32_it_says_that_it_does_nothing() -> None:
    model = small_model()
    with pytest.warns(NoEffectWarning, match="precision='fp32'"):
        apply_low_precision_layernorm(model, "fp32")
    assert type(model[1]) is nn.LayerNorm


def test_nothing_to_replace_is_said() -> None:
    with pytest.warns(NoEffectWarning, match="looked for LayerNorm"):
        apply_low_precision_layernorm(nn.Sequential(nn.Linear(2, 2)))


@pytest.mark.parametrize("apply_at", ["init", "before_load", Event.AFTER_LOAD])
def test_it_acts_when_the_user_says(apply_at: str | Event) -> None:
    run = HandRun(LowPrecisionLayerNorm(apply_at), small_model())
    run.state.precision = "amp_bf16"
    for event in (Event.INIT, Event.BEFORE_LOAD, Event.AFTER_LOAD):
        run.run(event)
        assert isinstance(run.state.model[1], LPLayerNorm) or event is not Event(apply_at)
    assert isinstance(run.state.model[1], LPLayerNorm)


def test_another_event_is_refused() -> None:
    with pytest.raises(ConfigError, match="apply_at='fit_start'"):
        LowPrecisionLayerNorm(Event.FIT_START)


def test_it_comes_after_methods_that_bring_layers() -> None:
    methods = [LowPrecisionLayerNorm(), LowPrecisionGroupNorm()]
    assert list(sort_by_order(methods, Event.INIT)) == methods
    assert all(method.order > 1 for method in methods)


def test_it_acts_on_the_models_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=2, n_head=2, n_embd=8, vocab_size=11, n_positions=8)
    model = transformers.GPT2LMHeadModel(config)
    apply_low_precision_layernorm(model)
    assert sum(isinstance(each, LPLayerNorm) for each in model.modules()) == 5
    with torch.autocast("cpu", torch.bfloat16):
        assert model(torch.arange(4)[None]).logits.isfinite().all()
