"""Ablations are run whole, by the budget, and go on where they were stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn", reason="the digits come from scikit-learn")
pytest.importorskip("scipy", reason="intervals need the extra 'ablation'")

from composer.ablation.arms import Arm
from composer.ablation.report import Report
from composer.ablation.runner import Ablation, ablate
from composer.algorithms.label_smoothing import LabelSmoothing
from composer.errors import ArgumentTypeError, ConfigError
from composer.loggers.in_memory_logger import InMemoryLogger
from tests.ablation._runs import METRIC, Fails, NoiseOnly, make_trainer


def run(folder: Path, methods: Any = (NoiseOnly,), make: Any = make_trainer, **more: Any) -> Report:
    given = {"metric": METRIC, "seeds": 2, "folder": folder, "say": None} | more
    return ablate(make, methods, **given)


def test_a_method_that_hurts_is_said_to_hurt(tmp_path: Path) -> None:
    report = run(tmp_path, seeds=5, target=0.4)
    off, noise = report.rows
    assert off.final > 0.5 > 0.2 > noise.final
    assert noise.gain.mean == pytest.approx(noise.final - off.final)
    assert noise.gain.high < 0
    assert noise.p_holm < 0.01
    assert all(seconds > 0 for seconds in off.to_target)
    assert report.warnings == []


def test_a_name_reaches_the_users_function(tmp_path: Path) -> None:
    report = run(tmp_path, ["hot"])
    assert report.rows[1].final > report.rows[0].final + 0.02


def test_report_plot_and_records_are_on_disk(tmp_path: Path) -> None:
    report = run(tmp_path, [LabelSmoothing(0.1), "hot"])
    saved = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert [row["arm"] for row in saved["rows"]] == ["off", "+ LabelSmoothing", "+ hot", "all"]
    assert saved["rows"][1]["final"] == report.rows[1].final
    assert len(saved["runs"]) == 8
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "runs").iterdir())) == 8


def test_what_was_run_is_not_run_again(tmp_path: Path) -> None:
    first = run(tmp_path)

    def never(seed: int, arm: Arm) -> Any:
        raise AssertionError("nothing is left to run")

    assert run(tmp_path, make=never).to_dict() == first.to_dict()


def test_more_seeds_add_runs_to_those_there_are(tmp_path: Path) -> None:
    run(tmp_path)
    made: list[tuple[int, str]] = []

    def make(seed: int, arm: Arm) -> Any:
        made.append((seed, arm.name))
        return make_trainer(seed, arm)

    assert run(tmp_path, make=make, seeds=3).seeds == [0, 1, 2]
    assert made == [(2, "off"), (2, "+ NoiseOnly")]


def test_results_of_other_conditions_are_not_mixed_in(tmp_path: Path) -> None:
    run(tmp_path, [NoiseOnly(3)])
    with pytest.raises(ConfigError, match="use another folder"):
        run(tmp_path, [NoiseOnly(4)])
    with pytest.raises(ConfigError, match="clock='wall'"):
        run(tmp_path, [NoiseOnly(3)], clock="cpu")


def test_a_killed_ablation_goes_on_where_it_was(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from tests.ablation.test_runner import run\n"
        "run(Path(sys.argv[1]), seeds=40, say=print)\n"
    )
    root = str(Path(__file__).resolve().parents[2])
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), root],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    runs = tmp_path / "runs"
    deadline = time.monotonic() + 120
    while len(list(runs.glob("*.json")) if runs.exists() else []) < 3:
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    kept = {path: path.read_bytes() for path in runs.glob("*.json")}
    report = run(tmp_path, seeds=3)
    assert report.seeds == [0, 1, 2]
    assert all(len(row.finals) == 3 for row in report.rows)
    assert all(path.read_bytes() == content for path, content in kept.items())


def test_a_run_that_fails_is_named_and_the_others_count(tmp_path: Path) -> None:
    report = run(tmp_path, [Fails, NoiseOnly], designs=["off", "each"])
    assert report.rows[0].final > 0.4
    failures = [text for text in report.warnings if "+ Fails failed with seed 0, 1" in text]
    assert len(failures) == 1
    assert "out of luck" in failures[0]
    assert report.rows[1].gain.n == 0


def test_few_seeds_and_one_seed_are_warned_about(tmp_path: Path) -> None:
    assert any("means little" in text for text in run(tmp_path).warnings)
    assert any("one seed" in text for text in run(tmp_path / "one", seeds=1).warnings)


def test_a_budget_of_time_ends_runs_and_evaluates_them(tmp_path: Path) -> None:
    def make(seed: int, arm: Arm) -> Any:
        return make_trainer(seed, arm, max_duration="100000ep", eval_interval="5000ep")

    report = run(tmp_path, make=make, budget="1s", seeds=1, clock="cpu")
    assert [record.ended for record in report.records] == ["budget", "budget"]
    assert all(1.0 <= record.seconds < 1.5 for record in report.records)
    assert all(len(record.points) == 1 for record in report.records)


def test_a_run_that_ends_before_its_budget_of_time_is_warned_about(tmp_path: Path) -> None:
    report = run(tmp_path, budget="1h")
    assert any("before the budget" in text for text in report.warnings)


def test_runs_of_different_length_are_refused(tmp_path: Path) -> None:
    def make(seed: int, arm: Arm) -> Any:
        return make_trainer(seed, arm, max_duration="2ep" if len(arm) else "3ep")

    with pytest.raises(ConfigError, match="different budgets"):
        run(tmp_path, make=make)


def test_a_run_can_end_at_the_target(tmp_path: Path) -> None:
    def make(seed: int, arm: Arm) -> Any:
        return make_trainer(seed, arm, max_duration="30ep")

    report = run(tmp_path, ["hot"], make=make, target=0.8, stop_at_target=True, seeds=1)
    assert {record.ended for record in report.records} == {"target"}
    assert all(record.batches < 30 * 8 for record in report.records)


def test_forgotten_methods_are_noticed(tmp_path: Path) -> None:
    def make(seed: int, arm: Arm) -> Any:
        return make_trainer(seed, arm, algorithms=None)

    with pytest.raises(ConfigError, match="did not switch on NoiseOnly"):
        run(tmp_path, make=make)


def test_every_run_tells_its_loggers_which_it_is(tmp_path: Path) -> None:
    memories: dict[str, InMemoryLogger] = {}

    def make(seed: int, arm: Arm) -> Any:
        memories[arm.name] = InMemoryLogger()
        return make_trainer(seed, arm, loggers=memories[arm.name])

    run(tmp_path, make=make, seeds=1, group="mine")
    found = memories["+ NoiseOnly"].hyperparameters
    assert found["ablation/arm"] == "+ NoiseOnly"
    assert (found["ablation/group"], found["ablation/seed"]) == ("mine", 0)


def test_it_says_before_it_starts_how_long_it_will_take(tmp_path: Path) -> None:
    said: list[str] = []

    def make(seed: int, arm: Arm) -> Any:
        said.append("made")
        return make_trainer(seed, arm)

    run(tmp_path, make=make, say=said.append, seeds=1)
    assert said.index("made") < [text.startswith("about ") for text in said].index(True)
    first_outcome = next(i for i, text in enumerate(said) if text.startswith("off, seed 0"))
    assert any(text.startswith("about ") for text in said[:first_outcome])
    assert said.count("made") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": []}, "seeds"),
        ({"seeds": [1, 1]}, "different seeds"),
        ({"budget": "0ep"}, "budget"),
        ({"budget": "0.5dur"}, "budget"),
        ({"clock": "sun"}, "unknown clock"),
        ({"designs": ["on"]}, "unknown design"),
        ({"stop_at_target": True}, "needs a target"),
    ],
)
def test_arguments_that_cannot_work_are_refused(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Ablation(make_trainer, ["hot"], metric=METRIC, folder=tmp_path, **arguments)


def test_a_function_that_makes_no_trainer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentTypeError, match="must return a Trainer"):
        run(tmp_path, make=lambda seed, arm: None)


def test_an_unknown_metric_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"metric 'Acuracy'; there are .*'MulticlassAccuracy'"):
        run(tmp_path, metric="Acuracy")


def test_a_name_that_nobody_looks_for_is_said_to_have_no_effect(tmp_path: Path) -> None:
    report = run(tmp_path, ["muon", NoiseOnly], designs=["each"])
    assert any(text.startswith("no effect of + muon: ") for text in report.warnings)
    assert "no effect  " in str(report)


def test_runs_that_are_all_on_disk_are_said_to_be_read(tmp_path: Path) -> None:
    said: list[str] = []
    run(tmp_path, seeds=1)
    run(tmp_path, seeds=1, say=said.append)
    assert "2 arms x 1 seed = 2 runs, all read from" in said[1]
