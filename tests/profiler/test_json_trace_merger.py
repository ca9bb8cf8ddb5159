"""How traces of several files become one."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from composer.errors import DataError
from composer.profiler.json_trace_merger import OFFSET_KEY, merge_traces


def write(path: Path, events: list[dict[str, Any]], **more: Any) -> Path:
    path.write_text(json.dumps({"traceEvents": events, **more}), "utf-8")
    return path


def test_times_are_put_on_one_clock(tmp_path: Path) -> None:
    early = write(
        tmp_path / "a.json", [{"name": "a", "ts": 5.0, "pid": 0}], baseTimeNanoseconds=1_000_000
    )
    late = write(
        tmp_path / "b.json",
        [{"name": "b", "ts": 1.0, "pid": 0}],
        **{"baseTimeNanoseconds": 1_010_000, OFFSET_KEY: 2_000},
    )
    merge_traces(tmp_path / "out.json", early, late)
    trace = json.loads((tmp_path / "out.json").read_text("utf-8"))
    times = {each["name"]: each.get("ts") for each in trace["traceEvents"]}
    assert times["a"] == 5.0
    assert times["b"] == 1.0 + 8.0
    assert trace["baseTimeNanoseconds"] == 1_000_000


def test_processes_and_arrows_of_two_files_do_not_mix(tmp_path: Path) -> None:
    events = [
        {"name": "x", "ts": 0, "pid": 7},
        {"name": "f", "ph": "s", "id": 1, "ts": 0, "pid": 7},
    ]
    files = [write(tmp_path / f"{name}.json", events) for name in "ab"]
    merge_traces(tmp_path / "out.json", *files)
    merged = json.loads((tmp_path / "out.json").read_text("utf-8"))["traceEvents"]
    assert len({each["pid"] for each in merged if each["name"] == "x"}) == 2
    assert len({each["id"] for each in merged if each["name"] == "f"}) == 2


def test_compressed_files_and_bare_lists_are_read_and_the_output_may_be_an_input(
    tmp_path: Path,
) -> None:
    zipped = tmp_path / "a.json.gz"
    with gzip.open(zipped, "wt") as file:
        json.dump([{"name": "zipped", "ts": 0, "pid": 1}], file)
    out = write(tmp_path / "out.json", [{"name": "before", "ts": 0, "pid": 1}])
    merge_traces(out, out, zipped)
    names = {each["name"] for each in json.loads(out.read_text("utf-8"))["traceEvents"]}
    assert {"zipped", "before"} <= names


@pytest.mark.parametrize("text", ["{", "{}", "3"])
def test_a_file_that_is_no_trace_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(text, "utf-8")
    with pytest.raises(DataError, match=r"odd\.json"):
        merge_traces(tmp_path / "out.json", path)
