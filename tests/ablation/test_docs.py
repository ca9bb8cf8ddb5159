"""The page about ablations shows a program that runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="the digits come from scikit-learn")
pytest.importorskip("scipy", reason="intervals need the extra 'ablation'")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "ablation.md"


@pytest.mark.skipif(not PAGE.exists(), reason="only the package is here, not its pages")
def test_the_program_of_the_page_runs(tmp_path: Path) -> None:
    program = re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert len(program) == 1
    (tmp_path / "program.py").write_text(program[0].replace("seeds=5", "seeds=1"), "utf-8")
    done = subprocess.run(
        [sys.executable, "program.py"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "all - high rate" in done.stdout
    assert (tmp_path / "does-it-help" / "report.png").exists()
