from __future__ import annotations

import pytest
import torch

from composer.core.precision import Precision, check_precision, get_precision_context
from composer.errors import ConfigError


def product_type(precision: str, **kwargs: str) -> torch.dtype:
    left, right = torch.ones(2, 2), torch.ones(2, 2)
    with get_precision_context(precision, **kwargs):
        return (left @ right).dtype


def test_fp32_computes_in_32_bits() -> None:
    assert product_type("fp32") is torch.float32


def test_amp_bf16_multiplies_in_bfloat16_on_the_cpu() -> None:
    assert product_type("amp_bf16", device_type="cpu") is torch.bfloat16


def test_a_context_ends_where_it_is_left() -> None:
    product_type("amp_bf16", device_type="cpu")
    assert not torch.is_autocast_enabled("cpu")


def test_the_context_follows_the_device_that_was_chosen() -> None:
    context = get_precision_context(Precision.AMP_BF16, device_type="cpu")
    assert isinstance(context, torch.autocast)
    assert context.device == "cpu"


def test_an_unknown_precision_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'bf16'.*'amp_bf16'"):
        get_precision_context("bf16")


@pytest.mark.parametrize("precision", ["amp_fp16", "amp_fp8"])
@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_what_a_device_cannot_do_is_refused_with_what_it_can(precision: str, device: str) -> None:
    with pytest.raises(ConfigError, match=rf"'{precision}'.*'{device}'.*'fp32', 'amp_bf16'"):
        check_precision(Precision(precision), device)


@pytest.mark.parametrize("precision", ["fp32", "amp_bf16"])
def test_what_the_cpu_can_do_is_accepted(precision: str) -> None:
    check_precision(Precision(precision), "cpu")


def test_float8_needs_a_gpu_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    with pytest.raises(ConfigError, match=r"8\.9 or newer, this one has 8\.0"):
        check_precision(Precision.AMP_FP8, "cuda")


def test_float8_needs_torchao(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setitem(__import__("sys").modules, "torchao.float8", None)
    with pytest.raises(ImportError, match="pip install"):
        check_precision(Precision.AMP_FP8, "cuda")
