"""What the core says of an order's input, as problem details that name the field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from boards.errors import BoardsError, DescriptionError
from optimizer.errors import CostError, InputError, LimitError, ModelError, PlanError
from server.problems import fault, refuse
from server.schemas import LimitsOrder, SolveOrder

__all__ = ["naming_fields", "renamed"]

_FIELDS: Mapping[type[InputError], str] = {
    ModelError: "model",
    CostError: "costs",
    PlanError: "start",
    LimitError: "limits",
}
"""The field an error is about where it names no option."""


@contextmanager
def naming_fields(names: Mapping[str, str]) -> Iterator[None]:
    """Raise errors of the input as RequestError (422) with the words of the command line.

    ``names``: what clients call a file, by where it stands here, which is not their business.
    """
    try:
        yield
    except InputError as e:
        said = renamed(e, names)
        raise refuse("invalid-input", str(said), errors=[fault(_path(said), str(said), said.expected, said.got)]) from e
    except DescriptionError as e:
        faults = [fault(["system"], str(f), f.expected, f.got) for f in e.faults]
        raise refuse("invalid-input", str(e), errors=faults) from e
    except BoardsError as e:
        raise refuse("invalid-input", str(e), errors=[fault(["system"], str(e))]) from e


def renamed(error: InputError, names: Mapping[str, str]) -> InputError:
    """The same error with files called what clients call them."""
    texts = [error.what, error.where, error.expected, error.got, error.hint]
    for location, name in names.items():
        texts = [text.replace(location, name) for text in texts]
    what, where, expected, got, hint = texts
    return type(error)(what, where=where, expected=expected, got=got, hint=hint, option=error.option)


def _path(error: InputError) -> list[str]:
    field = error.option.replace("-", "_") or _FIELDS.get(type(error), "")
    if field in LimitsOrder.model_fields:
        return ["limits", field]
    return [field] if field in SolveOrder.model_fields else []
