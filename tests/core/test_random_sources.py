"""Generators that objects carry are found, read and restored, and draws are noticed."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from composer.checkpoint.plain import as_plain
from composer.core.random_sources import (
    find_generators,
    fingerprint,
    load_generator,
    read_generator,
)

GENERATORS = {
    "torch": (
        lambda: torch.Generator().manual_seed(1),
        lambda g: torch.rand(3, generator=g).tolist(),
    ),
    "numpy": (lambda: np.random.default_rng(1), lambda g: g.random(3).tolist()),
    "numpy's philox": (
        lambda: np.random.Generator(np.random.Philox(1)),
        lambda g: g.integers(9, size=3, dtype=np.int32).tolist(),
    ),
    "old numpy": (lambda: np.random.RandomState(1), lambda g: g.normal(size=3).tolist()),
    "python": (lambda: random.Random(1), lambda g: [g.gauss(0, 1) for _ in range(3)]),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_a_state_is_plain_and_goes_back(name: str, tmp_path: Any) -> None:
    make, draw = GENERATORS[name]
    generator: Any = make()
    draw(generator)
    torch.save(as_plain({"state": read_generator(generator)}), tmp_path / "state.pt")
    expected = draw(generator), draw(generator)
    other: Any = make()
    load_generator(other, torch.load(tmp_path / "state.pt")["state"])
    assert (draw(other), draw(other)) == expected


class Holder:
    def __init__(self, **parts: Any) -> None:
        vars(self).update(parts)


def test_generators_are_found_where_augmentations_keep_them() -> None:
    rng = random.Random(1)
    transforms = [Holder(rng=rng), Holder(transform=Holder(generator=torch.Generator()))]
    data = Holder(dataset=Holder(transforms=transforms, samples=[Holder(rng=rng)]), rng=rng)
    assert set(find_generators(data, "dataset")) == {
        "dataset.dataset.transforms.0.rng",
        "dataset.dataset.transforms.1.transform.generator",
        "dataset.rng",
    }
    assert find_generators(None, "dataset") == {}


@pytest.mark.parametrize("draw", [random.random, np.random.rand, lambda: torch.rand(())])
def test_a_draw_from_a_global_generator_is_noticed(draw: Any) -> None:
    before = fingerprint()
    assert fingerprint() == before
    draw()
    assert fingerprint() != before


def test_a_draw_from_a_generator_of_its_own_is_noticed() -> None:
    data = Holder(rng=np.random.default_rng(1))
    before = fingerprint(data)
    data.rng.random()
    assert fingerprint(data) != before
