"""The function of a method does what its class does."""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import composer.functional
from composer.algorithms.cutmix import cutmix_batch
from composer.algorithms.ema import EMA, compute_ema
from composer.algorithms.gradient_clipping import apply_gradient_clipping
from composer.algorithms.label_smoothing import smooth_labels
from composer.algorithms.mixup import mixup_batch
from composer.algorithms.progressive_resizing import resize_batch
from composer.core.event import Event
from composer.registry import ALGORITHMS
from tests.algorithms._runs import HandRun
from tests.contract._cases import Case, first_cases
from tests.contract._method_runs import tensors_of
from tests.contract._properties import LIMITS


def function_of(case: Case) -> Callable[..., Any] | None:
    """The one function of ``composer.functional`` that the method's module defines."""
    module = ALGORITHMS.get(case.name).__module__
    functions = [
        function
        for name in composer.functional.__all__
        if (function := getattr(composer.functional, name)).__module__ == module
    ]
    return functions[0] if functions else None


def assert_same(left: Any, right: Any) -> None:
    for a, b in zip(tensors_of(left), tensors_of(right), strict=True):
        torch.testing.assert_close(a, b)


def begun(case: Case) -> HandRun:
    torch.manual_seed(0)
    model = case.workload.model()
    torch.manual_seed(1)
    run = HandRun(case.make(), model)
    run.state.precision = case.keywords.get("precision", run.state.precision)
    return run


def arguments_of(function: Callable[..., Any], case: Case) -> dict[str, Any]:
    """What the case says of the function's parameters."""
    known = inspect.signature(function).parameters
    return {k: v for k, v in (case.arguments | case.keywords).items() if k in known}


def check_surgery(case: Case, function: Callable[..., Any]) -> None:
    by_class = begun(case)
    by_class.run(*(event for event in case.make().events if event is Event.INIT))
    torch.manual_seed(0)
    model = case.workload.model()
    torch.manual_seed(1)
    function(model, **arguments_of(function, case))
    assert_same(model.state_dict(), by_class.state.model.state_dict())
    batch = case.workload.batch()
    assert_same(model.eval()(batch), by_class.state.model.eval()(batch))


def check_batches(case: Case, function: Callable[..., Any]) -> None:
    run, batch = begun(case), case.workload.batch()
    run.state.batch = case.workload.batch()
    run.run(Event.AFTER_DATALOADER)
    torch.manual_seed(1)
    assert_same(run.state.batch[0], function(batch[0], **arguments_of(function, case)))


def check_resizing(case: Case, function: Callable[..., Any]) -> None:
    run, (images, labels) = begun(case), case.workload.batch()
    run.state.batch = (images, labels)
    run.run(Event.AFTER_DATALOADER)
    assert_same(run.state.batch, resize_batch(images, labels, 0.5))


def check_mixing(case: Case, function: Callable[..., Any]) -> None:
    run, (images, labels) = begun(case), case.workload.batch()
    run.state.batch = (images, labels)
    run.run(Event.BEFORE_FORWARD)
    torch.manual_seed(1)
    # The class draws the partners first.
    partners = torch.randperm(len(images))
    mixed = function(images, labels, indices=partners, **case.arguments)[0]
    assert_same(run.state.batch[0], mixed)


def check_smoothing(case: Case, function: Callable[..., Any]) -> None:
    run, (images, labels) = begun(case), case.workload.batch()
    run.loss((images, labels))
    expected = smooth_labels(run.state.outputs, labels, case.arguments["smoothing"])
    assert_same(run.batch_at_loss[1], expected)


def check_clipping(case: Case, function: Callable[..., Any]) -> None:
    run, batch = begun(case), case.workload.batch()
    run.loss(batch).backward()
    model = copy.deepcopy(run.state.model)
    for own, other in zip(model.parameters(), run.state.model.parameters(), strict=True):
        own.grad = None if other.grad is None else other.grad.clone()
    run.run(Event.AFTER_TRAIN_BATCH)
    apply_gradient_clipping(model, **case.arguments)
    assert_same(gradients(model), gradients(run.state.model))


def gradients(model: torch.nn.Module) -> list[Tensor]:
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


def check_averages(case: Case, function: Callable[..., Any]) -> None:
    run = begun(case)
    run.begin()
    average = copy.deepcopy(run.state.model)
    method = run.state.algorithms[0]
    assert isinstance(method, EMA)
    for _ in range(3):
        run.step(case.workload.batch())
        compute_ema(run.state.model, average, method.smoothing)
    shown = method.get_ema_model(copy.deepcopy(run.state.model))
    assert_same(list(shown.parameters()), list(average.parameters()))


CHECKS: dict[Callable[..., Any], Callable[[Case, Callable[..., Any]], None]] = {
    apply_gradient_clipping: check_clipping,
    compute_ema: check_averages,
    cutmix_batch: check_mixing,
    mixup_batch: check_mixing,
    resize_batch: check_resizing,
    smooth_labels: check_smoothing,
}


def check_of(
    function: Callable[..., Any], case: Case
) -> Callable[[Case, Callable[..., Any]], None] | None:
    """How a function is compared: by its name, where it is of a kind that many methods share."""
    if function in CHECKS:
        return CHECKS[function]
    _, *others = inspect.signature(function).parameters.values()
    needed = {each.name for each in others if each.default is inspect.Parameter.empty}
    if needed - arguments_of(function, case).keys():
        # The class takes them from the run.
        return None
    if function.__name__.startswith("apply_"):
        return check_surgery
    if function.__name__.endswith(("_batch", "_image")):
        return check_batches
    return None


@pytest.mark.parametrize("case", first_cases(), ids=str)
def test_the_function_does_what_the_class_does(case: Case) -> None:
    function = function_of(case)
    if function is None:
        assert (case.name, "function") in LIMITS
        return
    check = check_of(function, case)
    if check is None:
        # Compared in the method's own tests, which name the function.
        own = importlib.import_module(f"tests.algorithms.test_{function.__module__.split('.')[-1]}")
        assert function.__name__ in inspect.getsource(own)
        return
    check(case, function)
