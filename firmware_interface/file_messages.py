"""Messages of agents about files: what is there, how it comes and goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from firmware_interface.catalogue import Type
from firmware_interface.fields import U8, U32, U64, Hash, Rest

__all__ = ["FileBegin", "FileChunk", "FileEnd", "FileQuery", "FileRead", "FileState"]


@dataclass(frozen=True)
class FileQuery:
    """Asks whether the board holds a file of this hash; it hashes the stored bytes again (read-back)."""

    type: ClassVar[Type] = Type.FILE_QUERY
    sha256: Hash


@dataclass(frozen=True)
class FileState:
    """What the board holds: ``present`` 0 or 1, size, and the hash as read back from storage."""

    type: ClassVar[Type] = Type.FILE_STATE
    present: U8
    size: U64
    sha256: Hash


@dataclass(frozen=True)
class FileBegin:
    """A file follows, in FILE_CHUNKs and a FILE_END."""

    type: ClassVar[Type] = Type.FILE_BEGIN
    sha256: Hash
    size: U64


@dataclass(frozen=True)
class FileChunk:
    """File data at ``offset``: from the host in a put (answered by nothing), or in answer to FILE_READ."""

    type: ClassVar[Type] = Type.FILE_CHUNK
    offset: U64
    data: Rest


@dataclass(frozen=True)
class FileEnd:
    """The file is complete; answered by FILE_STATE with the hash read back, or ERROR."""

    type: ClassVar[Type] = Type.FILE_END


@dataclass(frozen=True)
class FileRead:
    """Asks for up to ``length`` bytes of a stored file; answered by one FILE_CHUNK."""

    type: ClassVar[Type] = Type.FILE_READ
    sha256: Hash
    offset: U64
    length: U32
