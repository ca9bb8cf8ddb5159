"""Copies that training cannot change."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import torch

from composer.checkpoint.staging import StagingArea


def test_what_is_copied_does_not_change_with_the_original() -> None:
    original: dict[str, Any] = {
        "weight": torch.ones(3),
        "list": [1, {"deep": torch.zeros(2)}],
        "pair": (torch.ones(1), "x"),
        "array": np.ones(2),
        "set": {1, 2},
    }
    copied = StagingArea().stage(original).contents
    original["weight"].zero_()
    original["list"][1]["deep"] += 1
    original["list"].append(2)
    original["pair"][0].zero_()
    original["array"][0] = 0
    original["set"].add(3)
    assert copied["weight"].tolist() == [1, 1, 1]
    assert copied["list"][1]["deep"].tolist() == [0, 0]
    assert len(copied["list"]) == 2
    assert copied["pair"][0].item() == 1
    assert copied["array"].tolist() == [1, 1]
    assert copied["set"] == {1, 2}


def test_the_next_copy_reuses_the_memory_of_the_last() -> None:
    area = StagingArea()
    tensors = {"a": torch.randn(50), "b": torch.randn(50), "c": torch.arange(7)}
    first = area.stage(tensors).contents
    places = {first[name].data_ptr() for name in tensors}
    tensors["a"].fill_(5)
    second = area.stage(tensors).contents
    assert {second[name].data_ptr() for name in tensors} == places
    assert second["a"].tolist() == [5] * 50
    assert area.size_bytes == 50 * 4 * 2 + 7 * 8


def test_memory_of_a_state_that_has_changed_shape_is_given_back() -> None:
    area = StagingArea()
    area.stage({"a": torch.randn(1000)})
    area.stage({"a": torch.randn(10)})
    assert area.size_bytes == 40


def test_tensors_that_are_the_same_memory_stay_so() -> None:
    weight = torch.randn(4)
    copied = StagingArea().stage({"a": weight, "b": weight.detach(), "c": weight[:2]}).contents
    assert copied["a"] is copied["b"]
    assert copied["c"].data_ptr() != copied["a"].data_ptr()
    assert copied["c"].untyped_storage().nbytes() == 8


def test_values_and_order_of_memory_are_kept() -> None:
    area = StagingArea()
    image = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    cases = [image, torch.randn(4, 6).t(), torch.randn(6)[::2], torch.tensor(3.0), torch.empty(0)]
    cases += [torch.randn(3, 1).expand(3, 4), torch.randn(2, dtype=torch.bfloat16)]
    for case, copied in zip(cases, area.stage(cases).contents, strict=True):
        assert torch.equal(case, copied)
        assert case.dtype == copied.dtype
    assert area.stage([image]).contents[0].is_contiguous(memory_format=torch.channels_last)


def test_versions_that_modules_note_in_their_weights_survive() -> None:
    weights = torch.nn.BatchNorm1d(2).state_dict()
    copied = StagingArea().stage({"model": weights}).contents["model"]
    assert isinstance(copied, OrderedDict)
    assert copied._metadata[""]["version"] == 2  # pyright: ignore[reportAttributeAccessIssue]
    assert copied["weight"].data_ptr() != weights["weight"].data_ptr()


def test_the_copy_does_not_ask_for_gradients() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    copied = StagingArea().stage([weight]).contents[0]
    assert not copied.requires_grad
