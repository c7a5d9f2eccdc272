"""Errors of the optimizer.

OptimizerError
├── InputError            exit code 2: what the user gave cannot be used
│   ├── ModelError        the ONNX file
│   ├── CostError         cost table or cost file
│   ├── LimitError        limits, pins, objectives, units
│   └── PlanError         a plan or bundle file
└── InternalError         exit code 1: a promise of ours is broken (an incumbent that fails its check)

"Infeasible" is a result, not an error.
"""

from __future__ import annotations

from boards.errors import DescribedError

__all__ = ["CostError", "InputError", "InternalError", "LimitError", "ModelError", "OptimizerError", "PlanError"]


class OptimizerError(Exception):
    """Base of all errors of this package."""


class InputError(DescribedError, OptimizerError):
    """Bad input: the message says what, where, expected, got and what to do.

    ``option``: the option of `optimizer solve` that it is about ("max-latency"), where it is about one.
    """

    def __init__(
        self, what: str, *, where: str = "", expected: str = "", got: str = "", hint: str = "", option: str = ""
    ) -> None:
        self.option = option
        super().__init__(what, where=where, expected=expected, got=got, hint=hint)


class ModelError(InputError):
    """The model file cannot be read or used."""


class CostError(InputError):
    """A cost table is missing entries or has impossible ones."""


class LimitError(InputError):
    """A limit, pin, objective or unit cannot be understood."""


class PlanError(InputError):
    """A plan or bundle file cannot be read or used."""


class InternalError(OptimizerError):
    """A promise of ours is broken; please report it."""
