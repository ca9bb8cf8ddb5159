"""The packages' faces: a stub and the running package say the same, and no name gets lost."""

import ast
import importlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.source import Package, write_package

FROZEN = Path(__file__).resolve().with_name("public_names.txt")
# A line in the stub is one of the three touches that add a plug-in; it is enough for these.
GROWING = {
    "composer.algorithms",
    "composer.callbacks",
    "composer.functional",
    "composer.loggers",
}
FACES = sorted(Package().faces)
THREE_LINES = """\
from composer._lazy import attach
__getattr__, __dir__, __all__ = attach(__name__, __file__)"""


def stub_of(package: Package, face: str) -> Path:
    return package.files[face].with_suffix(".pyi")


def code_of(package: Package, face: str) -> str:
    """The face's code without its docstring."""
    body = package.trees[face].body
    if body and ast.get_docstring(package.trees[face]) is not None:
        body = body[1:]
    return ast.unparse(ast.Module(body, []))


def stub_complaints(stub: Path) -> list[str]:
    """Lines of a stub that make no public name: it holds ``from a import b as b`` only."""
    found = []
    for node in ast.parse(stub.read_text("utf-8")).body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.ImportFrom) and all(
            alias.asname == alias.name for alias in node.names
        ):
            continue
        found.append(f"{stub.name}:{node.lineno}: {ast.unparse(node)}")
    return found


def hidden_by_modules(names: dict[str, tuple[str, str | None]], folder: Path) -> list[str]:
    """Public names that an import of a file of the same name would replace in the package."""
    return [
        name
        for name, (_, attribute) in names.items()
        if attribute is not None and folder.joinpath(f"{name}.py").exists()
    ]


@pytest.mark.parametrize("face", FACES)
def test_a_face_holds_no_code(face: str) -> None:
    package = Package()
    code = code_of(package, face)
    if face == "composer":
        code = code.replace("from composer import _moved\n", "").replace("_moved.install()\n", "")
    assert code == THREE_LINES


@pytest.mark.parametrize("face", FACES)
def test_a_stub_holds_names_only(face: str) -> None:
    assert stub_complaints(stub_of(Package(), face)) == []


@pytest.mark.parametrize("face", FACES)
def test_every_name_of_a_stub_loads(face: str) -> None:
    module = importlib.import_module(face)
    for name in module.__all__:
        assert getattr(module, name) is not None
        assert name in dir(module)


@pytest.mark.parametrize("face", FACES)
def test_no_file_hides_a_public_name(face: str) -> None:
    from composer._lazy import read_stub

    package = Package()
    names = read_stub(face, str(stub_of(package, face)))
    assert hidden_by_modules(names, package.files[face].parent) == []


def test_public_names_stay() -> None:
    frozen = set(FROZEN.read_text("utf-8").split())
    current = {f"{face}.{name}" for face in FACES for name in importlib.import_module(face).__all__}
    lost = sorted(frozen - current)
    new = sorted(each for each in current - frozen if each.rpartition(".")[0] not in GROWING)
    advice = "If that is meant, run `python tools/public_names.py`."
    assert not lost, f"these public names are gone: {lost}. {advice}"
    assert not new, f"these public names are new: {new}. {advice}"


def test_importing_composer_loads_nothing_heavy() -> None:
    code = (
        "import sys, composer, composer.core, composer.trainer, composer.algorithms\n"
        "print(sorted({'torch', 'numpy', 'yaml', 'tqdm', 'torchmetrics'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_trainer_loads_only_torch_and_what_torch_loads() -> None:
    code = (
        "import sys, torch\n"
        "before = set(sys.modules)\n"
        "import composer.trainer.trainer\n"
        "heavy = {'matplotlib', 'pandas', 'sklearn', 'torchmetrics', 'torchvision', 'tqdm',"
        " 'transformers', 'wandb', 'yaml'}\n"
        "print(sorted(heavy & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_public_class_can_be_pickled_by_reference() -> None:
    import composer

    assert pickle.loads(pickle.dumps(composer.Time)) is composer.Time


# The rules catch what they should.


def test_a_stub_that_does_not_re_export_is_caught(tmp_path: Path) -> None:
    stub = tmp_path / "__init__.pyi"
    stub.write_text(
        "from a import b\nx: int\nfrom a import c as c\nfrom a import d as e\n", "utf-8"
    )
    assert len(stub_complaints(stub)) == 3


def test_a_file_that_hides_a_name_is_caught(tmp_path: Path) -> None:
    tmp_path.joinpath("mixup.py").touch()
    names = {"mixup": ("composer.algorithms.mix", "mixup"), "MixUp": ("composer.a", "MixUp")}
    assert hidden_by_modules(names, tmp_path) == ["mixup"]


def test_code_in_a_face_is_seen(tmp_path: Path) -> None:
    files = {"core/__init__.py": '"""Doc."""\n' + THREE_LINES + "\nprint('hello')"}
    assert code_of(write_package(tmp_path, files), "composer.core") != THREE_LINES
