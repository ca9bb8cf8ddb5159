"""Half of the house works without torch: these modules import where torch cannot be had."""

import subprocess
import sys

from tests.house.source import Package

GROUND = ("_lazy", "_moved", "_version", "errors", "registry", "env")
ROOMS = ("storage", "tracking", "cli")
# Modules of utils/ that work on tensors or modules and say so in their first lines.
WITH_TORCH = {
    "composer.utils.model_helpers",
    "composer.utils.module_surgery",
    "composer.utils.optimizer_surgery",
}

BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'torchmetrics', 'torchvision'):
            raise ModuleNotFoundError(f'blocked: {name}', name=name)

sys.meta_path.insert(0, Blocker())
"""


def torch_free(package: Package) -> list[str]:
    """Modules that must import without torch: all files of some rooms, and unmarked utils."""
    rooms = tuple(f"composer.{room}." for room in ROOMS)
    return [
        name
        for name in package.files
        if name in {f"composer.{each}" for each in GROUND}
        or name.startswith(rooms)
        or (name.startswith("composer.utils.") and name not in WITH_TORCH)
        or name in package.faces
    ]


def imported_without_torch(modules: list[str]) -> str:
    """Import the modules one by one in a process without torch; returns the complaints."""
    code = BLOCKER + (
        "import importlib\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        importlib.import_module(name)\n"
        "    except ModuleNotFoundError as error:\n"
        "        if 'blocked' in str(error):\n"
        "            print(f'{name}: {error}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *modules], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_modules_without_torch_import_where_torch_is_missing() -> None:
    assert imported_without_torch(torch_free(Package())) == ""


def test_a_module_that_needs_torch_is_caught() -> None:
    assert "blocked: torch" in imported_without_torch(["torch.nn"])


def test_the_marked_modules_do_need_torch() -> None:
    there = sorted(WITH_TORCH & set(Package().files))
    complaints = imported_without_torch(there)
    assert [line.split(":")[0] for line in complaints.splitlines()] == there
