"""The state of a run as a dict, and back."""

from __future__ import annotations

import io
from typing import Any, ClassVar

import pytest
import torch

from composer.core.algorithm import Algorithm
from composer.core.callback import Callback
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.required_algorithms import parse_call
from composer.core.state import State
from composer.devices.device_cpu import DeviceCPU
from composer.errors import CheckpointError, ConfigError
from composer.registry import ALGORITHMS


class Counter(Callback):
    def __init__(self, count: int = 0) -> None:
        self.count = count

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


class Widen(Algorithm):
    """Puts a layer in front, so that a model trained with it has more weights."""

    events: ClassVar = {Event.INIT: "widen"}

    def __init__(self, features: int = 4, scale: float = 1.0) -> None:
        self.features = features
        self.scale = scale

    @staticmethod
    def required_on_load() -> bool:
        return True

    def widen(self, state: State, logger: Logger) -> None:
        layer = torch.nn.Linear(self.features, self.features)
        state.model.insert(0, layer)
        if state.optimizers:
            state.optimizers[0].param_groups[0]["params"].extend(layer.parameters())


class Freeze(Widen):
    """Another required method."""


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ALGORITHMS, "_registered", {"Widen": Widen, "Freeze": Freeze})


def make_state(*, seed: int = 0, **kwargs: Any) -> State:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    kwargs.setdefault("optimizers", torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    return State(model, 17, "run", DeviceCPU(), max_duration="2ep", **kwargs)


def train(state: State, num_batches: int = 2) -> None:
    for _ in range(num_batches):
        state.model(torch.randn(3, 4)).square().mean().backward()
        for optimizer in state.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        state.timestamp = state.timestamp.to_next_batch(samples=3)


def init(state: State) -> Logger:
    logger = Logger(state)
    for algorithm in state.algorithms:
        algorithm.apply(Event.INIT, state, logger)
    return logger


def through_a_file(saved: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save({**saved, "timestamp": None}, file)
    file.seek(0)
    return {**torch.load(file, weights_only=True), "timestamp": saved["timestamp"]}


def load(state: State, saved: dict[str, Any], **kwargs: Any) -> None:
    state.load_state_dict(saved, Logger(state), **kwargs)


def test_the_layout_is_that_of_composers_checkpoints() -> None:
    state = make_state(callbacks=[Counter(1)], algorithms=[Widen()])
    train(state)
    saved = state.state_dict()
    assert set(saved) == {
        "model",
        "optimizers",
        "schedulers",
        "algorithms",
        "callbacks",
        "timestamp",
        "rank_zero_seed",
        "run_name",
        "dataset_state",
        "integrations",
        "metadata",
        # Ours: how far calls of fit had come, and the last batch's losses and metrics.
        "progress",
        "total_loss_dict",
        "train_metric_values",
    }
    names = {name for name, _ in state.model.named_parameters()}
    assert set(saved["optimizers"]["SGD"]["state"]) == names
    assert saved["optimizers"]["SGD"]["param_groups"][0]["params"][0] == "0.weight"
    assert saved["algorithms"][0][0] == "Widen"
    assert saved["timestamp"]["Timestamp"]["batch"] == 2
    assert saved["dataset_state"] == {"train": None, "eval": {}}
    assert saved["metadata"]["world_size"] == 1


def test_a_state_comes_back_as_it_was() -> None:
    first = make_state(callbacks=[Counter(5)])
    train(first)
    second = make_state(seed=1, callbacks=[Counter()])
    load(second, through_a_file(first.state_dict()), strict=True)
    assert second.timestamp == first.timestamp
    assert second.callbacks[0].count == 5
    for name, weight in first.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[name], weight)


def test_training_goes_on_to_the_bit() -> None:
    straight = make_state()
    torch.manual_seed(5)
    train(straight, 2)
    saved = through_a_file(straight.state_dict())
    torch.manual_seed(6)
    train(straight, 3)
    resumed = make_state(seed=1)
    load(resumed, saved, strict=True)
    torch.manual_seed(6)
    train(resumed, 3)
    for one, other in zip(straight.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_two_callbacks_of_a_class_keep_both_states() -> None:
    saved = make_state(callbacks=[Counter(1), Counter(2), Counter(3)]).state_dict()
    assert list(saved["callbacks"]) == ["Counter", "Counter_1", "Counter_2"]
    state = make_state(callbacks=[Counter(), Counter(), Counter()])
    load(state, saved)
    assert [callback.count for callback in state.callbacks] == [1, 2, 3]


def test_a_file_with_one_key_for_two_callbacks_still_loads_and_says_what_is_missing() -> None:
    saved = make_state(callbacks=[Counter(4)]).state_dict()
    state = make_state(callbacks=[Counter(), Counter(9)])
    with pytest.warns(UserWarning, match="no state of the callback 'Counter_1'"):
        load(state, saved)
    assert [callback.count for callback in state.callbacks] == [4, 9]


def test_named_optimizers_are_kept_under_their_names() -> None:
    def build(seed: int) -> State:
        state = make_state(seed=seed)
        first, second = state.model
        state.optimizers = {
            "body": torch.optim.SGD(first.parameters(), lr=0.1, momentum=0.9),
            "head": torch.optim.Adam(second.parameters(), lr=0.01),
        }
        return state

    state = build(0)
    train(state)
    saved = state.state_dict()
    assert set(saved["optimizers"]) == {"body", "head"}
    assert set(saved["optimizers"]["head"]["state"]) == {"1.weight", "1.bias"}
    other = build(1)
    load(other, saved)
    kept = other.named_optimizers["head"].state[other.model[1].weight]["exp_avg"]
    assert torch.equal(kept, state.named_optimizers["head"].state[state.model[1].weight]["exp_avg"])


def test_optimizer_state_follows_names_and_not_positions() -> None:
    state = make_state()
    train(state)
    other = make_state(seed=1)
    turned = list(other.model.parameters())[::-1]
    other.optimizers = torch.optim.SGD(turned, lr=0.5, momentum=0.1)
    load(other, state.state_dict())
    for name, parameter in other.model.named_parameters():
        expected = state.optimizers[0].state[state.model.get_parameter(name)]["momentum_buffer"]
        assert torch.equal(other.optimizers[0].state[parameter]["momentum_buffer"], expected)
    assert other.optimizers[0].param_groups[0]["lr"] == 0.1


def test_an_optimizer_keeps_the_number_format_of_its_state() -> None:
    state = make_state()
    train(state)
    saved = state.state_dict()
    other = make_state(seed=1)
    other.model.bfloat16()
    load(other, saved)
    buffer = other.optimizers[0].state[other.model[0].weight]["momentum_buffer"]
    assert buffer.dtype is torch.float32


def test_a_tied_parameter_is_kept_once_under_its_first_name() -> None:
    state = make_state()
    state.model[1] = state.model[0]
    state.optimizers = torch.optim.SGD(state.model.parameters(), lr=0.1, momentum=0.9)
    train(state)
    assert set(state.state_dict()["optimizers"]["SGD"]["state"]) == {"0.weight", "0.bias"}


def test_an_optimizer_over_other_parameters_is_refused() -> None:
    saved = make_state().state_dict()
    other = make_state()
    other.optimizers = torch.optim.SGD(other.model[0].parameters(), lr=0.1)
    with pytest.raises(CheckpointError, match=r"only there \['1.bias', '1.weight'\]"):
        load(other, saved)


def test_a_state_keyed_by_position_loads_by_position() -> None:
    state = make_state()
    train(state)
    saved = state.state_dict()
    saved["optimizers"]["SGD"] = state.optimizers[0].state_dict()
    other = make_state(seed=1)
    load(other, saved)
    assert torch.equal(
        other.optimizers[0].state[other.model[1].bias]["momentum_buffer"],
        state.optimizers[0].state[state.model[1].bias]["momentum_buffer"],
    )


def test_an_optimizer_that_has_no_state_in_the_file_warns() -> None:
    saved = make_state().state_dict()
    other = make_state()
    other.optimizers = torch.optim.Adam(other.model.parameters())
    with pytest.warns(UserWarning, match="no state of the optimizer 'Adam'"):
        load(other, saved)


def test_strict_refuses_a_model_of_other_weights() -> None:
    saved = make_state().state_dict()
    saved["model"] = dict(saved["model"])
    saved["model"]["extra"] = saved["model"].pop("1.bias")
    with pytest.raises(CheckpointError, match=r"not in the checkpoint \['1.bias'\], only there"):
        load(make_state(), saved, strict=True)


def test_without_strict_what_fits_is_loaded() -> None:
    state = make_state(seed=3)
    saved = state.state_dict()
    saved["model"] = dict(saved["model"])
    del saved["model"]["1.bias"]
    other = make_state(seed=4)
    before = other.model[1].bias.clone()
    load(other, saved, strict=False)
    assert torch.equal(other.model[0].weight, state.model[0].weight)
    assert torch.equal(other.model[1].bias, before)


def test_the_runs_own_name_is_kept_and_the_saved_seed_taken() -> None:
    saved = make_state().state_dict()
    saved["rank_zero_seed"] = 99
    other = make_state()
    other.run_name = "mine"
    load(other, saved)
    assert (other.run_name, other.rank_zero_seed) == ("mine", 99)


def test_a_found_microbatch_size_is_used_again_where_it_is_looked_for() -> None:
    saved = make_state(device_train_microbatch_size=4).state_dict()
    automatic = make_state(device_train_microbatch_size=64, auto_microbatching=True)
    load(automatic, saved)
    assert automatic.device_train_microbatch_size == 4
    fixed = make_state(device_train_microbatch_size=64)
    load(fixed, saved)
    assert fixed.device_train_microbatch_size == 64


def test_an_error_in_a_plug_in_names_the_plug_in() -> None:
    saved = make_state(callbacks=[Counter(1)]).state_dict()
    saved["callbacks"]["Counter"] = {}
    with pytest.raises(KeyError) as caught:
        load(make_state(callbacks=[Counter()]), saved)
    assert "Counter" in caught.value.__notes__[0]


def test_metrics_are_kept_on_request_only() -> None:
    from torchmetrics.classification import MulticlassAccuracy

    state = make_state(save_metrics=True)
    metric = MulticlassAccuracy(num_classes=2, average="micro")
    state.eval_metrics = {"eval": {"accuracy": metric}}
    metric.update(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]))
    other = make_state(save_metrics=True)
    other.eval_metrics = {"eval": {"accuracy": MulticlassAccuracy(num_classes=2, average="micro")}}
    load(other, through_a_file(state.state_dict()))
    assert other.eval_metrics["eval"]["accuracy"].compute() == metric.compute()
    state.save_metrics = False
    assert "eval_metrics" not in state.state_dict()


def test_a_model_may_say_what_other_libraries_need() -> None:
    state = make_state()
    state.model.checkpoint_integrations = lambda: {"other": {"version": 1}}
    assert state.state_dict()["integrations"] == {"other": {"version": 1}}


def test_a_required_method_is_made_from_its_name_and_arguments() -> None:
    state = make_state(algorithms=[Widen(features=4, scale=0.5)])
    init(state)
    saved = through_a_file(state.state_dict())
    other = make_state()
    with pytest.warns(UserWarning, match="trained with Widen"):
        load(other, saved, strict=True)
    assert [type(algorithm) for algorithm in other.algorithms] == [Widen]
    assert other.algorithms[0].scale == 0.5
    assert len(other.model) == 3


def test_an_old_file_that_holds_only_a_repr_is_read_and_not_run() -> None:
    state = make_state(algorithms=[Widen()])
    init(state)
    saved = state.state_dict()
    saved["algorithms"] = [("Widen", {"repr": "Widen(features=4,scale=0.25)"})]
    other = make_state()
    with pytest.warns(UserWarning, match="trained with Widen"):
        load(other, saved, strict=True)
    assert other.algorithms[0].scale == 0.25


@pytest.mark.parametrize(
    "text",
    [
        "Widen(features=__import__('os').getpid())",
        "Widen(**{'features': 1})",
        "Other(features=1)",
        "Widen(1)",
        "Widen",
        "<Widen object at 0x7f>",
    ],
)
def test_a_repr_that_is_more_than_a_call_with_literals_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no call of 'Widen'"):
        parse_call(text, "Widen")


def test_a_required_method_that_cannot_be_made_is_refused_with_advice() -> None:
    saved = make_state().state_dict()
    saved["algorithms"] = [("Widen", {"repr": "<Widen object at 0x7f>"})]
    with pytest.raises(CheckpointError, match="load_exclude_algorithms"):
        load(make_state(), saved)


def test_an_excluded_method_is_not_made() -> None:
    state = make_state(algorithms=[Widen()])
    saved = state.state_dict()
    other = make_state()
    load(other, saved, exclude_algorithms=["Widen"])
    assert other.algorithms == []


def test_a_present_method_with_other_arguments_warns() -> None:
    state = make_state(algorithms=[Widen(scale=0.5)])
    init(state)
    other = make_state(algorithms=[Widen(scale=2.0)])
    init(other)
    with pytest.warns(UserWarning, match="is loaded with"):
        load(other, state.state_dict())
    assert len(other.algorithms) == 1


def test_a_method_that_should_have_acted_before_a_present_one_is_refused() -> None:
    state = make_state(algorithms=[Freeze(), Widen()])
    init(state)
    other = make_state(algorithms=[Widen()])
    init(other)
    with pytest.raises(ConfigError, match="must act before Widen"):
        load(other, state.state_dict())


def test_a_method_that_acted_after_a_present_one_is_added() -> None:
    state = make_state(algorithms=[Widen(), Freeze()])
    init(state)
    other = make_state(algorithms=[Widen()])
    init(other)
    with pytest.warns(UserWarning, match="trained with Freeze"):
        load(other, state.state_dict(), strict=True)
    assert [type(algorithm) for algorithm in other.algorithms] == [Widen, Freeze]


def test_algorithms_saved_in_a_mapping_still_load() -> None:
    state = make_state(algorithms=[Widen()])
    init(state)
    saved = state.state_dict()
    saved["algorithms"] = dict(saved["algorithms"])
    other = make_state(algorithms=[Widen()])
    init(other)
    load(other, saved, strict=True)
    assert len(other.algorithms) == 1
