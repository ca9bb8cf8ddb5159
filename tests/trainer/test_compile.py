from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.trainer._runs import (
    assert_close,
    classifier,
    fitted,
    loader,
    norm_classifier,
    sgd,
    weights_of,
)

CONFIG = {"backend": "aot_eager"}


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def train(config: dict[str, Any] | None) -> Any:
    model = norm_classifier()
    return fitted(
        model=model,
        optimizers=sgd(model, momentum=0.9),
        eval_dataloader=loader(8),
        max_duration="2ep",
        compile_config=config,
    )


def test_a_compiled_model_trains_to_the_same_weights_under_the_same_names() -> None:
    plain, expected, _ = train(None)
    compiled, losses, _ = train(CONFIG)
    assert losses == pytest.approx(expected, rel=1e-5)
    assert_close(weights_of(compiled), weights_of(plain))


def test_the_forward_pass_is_compiled() -> None:
    counted: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        counted.append(len(inputs))
        return graph.forward

    model = classifier()
    fitted(model=model, optimizers=sgd(model), compile_config={"backend": backend})
    assert counted


def test_a_compiled_model_can_be_copied() -> None:
    trainer, _, _ = train(CONFIG)
    twin = copy.deepcopy(trainer.state.model)
    assert twin.state_dict().keys() == trainer.state.model.state_dict().keys()
    assert twin.logger is None


def test_arguments_of_the_compiler_are_checked_at_construction() -> None:
    with pytest.raises(TypeError, match="bakend"):
        train({"bakend": "aot_eager"})
