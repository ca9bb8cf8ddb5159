"""The files that the dashboard is made of: whole, small, and as their makers published them."""

import gzip
import hashlib
import json
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from tests.tracking.tracker import Tracker

UI = Path(str(files("composer.tracking") / "ui"))
IMPORT = re.compile(
    r"""(?:from|import)\s*\(?\s*"(\.[^"]+)"|(?:import|export)[^;]*?from "([^"]+)\""""
)
MOST_BYTES = 300_000


def _sources() -> list[Path]:
    return [path for path in sorted(UI.rglob("*.js")) if "vendor" not in path.parts]


def test_vendored_files_are_as_published() -> None:
    listed = json.loads((UI / "vendor" / "VENDOR.json").read_text())
    for each in listed:
        data = (UI / "vendor" / each["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == each["sha256"], each["file"]
        assert each["version"]
        assert each["license"]
        assert (UI / "vendor" / each["license_file"]).is_file()
    scripts = {path.name for path in (UI / "vendor").glob("*.js")}
    assert scripts == {each["file"] for each in listed}


def test_every_import_leads_to_a_file() -> None:
    for path in _sources():
        for match in IMPORT.finditer(path.read_text()):
            target = match[1] or match[2]
            assert target.startswith("."), f"{path.name} imports {target!r} from elsewhere"
            assert (path.parent / target).resolve().is_file(), f"{path.name}: {target}"


def test_every_module_is_used() -> None:
    # The frame of a chart names its scripts itself.
    used = {UI / "app.js", *(UI / "frames").glob("*.js")}
    for path in _sources():
        found = IMPORT.finditer(path.read_text())
        used |= {(path.parent / (match[1] or match[2])).resolve() for match in found}
    assert [path.name for path in _sources() if path not in used] == []


def test_only_one_module_fetches_and_none_makes_markup_of_text() -> None:
    unsafe = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|Function\("
    )
    for path in _sources():
        text = path.read_text()
        assert not unsafe.search(text), path.name
        assert path.name == "api.js" or not re.search(r"\bfetch\(|EventSource", text), path.name


def _imported_by(start: Path) -> set[Path]:
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            for match in IMPORT.finditer(path.read_text()):
                name = match[1] or match[2]
                if name.startswith("."):
                    waiting.append((path.parent / name).resolve())
    return found


def test_the_whole_page_is_small_over_the_wire() -> None:
    of_page = _imported_by(UI / "app.js") | {*UI.glob("style/*"), UI / "index.html"}
    assert sum(len(gzip.compress(path.read_bytes(), 9)) for path in of_page) < MOST_BYTES


def test_libraries_of_charts_are_loaded_by_their_frames_alone() -> None:
    names = {path.name for path in _imported_by(UI / "app.js")}
    assert names & {"vega.js", "vega-lite.js", "vega-interpreter.js", "plotly.js"} == set()


def test_files_are_kept_by_browsers_under_their_digest(own_tracker: Tracker) -> None:
    _, page = own_tracker.ask("/", key=None)
    found = re.search(r'src="(/ui/[0-9a-f]+/app\.js)"', page.decode())
    assert found is not None
    import urllib.request

    with urllib.request.urlopen(own_tracker.url + found[1]) as answer:
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.headers["Content-Type"].startswith("text/javascript")


@pytest.mark.skipif(shutil.which("node") is None, reason="node checks the pure functions")
def test_the_pure_functions_do_what_they_say() -> None:
    here = Path(__file__).parent / "lib.test.mjs"
    done = subprocess.run(
        ["node", "--test", str(here)],
        env={"UI": str(UI), "PATH": "/usr/bin:/bin:/usr/local/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
