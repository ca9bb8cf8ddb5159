"""Runs GraphQL documents leniently: what is unknown is logged once, by name, and answered null.

Clients change every month. A strict server breaks them; this one prunes what it does not know, so
that the rest of an answer arrives. Documents are parsed and pruned once and remembered by their
text.
"""

import logging
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

import graphql
from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLEnumType,
    GraphQLError,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    NameNode,
    OperationDefinitionNode,
    TypeInfo,
    TypeInfoVisitor,
    VariableDefinitionNode,
    Visitor,
    build_schema,
    get_named_type,
    parse,
    visit,
)
from graphql.language.ast import NamedTypeNode, TypeNode

from composer.tracking.protocol import jsontext
from composer.tracking.protocol.refusal import BadRequestError, RefusedError

log = logging.getLogger(__name__)

# Functions whose published types are not complete.
_graphql: Any = graphql
_execute_sync = _graphql.execute_sync
_type_from_ast = _graphql.type_from_ast

_MAX_DOCUMENT: Final = 200_000
_MAX_TOKENS: Final = 20_000
_MAX_REMEMBERED: Final = 512
_TOO_LARGE: Final = 2**63
_UNKNOWN: Final = "_unknown"
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_seen: set[str] = set()


def log_once(what: str, name: str) -> None:
    """Log the name of something unknown, the first time it is met."""
    key = f"{what} {name}"
    if key not in _seen and len(_seen) < 10_000:
        _seen.add(key)
        log.warning("unknown %s %r: answered with null", what, name)


@cache
def schema() -> GraphQLSchema:
    """The schema, with a field on every type that stands for what is unknown."""
    text = (Path(__file__).parent / "schema.graphql").read_text(encoding="utf-8")
    built = build_schema(text, assume_valid=True)
    anything = cast("GraphQLScalarType", built.type_map["JSON"])
    for each in list(built.type_map.values()):
        is_ours = isinstance(each, (GraphQLObjectType, GraphQLInterfaceType))
        if is_ours and not each.name.startswith("__"):
            each.fields[_UNKNOWN] = GraphQLField(anything, resolve=_resolve_null)
        if isinstance(each, GraphQLScalarType) and each.name in _READERS:
            _set_scalar(each, _READERS[each.name], _text if each.name == "String" else _same)
    return built


def _set_scalar(
    scalar: GraphQLScalarType, read: Callable[[Any], Any], write: Callable[[Any], Any]
) -> None:
    # graphql-core 3.3 has new names for these functions; 3.2 knows only the old ones.
    for name in ("parse_value", "coerce_input_value"):
        setattr(scalar, name, read)
    for name in ("serialize", "coerce_output_value"):
        setattr(scalar, name, write)


def _resolve_null(_source: Any, _info: Any, **_arguments: Any) -> None:
    return None


def _same(value: Any) -> Any:
    return value


def _text(value: Any) -> Any:
    return value if isinstance(value, str) else str(value)


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise GraphQLError(f"a text is expected, not {str(value)[:80]!r}")
    return value


def _read_number(value: Any) -> int | float:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not abs(value) < _TOO_LARGE
    ):
        raise GraphQLError(f"a number of up to 64 bits is expected, not {str(value)[:80]!r}")
    return int(value) if value == int(value) else value


_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "JSON": _same,
    "JSONString": _read_text,
    "String": _read_text,
    "Int64": _read_number,
    "Duration": _read_number,
}


@dataclass(frozen=True, slots=True)
class _Document:
    node: DocumentNode
    operations: tuple[OperationDefinitionNode, ...]


_documents: OrderedDict[str, _Document] = OrderedDict()


def _document(text: str) -> _Document:
    found = _documents.get(text)
    if found is None:
        if len(text) > _MAX_DOCUMENT:
            raise BadRequestError(
                f"the GraphQL document has {len(text)} characters; {_MAX_DOCUMENT} are allowed."
            )
        try:
            pruned = _prune(parse(text, no_location=True, max_tokens=_MAX_TOKENS))
        except (GraphQLError, RecursionError) as error:
            raise BadRequestError(f"the GraphQL document is not valid: {error}") from None
        operations = tuple(
            each for each in pruned.definitions if isinstance(each, OperationDefinitionNode)
        )
        found = _documents[text] = _Document(pruned, operations)
        if len(_documents) > _MAX_REMEMBERED:
            _documents.popitem(last=False)
    return found


def _prune(document: DocumentNode) -> DocumentNode:
    info = TypeInfo(schema())
    return visit(document, TypeInfoVisitor(info, _Pruner(info)))


class _Pruner(Visitor):
    """Replaces unknown fields by one that is null, and unknown types of variables by JSON."""

    def __init__(self, info: TypeInfo) -> None:
        super().__init__()
        self._info = info

    def enter_field(self, node: FieldNode, *_args: Any) -> Any:
        parent = self._info.get_parent_type()
        name = node.name.value
        if parent is None or name.startswith("__") or self._info.get_field_def() is not None:
            return None
        log_once("GraphQL field", f"{get_named_type(parent).name}.{name}")
        alias = node.alias or NameNode(value=name)
        return FieldNode(
            name=NameNode(value=_UNKNOWN),
            alias=alias,
            arguments=(),
            directives=node.directives,
            selection_set=None,
        )

    def enter_variable_definition(self, node: VariableDefinitionNode, *_args: Any) -> Any:
        if _type_from_ast(schema(), node.type) is not None:
            return None
        log_once("GraphQL type", str(_named(node.type)))
        return VariableDefinitionNode(
            variable=node.variable,
            type=NamedTypeNode(name=NameNode(value="JSON")),
            default_value=node.default_value,
            directives=(),
        )


def _named(node: TypeNode) -> str:
    while not isinstance(node, NamedTypeNode):
        node = cast("Any", node).type
    return node.name.value


def execute(text: str, variables: Any, operation_name: str | None, context: Any) -> dict[str, Any]:
    """Run a document.

    Args:
        text: the document.
        variables: values of its variables.
        operation_name: which operation; an empty one is the same as none.
        context: handed to every field.

    Returns:
        ``{"data": ..., "errors": [...]}``, the second only if there are any.

    Raises:
        BadRequestError: not a document, or it holds several operations and none is named.
    """
    document = _document(text)
    names = [each.name.value if each.name else None for each in document.operations]
    operation_name = operation_name or None
    if operation_name is not None and operation_name not in names:
        operation_name = None
    if operation_name is None and len(names) != 1:
        raise BadRequestError(f"the document holds the operations {names}; name one of them.")
    index = names.index(operation_name) if operation_name else 0
    values = _prune_variables(document.operations[index], variables)
    result = _execute_sync(
        schema(),
        document.node,
        root_value=context.root,
        context_value=context,
        variable_values=values,
        operation_name=operation_name,
        field_resolver=_resolve,
        type_resolver=_resolve_type,
    )
    answer: dict[str, Any] = {"data": result.data}
    if result.errors:
        answer["errors"] = [_error(each) for each in result.errors]
    return answer


def requested_fields(text: str) -> set[str]:
    """Names of the top-level fields a document asks for."""
    fields: set[str] = set()
    for operation in _document(text).operations:
        for node in operation.selection_set.selections:
            fields.add(node.name.value if isinstance(node, FieldNode) else "...")
    return fields


def _prune_variables(operation: OperationDefinitionNode, variables: Any) -> dict[str, Any]:
    if not isinstance(variables, dict):
        return {}
    given = cast("dict[str, Any]", variables)
    values: dict[str, Any] = {}
    for definition in operation.variable_definitions or ():
        name = definition.variable.name.value
        if name in given:
            kind = _type_from_ast(schema(), definition.type)
            values[name] = _prune_value(get_named_type(kind), given[name])
    return values


def _prune_value(kind: Any, value: Any) -> Any:
    """Leave out members of input objects that the schema does not have."""
    if isinstance(value, list):
        return [_prune_value(kind, each) for each in cast("list[Any]", value)]
    if isinstance(kind, GraphQLEnumType):
        return value if isinstance(value, str) and value in kind.values else None
    if not isinstance(value, dict) or not isinstance(kind, GraphQLInputObjectType):
        return cast("Any", value)
    kept: dict[str, Any] = {}
    for name, each in cast("dict[str, Any]", value).items():
        if name in kind.fields:
            kept[name] = _prune_value(get_named_type(kind.fields[name].type), each)
        else:
            log_once("GraphQL input", f"{kind.name}.{name}")
    return kept


@cache
def _snake(name: str) -> str:
    return _CAMEL.sub("_", name).lower()


def _resolve(source: Any, info: Any, **arguments: Any) -> Any:
    """Resolve ``camelCase`` to the key or ``snake_case`` attribute of the source."""
    if isinstance(source, dict):
        return cast("dict[str, Any]", source).get(info.field_name)
    value = getattr(source, _snake(info.field_name), None)
    if not callable(value):
        return value
    return value(**{_snake(name): each for name, each in arguments.items()})


def _resolve_type(value: Any, *_args: Any) -> str:
    name: str = value.typename
    return name


def _error(error: GraphQLError) -> dict[str, Any]:
    cause = error.original_error
    if error.path is None or isinstance(cause, GraphQLError):
        message = error.message  # The document or its variables are at fault.
    elif cause is not None and not isinstance(cause, RefusedError):
        log.error("a GraphQL field failed", exc_info=cause)
        message = "internal error; see the server's log"
    else:
        message = str(cause) if cause is not None else error.message
    return {"message": jsontext.clean_text(message), "path": error.path}
