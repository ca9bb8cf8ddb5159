"""Examples in docstrings run and show what really comes out."""

import ast
import doctest
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.house.source import Package

# Packages whose examples are run. A package joins with a line here.
PACKAGES = ("composer.loss", "composer.metrics", "composer.models")
HEADING = re.compile(r"^[ \t]*(?:Examples?|Usage)::?[ \t]*$", re.MULTILINE)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

PACKAGE = Package()
MODULES = sorted(
    name
    for name in PACKAGE.files
    if name not in PACKAGE.faces and any(name.startswith(f"{each}.") for each in PACKAGES)
)


def examples_that_do_not_run(tree: ast.Module) -> list[str]:
    """Names of classes and functions with an example that has no prompt and so never runs."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            parts = HEADING.split(ast.get_docstring(node) or "")
            if any(">>>" not in part for part in parts[1:]):
                found.append(getattr(node, "name", "module"))
    return found


def failures(module: ModuleType) -> str:
    """Run all examples of a module and report those that show something else."""
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module):
        runner.run(test, out=report.append)
    return "".join(report)


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_packages_have_modules() -> None:
    assert all(any(name.startswith(f"{each}.") for name in MODULES) for each in PACKAGES)


@pytest.mark.parametrize("name", MODULES)
def test_examples_show_what_comes_out(name: str) -> None:
    assert failures(importlib.import_module(name)) == ""


@pytest.mark.parametrize("name", MODULES)
def test_every_example_can_be_run(name: str) -> None:
    assert examples_that_do_not_run(PACKAGE.trees[name]) == []


def test_a_wrong_example_is_found(tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(
        'def double(x):\n    """Double.\n\n    >>> double(2)\n    5\n    """\n    return 2 * x\n'
    )
    assert "Expected:\n    5\nGot:\n    4" in failures(load(path))


def test_an_example_without_a_prompt_is_found() -> None:
    tree = ast.parse('def run():\n    """Run.\n\n    Example:\n        run()\n    """\n')
    assert examples_that_do_not_run(tree) == ["run"]
