"""Programs of users type-check against the stubs and types that are shipped.

`tests/typing/right` holds programs without an error; in `tests/typing/wrong` each line marked
`# wrong: <rule>` must be one, and no other line.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import composer

PROGRAMS = Path(__file__).resolve().parents[1] / "typing"
MARK = re.compile(r"# wrong: (\w+)$")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, int, str]]:
    """Errors of all programs as (file, line, rule)."""
    # Away from this repository, whose own settings and folders must not matter.
    folder = shutil.copytree(PROGRAMS, tmp_path_factory.mktemp("typing") / "programs")
    config = folder / "pyrightconfig.json"
    settings: dict[str, Any] = {
        "extraPaths": [str(Path(composer.__file__).parents[1])],
        "typeCheckingMode": "standard",
        "reportPrivateImportUsage": "none",
    }
    config.write_text(json.dumps(settings), "utf-8")
    command = ["-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(config)]
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=170, check=False
    )
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == len(list(PROGRAMS.rglob("*.py")))
    return {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1, each["rule"])
        for each in report["generalDiagnostics"]
        if each["severity"] == "error"
    }


def test_right_programs_have_no_error_and_wrong_lines_have_theirs(
    found: set[tuple[str, int, str]],
) -> None:
    expected = {
        (file.name, number, match[1])
        for file in (PROGRAMS / "wrong").glob("*.py")
        for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1)
        if (match := MARK.search(line)) is not None
    }
    assert expected
    assert found == expected
