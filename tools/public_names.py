"""Write the list of public names that tests/house/test_faces.py holds the package to.

Run it when you add or remove a public name on purpose; the difference then shows in the commit.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FROZEN = ROOT / "tests" / "house" / "public_names.txt"


def public_names() -> dict[str, list[str]]:
    """Package to its public names, read from the stubs of all faces."""
    names: dict[str, list[str]] = {}
    for stub in sorted(ROOT.joinpath("composer").rglob("*.pyi")):
        if not stub.with_suffix(".py").exists():
            continue
        parts = stub.relative_to(ROOT).with_suffix("").parts
        tree = ast.parse(stub.read_text("utf-8"))
        imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
        aliases = [alias for node in imports for alias in node.names]
        shown = [alias.name for alias in aliases if alias.asname == alias.name]
        names[".".join(part for part in parts if part != "__init__")] = sorted(shown)
    return names


def main() -> None:
    """Write the list, one name per line."""
    lines = [f"{package}.{name}" for package, names in public_names().items() for name in names]
    FROZEN.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
