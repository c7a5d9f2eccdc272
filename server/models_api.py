"""Endpoints of models: upload, list, show."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request
from werkzeug.datastructures import FileStorage

from boards.units import format_bytes
from server.context import answer, context
from server.problems import refuse
from server.records import Model
from server.store import now
from server.uploads import Upload, file_name, keep, receive
from server.work import ModelSource, inspect_model, zoo_models

__all__ = ["models_api"]

models_api = Blueprint("models", __name__)

_RAW_TYPES = ("application/octet-stream", "application/onnx", "application/x-onnx", "application/x-protobuf")
_FORM_TYPE = "multipart/form-data"
_FORM_ROOM_BYTES = 2**16  # boundaries and part headers around one file


@models_api.post("/models")
def upload_model() -> Response:
    """Check an ONNX file and keep it: 201 for a new one, 200 for one that is here already."""
    here = context()
    given = _given_file()
    with receive(here.config, given.stream, file_name(given.filename)) as upload:
        known = here.store.model(upload.sha256)
        if known is not None:
            return answer(_shown(known), 200, Location=_address(known))
        checked = _checked(upload)
        keep(here.config, upload)
        model, is_new = here.store.add_model(checked)
    return answer(_shown(model), 201 if is_new else 200, Location=_address(model))


@models_api.get("/models")
def list_models() -> Response:
    """All uploaded models, newest first, and the names of the zoo."""
    return answer({"models": [_shown(m) for m in context().store.models()], "zoo": zoo_models()})


@models_api.get("/models/<model_id>")
def show_model(model_id: str) -> Response:
    """One uploaded model."""
    model = context().store.model(model_id)
    if model is None:
        raise refuse("not-found", f"There is no model {model_id!r}; GET /v1/models lists all.")
    return answer(_shown(model))


def _given_file() -> FileStorage:
    """The file of the request: the whole body, or the one file of a form."""
    limit_bytes = context().config.max_upload_bytes
    is_form = request.mimetype == _FORM_TYPE
    request.max_content_length = limit_bytes + (_FORM_ROOM_BYTES if is_form else 0)
    if request.content_length is not None and request.content_length > request.max_content_length:
        raise refuse(
            "too-large",
            f"The body is too large; expected at most {format_bytes(limit_bytes)}; got"
            f" {format_bytes(request.content_length)}. The server's --max-upload sets the limit.",
            max_bytes=limit_bytes,
        )
    if request.mimetype in _RAW_TYPES:
        return FileStorage(request.stream, filename=request.args.get("name"))
    if not is_form:
        raise refuse(
            "unsupported-media-type",
            f"Content-Type: expected {_RAW_TYPES[0]} with the file as the body, or {_FORM_TYPE} with one file;"
            f" got {request.mimetype or 'none'}.",
        )
    files = list(request.files.values())
    if len(files) != 1:
        raise refuse("bad-request", f"The form: expected one file; got {len(files)}.")
    return files[0]


def _checked(upload: Upload) -> Model:
    """The model's figures. Raises the core's ModelError for a file that is no model."""
    facts = inspect_model(ModelSource(str(upload.path), upload.path.name))
    return Model(
        id=upload.sha256,
        name=upload.path.name,
        size_bytes=upload.size_bytes,
        operators=facts.operators,
        macs=facts.macs,
        parameters=facts.parameters,
        warnings=facts.warnings,
        created_at=now(),
    )


def _shown(model: Model) -> dict[str, Any]:
    return {**vars(model), "warnings": list(model.warnings), "links": {"self": _address(model)}}


def _address(model: Model) -> str:
    return f"/v1/models/{model.id}"
