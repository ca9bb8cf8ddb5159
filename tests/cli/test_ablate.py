"""`composer ablate` on a user's own file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="the digits come from scikit-learn")
pytest.importorskip("scipy", reason="intervals need the extra 'ablation'")

from composer.cli import ablate
from composer.errors import ConfigError

RUNS = Path(__file__).resolve().parents[1] / "ablation" / "_runs.py"


def test_it_runs_a_function_of_a_file_and_prints_a_table(tmp_path: Path) -> None:
    words = ["--methods", "LabelSmoothing(smoothing=0.2)", "hot", "--metric", "MulticlassAccuracy"]
    words += ["--seeds", "1", "--designs", "each", "--folder", "out", "--clock", "cpu"]
    (tmp_path / "mine.py").write_text(RUNS.read_text("utf-8"), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "composer.cli", "ablate", "mine.py:make_trainer", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "3 arms x 1 seed = 3 runs" in done.stdout
    assert "+ hot" in done.stdout
    assert "one seed: nothing can be said about chance" in done.stdout
    saved = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert saved["rows"][1]["methods"]["LabelSmoothing"].startswith("LabelSmoothing(smoothing=0.2")


@pytest.mark.parametrize(
    ("function", "method", "message"),
    [
        ("absent.py:f", "CutMix", "no file"),
        (f"{RUNS}:make_trainer", "CutMixx(alpha=1)", "no algorithm 'CutMixx'"),
        (f"{RUNS}:make_trainer", "CutMix(__import__('os'))", "literal"),
    ],
)
def test_wrong_words_are_refused(function: str, method: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ablate.main([function, "--methods", method, "--metric", "m"])
