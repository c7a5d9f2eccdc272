"""From pydantic's findings to faults that name file, line, key, expected and got."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from boards.errors import DescriptionError, Fault, UnitError, near_match
from boards.yaml_tree import Node, locate, plain

__all__ = ["fault_at", "key_text", "validate"]

Model = TypeVar("Model", bound=BaseModel)
Path = Sequence[str | int]

_KINDS = {
    "string_type": "a text",
    "list_type": "a list",
    "dict_type": "`key: value` lines",
    "model_type": "`key: value` lines",
    "too_short": "at least {min_length} entries",
    "too_long": "at most {max_length} entries",
    "literal_error": "{expected}",
    "string_pattern_mismatch": "a name of letters, digits, '_', '.' and '-'",
}


def key_text(path: Path) -> str:
    """("boards", "left", "processors", 0) as "boards.left.processors[0]"."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def fault_at(root: Node, path: Path, what: str, *, expected: str = "", got: str = "", hint: str = "") -> Fault:
    """A fault placed at a path of a tree."""
    node = locate(root, path)
    return Fault(what, file=node.file, line=node.line, key=key_text(path), expected=expected, got=got, hint=hint)


def validate(model: type[Model], tree: Node) -> Model:
    """The tree as a model. Raises DescriptionError with all faults found."""
    try:
        return model.model_validate(plain(tree))
    except ValidationError as e:
        errors = e.errors(include_url=False)
        raise DescriptionError(_fault(model, tree, dict(error)) for error in errors) from e


def _fault(model: type[BaseModel], tree: Node, error: dict[str, Any]) -> Fault:
    path = tuple(step for step in error["loc"] if step != "[key]")
    node = locate(tree, path)
    place = partial(Fault, file=node.file, line=node.line, key=key_text(path))
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return place(f"key {path[-1]!r} is missing", expected=f"a value for {path[-1]!r}", got="none")
    if kind == "extra_forbidden":
        known = _keys_at(model, path[:-1])
        return place(
            f"unknown key {path[-1]!r}",
            expected=f"one of {', '.join(dict.fromkeys(known))}",
            got=str(path[-1]),
            hint=near_match(str(path[-1]), known),
        )
    cause = context.get("error")
    if isinstance(cause, UnitError):
        return place(cause.what, expected=cause.expected, got=cause.got)
    expected = _KINDS.get(kind, error["msg"]).format(**context)
    got = _shown(error.get("input"))
    hint = ""
    if kind == "literal_error":
        hint = near_match(got, expected.replace(" or ", ", ").replace("'", "").split(", "))
    return place("not a usable value", expected=expected, got=got, hint=hint)


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return f"{'keys' if isinstance(value, dict) else 'a list'}: {', '.join(map(str, value)) or 'none'}"
    return "nothing" if value is None else str(value)


def _keys_at(model: type[BaseModel], path: Path) -> list[str]:
    """Keys that the mapping at a path of a model may have."""
    annotation: Any = model
    for step in path:
        annotation = _unwrap(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            fields = {f.alias or name: f.annotation for name, f in annotation.model_fields.items()}
            annotation = fields.get(str(step))
        else:
            arguments = get_args(annotation)
            annotation = arguments[-1] if arguments else None
    annotation = _unwrap(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        written_only: Iterable[str] = getattr(annotation, "written_only", ())
        return [*(f.alias or name for name, f in annotation.model_fields.items()), *written_only]
    return []


def _unwrap(annotation: Any) -> Any:
    """The type inside Annotated[...] and Optional[...]."""
    while True:
        if hasattr(annotation, "__metadata__"):
            annotation = annotation.__origin__
        elif get_origin(annotation) in (Union, UnionType):
            annotation = next(a for a in get_args(annotation) if a is not type(None))
        else:
            return annotation
