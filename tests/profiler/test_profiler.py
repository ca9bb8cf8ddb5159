"""The profiler in a run: what is recorded when, and what the files hold."""

from __future__ import annotations

import gzip
import json
import pickle
import time
from pathlib import Path
from typing import Any

import pytest

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.distributed import comm
from composer.errors import ConfigError, StateError
from composer.profiler.json_trace_handler import JSONTraceHandler
from composer.profiler.marker import Marker
from composer.profiler.profiler import Profiler
from composer.profiler.profiler_action import ProfilerAction
from composer.profiler.profiler_schedule import cyclic_schedule
from composer.profiler.trace_handler import TraceHandler
from tests._dist import run_ranks
from tests.callbacks.test_checkpoint_saver import Files
from tests.core._doubles import make_state
from tests.trainer._runs import assert_same, loader, make_trainer, weights_of

SKIP, WARMUP, ACTIVE, SAVE = ProfilerAction


class Notes(TraceHandler):
    """Keeps what is recorded."""

    def __init__(self) -> None:
        self.notes: list[tuple[Any, ...]] = []

    def process_duration_event(
        self, name: str, categories: Any, is_start: bool, timestamp: Any, wall_clock_time_ns: int
    ) -> None:
        self.notes.append(("start" if is_start else "end", name, timestamp.batch.value))

    def process_instant_event(
        self, name: str, categories: Any, timestamp: Any, wall_clock_time_ns: int
    ) -> None:
        self.notes.append(("instant", name, tuple(categories)))

    def process_counter_event(
        self, name: str, categories: Any, timestamp: Any, wall_clock_time_ns: int, values: Any
    ) -> None:
        self.notes.append(("counter", name, values))


def bare(schedule: Any, *handlers: TraceHandler) -> Profiler:
    """Return a profiler without PyTorch's and without the system's."""
    return Profiler(
        schedule, handlers, sys_prof_cpu=False, torch_prof_profile_memory=False,
        torch_prof_with_flops=False,
    )  # fmt: skip


def actions(schedule: Any, batches: int, length: int | None = None) -> list[ProfilerAction]:
    state = make_state(dataloader=range(length) if length else iter([]))
    found = []
    for _ in range(batches):
        found.append(schedule(state))
        state.timestamp = state.timestamp.to_next_batch(1)
    return found


def test_cycles_wait_warm_up_and_record() -> None:
    schedule = cyclic_schedule(skip_first=1, wait=1, warmup=1, active=2, repeat=1)
    assert actions(schedule, 7) == [SKIP, SKIP, WARMUP, ACTIVE, SAVE, SKIP, SKIP]


def test_cycles_repeat_and_without_a_number_for_ever() -> None:
    cycle = [WARMUP, SAVE]
    assert actions(cyclic_schedule(warmup=1, active=1, repeat=2), 6) == [*cycle, *cycle, SKIP, SKIP]
    assert actions(cyclic_schedule(warmup=1, active=1, repeat=0), 6) == cycle * 3


def test_what_the_epochs_end_cuts_off_is_saved() -> None:
    schedule = cyclic_schedule(warmup=1, active=10)
    assert actions(schedule, 4, length=4) == [WARMUP, ACTIVE, ACTIVE, SAVE]


def test_after_a_resumption_cycles_begin_where_it_goes_on() -> None:
    profiler = bare(cyclic_schedule(warmup=1, active=2))
    state = make_state(dataloader=iter([]))
    state.timestamp = state.timestamp.to_next_batch(1).to_next_batch(1)
    state.profiler = profiler
    profiler.bind_to_state(state)
    profiler.after_load(state, Logger(state))
    found = []
    for _ in range(4):
        found.append(profiler.schedule(state))
        state.timestamp = state.timestamp.to_next_batch(1)
    assert found == [WARMUP, ACTIVE, SAVE, SKIP]


@pytest.mark.parametrize(
    "arguments", [{"active": 0}, {"warmup": -1}, {"skip_first": -1}, {"wait": -1}, {"repeat": -1}]
)
def test_a_schedule_that_cannot_work_is_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        cyclic_schedule(**arguments)


# Markers.


def marker(notes: Notes, is_on: list[bool], **arguments: Any) -> Marker:
    given = {"record_instant_on_start": False, "record_instant_on_finish": False, **arguments}
    return Marker(make_state(), lambda state: is_on[0], [notes], "work", categories=("c",), **given)


def test_a_marker_is_a_context_a_decorator_and_methods() -> None:
    notes = Notes()
    mark = marker(notes, [True])

    @mark
    def function(value: int) -> int:
        """Return it."""
        return value

    with mark:
        assert function(3) == 3
    mark.instant()
    mark.counter({"n": 2})
    span = [("start", "work", 0), ("end", "work", 0)]
    assert notes.notes == [
        span[0], *span, span[1], ("instant", "work", ("c",)), ("counter", "work", {"n": 2}),
    ]  # fmt: skip
    assert function.__doc__ == "Return it."


def test_records_follow_the_clock_of_the_system_when_that_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Times(Notes):
        def process_duration_event(
            self,
            name: str,
            categories: Any,
            is_start: bool,
            timestamp: Any,
            wall_clock_time_ns: int,
        ) -> None:
            self.notes.append((wall_clock_time_ns,))

    times = Times()
    mark = marker(times, [True])
    monkeypatch.setattr(time, "time_ns", lambda: 7_000)
    with mark:
        monkeypatch.setattr(time, "time_ns", lambda: 8_000)
    assert times.notes == [(7_000,), (8_000,)]


def test_moments_can_be_recorded_at_both_ends() -> None:
    notes = Notes()
    with marker(notes, [True], record_instant_on_start=True, record_instant_on_finish=True):
        pass
    assert [kind for kind, *_ in notes.notes] == ["instant", "start", "end", "instant"]


def test_a_span_is_recorded_whole_or_not_at_all() -> None:
    notes, is_on = Notes(), [False]
    mark = marker(notes, is_on)
    mark.start()
    is_on[0] = True
    mark.finish()
    assert notes.notes == []
    mark.start()
    is_on[0] = False
    mark.finish()
    assert [kind for kind, *_ in notes.notes] == ["start", "end"]
    mark.finish()  # one too many is no harm
    assert len(notes.notes) == 2


# In a run.


class Doubling(Callback):
    def before_forward(self, state: State, logger: Logger) -> None:
        pass


def test_events_and_plugins_are_spans_of_the_batches_that_are_recorded() -> None:
    notes = Notes()
    profiler = bare(cyclic_schedule(skip_first=1, warmup=0, active=1), notes)
    trainer = make_trainer(profiler=profiler, callbacks=Doubling())
    trainer.fit()
    trainer.close()
    spans = [name for kind, name, _ in notes.notes if kind == "start"]
    for name in ("batch", "train_batch", "forward", "loss", "backward", "dataloader"):
        assert spans.count(f"event/{name}") == 1, name
    assert spans.count("Doubling/before_forward") == 1
    assert {batch for kind, _, batch in notes.notes if kind == "start"} == {1}
    # What is opened is closed, in order.
    stack: list[str] = []
    for kind, name, _ in notes.notes:
        stack.append(name) if kind == "start" else None
        assert kind == "start" or stack.pop() == name
    assert stack == []


def test_profiling_does_not_change_what_is_trained(tmp_path: Path) -> None:
    plain, profiled = make_trainer(), make_trainer(profiler=whole(tmp_path))
    plain.fit()
    profiled.fit()
    assert_same(weights_of(plain), weights_of(profiled))
    profiled.eval(loader())
    profiled.predict(loader())
    profiled.fit(duration="1ep")
    profiled.close()


def test_a_profiler_hands_out_markers_only_in_a_run_and_has_one_run() -> None:
    profiler = bare(cyclic_schedule(), Notes())
    with pytest.raises(StateError, match="give it to the Trainer"):
        profiler.marker("early")
    profiler.bind_to_state(make_state())
    profiler.marker("now", actions=[ProfilerAction.ACTIVE])
    with pytest.raises(StateError, match="has a run already"):
        profiler.bind_to_state(make_state())


def test_handlers_added_later_get_what_markers_record() -> None:
    profiler = bare(cyclic_schedule())
    profiler.bind_to_state(make_state())
    profiler.action = ProfilerAction.ACTIVE
    mark, notes = profiler.marker("m"), Notes()
    profiler.trace_handlers = [notes]
    mark.instant()
    assert notes.notes == [("instant", "m", ())]


def test_it_and_what_it_is_made_of_can_be_pickled(tmp_path: Path) -> None:
    profiler = whole(tmp_path, schedule=always)
    trainer = make_trainer(profiler=profiler)
    trainer.fit()
    trainer.close()
    for callback in (profiler, *profiler._bound, *profiler.trace_handlers):
        assert vars(pickle.loads(pickle.dumps(callback))).keys() == vars(callback).keys()


def always(state: State) -> ProfilerAction:
    return ProfilerAction.ACTIVE_AND_SAVE


def whole(folder: Path, **arguments: Any) -> Profiler:
    """Return a profiler that records everything."""
    given = {
        "schedule": cyclic_schedule(warmup=1, active=2),
        "trace_handlers": JSONTraceHandler(folder=str(folder / "traces")),
        "sys_prof_memory": True,
        "sys_prof_disk": True,
        "sys_prof_net": True,
        "sys_prof_stats_thread_interval_seconds": 0.02,
        "torch_prof_folder": str(folder / "torch"),
        **arguments,
    }
    return Profiler(**given)


def read(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text("utf-8"))["traceEvents"]


def test_a_run_leaves_its_own_trace_pytorchs_and_both_together(tmp_path: Path) -> None:
    files = Files()
    trainer = make_trainer(profiler=whole(tmp_path), loggers=files, run_name="a-run")
    trainer.fit()
    trainer.close()
    own = read(tmp_path / "traces" / "ep0-ba3-rank0.json")
    torchs = read(tmp_path / "torch" / "rank0.3.pt.trace.json")
    merged = read(tmp_path / "traces" / "merged_trace.json")
    names = {each["name"] for each in own}
    assert {"event/forward", "batch 1", "batch 2"} <= names
    assert any(each["name"] == "aten::addmm" for each in torchs)
    together = {each["name"] for each in merged}
    assert {"event/forward", "aten::addmm", "composer, rank 0"} <= together | {
        each["args"]["name"] for each in merged if each["name"] == "process_name"
    }
    assert set(files.contents) == {
        "a-run/traces/ep0-ba3-rank0.json",
        "a-run/traces/merged_trace.json",
        "a-run/torch_traces/rank0.3.pt.trace.json",
    }


def test_pytorchs_operations_lie_inside_the_spans_of_the_loop(tmp_path: Path) -> None:
    trainer = make_trainer(profiler=whole(tmp_path))
    trainer.fit()
    merged = read(tmp_path / "traces" / "merged_trace.json")
    begin = next(e["ts"] for e in merged if e["name"] == "event/forward" and e["ph"] == "B")
    forwards = [e["ts"] for e in merged if e["name"] == "event/forward" and e["ph"] == "E"]
    products = [e["ts"] for e in merged if e["name"] == "aten::addmm"]
    assert products
    assert all(begin <= at <= forwards[-1] for at in products)


def test_only_the_newest_traces_are_kept(tmp_path: Path) -> None:
    handler = JSONTraceHandler(folder=str(tmp_path / "traces"), num_traces_to_keep=1)
    profiler = whole(
        tmp_path, schedule=cyclic_schedule(warmup=0, active=1, repeat=3), trace_handlers=handler,
        torch_prof_num_traces_to_keep=2, torch_prof_use_gzip=True,
    )  # fmt: skip
    make_trainer(profiler=profiler).fit()
    assert {path.name for path in (tmp_path / "traces").iterdir()} == {
        "ep0-ba3-rank0.json",
        "merged_trace.json",
    }
    kept = sorted(path.name for path in (tmp_path / "torch").iterdir())
    assert kept == ["rank0.2.pt.trace.json.gz", "rank0.3.pt.trace.json.gz"]
    with gzip.open(tmp_path / "torch" / kept[0], "rt") as file:
        assert json.load(file)["traceEvents"]
    merged = read(tmp_path / "traces" / "merged_trace.json")
    assert {"batch 0", "batch 1", "batch 2"} <= {each["name"] for each in merged}


def test_another_runs_traces_are_not_replaced_unless_allowed(tmp_path: Path) -> None:
    make_trainer(profiler=whole(tmp_path)).fit()
    with pytest.raises(FileExistsError):
        make_trainer(profiler=whole(tmp_path)).fit()
    handler = JSONTraceHandler(folder=str(tmp_path / "traces"), overwrite=True)
    again = whole(tmp_path, trace_handlers=handler, torch_prof_overwrite=True)
    make_trainer(profiler=again).fit()


def test_a_page_shows_memory_over_time(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    profiler = whole(
        tmp_path, torch_prof_memory_filename="memory.html", torch_prof_record_shapes=True,
        torch_prof_with_stack=True,
    )  # fmt: skip
    make_trainer(profiler=profiler).fit()
    page = (tmp_path / "torch" / "memory.html").read_text("utf-8")
    assert "data:image/png;base64,iVBOR" in page


def profile_on_two_ranks(folder: str) -> None:
    data = loader(sampler=comm.get_sampler(loader().dataset), batch_size=2)
    trainer = make_trainer(profiler=whole(Path(folder)), train_dataloader=data)
    trainer.fit()
    trainer.close()


def test_ranks_are_merged_into_one_trace(tmp_path: Path) -> None:
    run_ranks(2, profile_on_two_ranks, str(tmp_path), timeout_s=120)
    merged = read(tmp_path / "traces" / "merged_trace.json")
    names = {e["pid"]: e["args"]["name"] for e in merged if e["name"] == "process_name"}
    own = {pid: name for pid, name in names.items() if name.startswith("composer")}
    assert sorted(own.values()) == ["composer, rank 0", "composer, rank 1"]
    starts = {
        pid: [e["ts"] for e in merged if e["pid"] == pid and e["name"] == "event/train_batch"]
        for pid in own
    }
    first, second = starts.values()
    # Ranks go through the same batch together: on one clock that shows.
    assert abs(first[0] - second[0]) < 5e6
    assert sum(e["name"] == "aten::addmm" for e in merged) > 4
