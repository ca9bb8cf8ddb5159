"""Messages read as sentences, errors are not swallowed whole, and users get errors, not asserts."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.house.source import Package

PACKAGE = Package()
# Ends like a word or a clause, then goes on like a word: a space is missing between.
END = re.compile(r"(?<!\\)[A-Za-z0-9_,.;:!?})'\"]$")
START = re.compile(r"^[A-Za-z{('\"]")
LITERAL = re.compile(r"^[A-Za-z]*('''|\"\"\"|'|\")(.*)\1$", re.DOTALL)


def glued_words(source: str) -> list[int]:
    """Lines on which two string pieces of a sentence meet without a space between."""
    found = []
    pieces = list(_pieces(source))
    for (text, line, group), (following, _, next_group) in pairwise(pieces):
        is_sentence = " " in text.strip() or " " in following.strip()
        # Two filled-in values may meet: the second often brings its own space, or is empty.
        meets = END.search(text) and START.match(following)
        two_values = text.endswith("}") and following.startswith("{")
        if group == next_group and is_sentence and meets and not two_values:
            found.append(line)
    return found


def _pieces(source: str) -> Iterator[tuple[str, int, int]]:
    """String literals with their line; pieces that Python joins share a group number."""
    group = 0
    depth, begun, parts = 0, 0, ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.tok_name[token.type]
        if kind == "FSTRING_START":
            depth, begun, parts = depth + 1, token.start[0], parts if depth else ""
        elif depth:
            parts += token.string if kind != "FSTRING_END" else ""
            depth -= kind == "FSTRING_END"
            if not depth:
                yield parts, begun, group
        elif kind == "STRING":
            match = LITERAL.match(token.string)
            yield match[2] if match else "", token.end[0], group
        elif kind not in ("NL", "COMMENT"):
            group += 1


def bare_excepts(tree: ast.Module) -> list[int]:
    handlers = [node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)]
    return [node.lineno for node in handlers if node.type is None]


def asserts_on_arguments(tree: ast.Module) -> list[int]:
    """Asserts in public functions that test one of the function's own arguments."""
    found = []
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if function.name.startswith("_") and function.name != "__init__":
            continue
        given = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
        names = {each.arg for each in given} - {"self", "cls"}
        asserts = [node for node in ast.walk(function) if isinstance(node, ast.Assert)]
        found += [node.lineno for node in asserts if names & _plain_names(node.test)]
    return found


def _plain_names(test: ast.expr) -> set[str]:
    """Names the test looks at as they are: `state.loss` is not `state`."""
    inside = {id(node.value) for node in ast.walk(test) if isinstance(node, ast.Attribute)}
    names = [node for node in ast.walk(test) if isinstance(node, ast.Name)]
    return {node.id for node in names if id(node) not in inside}


@pytest.mark.parametrize("module", sorted(PACKAGE.files))
def test_a_module_speaks_in_whole_sentences(module: str) -> None:
    assert glued_words(PACKAGE.files[module].read_text("utf-8")) == []


@pytest.mark.parametrize("module", sorted(PACKAGE.files))
def test_a_module_has_no_bare_except(module: str) -> None:
    assert bare_excepts(PACKAGE.trees[module]) == []


@pytest.mark.parametrize("module", sorted(PACKAGE.files))
def test_a_module_asserts_nothing_about_arguments(module: str) -> None:
    assert asserts_on_arguments(PACKAGE.trees[module]) == []


# The rules catch what they should.


@pytest.mark.parametrize(
    "source",
    [
        'x = ("please wrap all" "other classes")',
        'x = (f"the {name} is wrong,"\n     "use another")',
        'x = ("it was given"\n     # a comment between\n     f"{name!r} instead")',
        'x = f"given {name!r}" "is not allowed"',
    ],
)
def test_glued_words_are_caught(source: str) -> None:
    assert len(glued_words(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        'x = ("please wrap all " "other classes")',
        'x = ["one word", "another word"]',
        'x = ("/a/path/" "name")',
        'x = ("a line\\n" "another line")',
        'x = f"{a} of {b}"',
        'x = f"a size of {size}" f"{memory}"',
    ],
)
def test_whole_sentences_pass(source: str) -> None:
    assert glued_words(source) == []


def test_a_bare_except_is_caught() -> None:
    assert bare_excepts(ast.parse("try:\n    f()\nexcept:\n    pass")) == [3]


def test_an_assert_on_an_argument_is_caught() -> None:
    source = "def f(alpha, state):\n    assert state.x is not None\n    assert 0 < alpha < 1"
    assert asserts_on_arguments(ast.parse(source)) == [3]
