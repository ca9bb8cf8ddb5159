"""Reads the package's source for the house tests: which module imports what, and where.

Nothing of the package is imported; files are parsed. A test gives a folder of its own to show
that a rule catches what it should.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Import:
    """One imported thing: its module, the name taken from it, and where that is written."""

    importer: str
    module: str
    name: str | None
    line: int
    for_types_only: bool

    def __str__(self) -> str:
        what = self.module if self.name is None else f"{self.module}.{self.name}"
        return f"{self.importer}:{self.line} imports {what}"


class Package:
    """The modules below ``root/composer`` and their imports of one another."""

    def __init__(self, root: Path = REPOSITORY) -> None:
        self.root = root

    @cached_property
    def files(self) -> dict[str, Path]:
        """Module name to its file."""
        found: dict[str, Path] = {}
        for path in sorted(self.root.joinpath("composer").rglob("*.py")):
            parts = path.relative_to(self.root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
        return found

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        return {name: ast.parse(path.read_text("utf-8")) for name, path in self.files.items()}

    @cached_property
    def faces(self) -> set[str]:
        """Modules that show the names of a stub: every ``__init__`` and whatever calls `attach`."""
        return {
            name
            for name, tree in self.trees.items()
            if self.files[name].name == "__init__.py" or _calls_attach(tree)
        }

    @cached_property
    def imports(self) -> list[Import]:
        """Imports between modules of the package, those inside functions too; faces left out."""
        inner = [name for name in self.files if name not in self.faces]
        return [each for name in inner for each in self.imports_of(name)]

    def imports_of(self, importer: str) -> Iterator[Import]:
        for node, for_types_only in _walk(self.trees[importer], False):
            for module, name in _named(node):
                if module.split(".")[0] != "composer":
                    continue
                child = f"{module}.{name}"
                taken = (child, None) if child in self.files else (module, name)
                yield Import(importer, *taken, node.lineno, for_types_only)


def _calls_attach(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id == "attach"
        for node in tree.body
    )


def _walk(node: ast.AST, for_types_only: bool) -> Iterator[tuple[ast.stmt, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, for_types_only
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for inner in child.body:
                yield from _walk(ast.Module([inner], []), True)
            for inner in child.orelse:
                yield from _walk(ast.Module([inner], []), for_types_only)
        else:
            yield from _walk(child, for_types_only)


def _named(node: ast.stmt) -> Iterator[tuple[str, str | None]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name, None
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            # A relative import has no place here; "composer.<relative>" makes it stand out.
            module = "composer.<relative>" if node.level else (node.module or "")
            yield module, alias.name


def write_package(root: Path, files: dict[str, str]) -> Package:
    """Make a small package under ``root`` from module file names and their text, for self-tests."""
    for name, text in files.items():
        path = root / "composer" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return Package(root)
