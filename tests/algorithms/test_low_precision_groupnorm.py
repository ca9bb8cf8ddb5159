import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from composer.algorithms.low_precision_groupnorm import (
    LowPrecisionGroupNorm,
    LPGroupNorm,
    apply_low_precision_groupnorm,
)
from composer.core.event import Event
from composer.errors import ConfigError
from composer.utils.warnings import NoEffectWarning
from tests.algorithms._runs import HandRun


def small_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4, eps=1e-3))


def test_it_rounds_inputs_and_parameters_to_the_autocasts_format() -> None:
    # Wu and He 2018, section 3, of what was rounded to bfloat16.
    model = small_model()
    apply_low_precision_groupnorm(model)
    norm, x = model[1], torch.randn(2, 4, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        got = norm(x)
    half = torch.bfloat16
    expected = F.group_norm(x.to(half), 2, norm.weight.to(half), norm.bias.to(half), 1e-3)
    assert got.dtype is half
    assert torch.equal(got, expected)


def test_without_autocast_it_is_torchs_own() -> None:
    model = small_model()
    before, x = copy.deepcopy(model), torch.randn(2, 3, 5, 5)
    apply_low_precision_groupnorm(model)
    assert torch.equal(model(x), before(x))


def test_parameters_stay_the_objects_the_optimizer_has() -> None:
    model = small_model()
    before = list(model.parameters())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    apply_low_precision_groupnorm(model, "amp_bf16", optimizer)
    assert all(a is b for a, b in zip(model.parameters(), before, strict=True))
    assert optimizer.param_groups[0]["params"] == before


def test_a_norm_without_parameters_is_replaced_too() -> None:
    model = nn.Sequential(nn.GroupNorm(2, 4, affine=False))
    apply_low_precision_groupnorm(model)
    assert type(model[0]) is LPGroupNorm
    with torch.autocast("cpu", torch.bfloat16):
        assert model(torch.randn(2, 4, 3)).dtype is torch.bfloat16


def test_in_float32_it_says_that_it_does_nothing() -> None:
    with pytest.warns(NoEffectWarning, match="precision='fp32'"):
        apply_low_precision_groupnorm(small_model(), "fp32")


def test_nothing_to_replace_is_said() -> None:
    with pytest.warns(NoEffectWarning, match="looked for GroupNorm"):
        apply_low_precision_groupnorm(nn.Sequential(nn.Linear(2, 2)))


def test_the_class_does_what_the_function_does() -> None:
    run = HandRun(LowPrecisionGroupNorm("after_load"), small_model())
    run.state.precision = "amp_bf16"
    run.run(Event.INIT)
    assert type(run.state.model[1]) is nn.GroupNorm
    run.run(Event.BEFORE_LOAD, Event.AFTER_LOAD)
    assert type(run.state.model[1]) is LPGroupNorm


def test_another_event_is_refused() -> None:
    with pytest.raises(ConfigError, match="apply_at='batch_end'"):
        LowPrecisionGroupNorm("batch_end")
