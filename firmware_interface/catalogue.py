"""What both framings share: the numbers of message types and error codes, and the bounds of payloads.

The text is PROTOCOL.md, section 1; the firmware's copy is ``firmware/src/catalogue.h``.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["MAX_CHUNK_BYTES", "PROTOCOL_VERSION", "ErrorCode", "Type"]

PROTOCOL_VERSION = 1

# Bounds of payload lengths, in bytes. A length above its bound is refused before anything is allocated.
MAX_OPENING_BYTES = 1024  # three texts of 255 and two nonces; strangers can make us hold no more than this
MAX_SMALL_BYTES = 4096  # fixed fields and one sentence of text
MAX_CHUNK_BYTES = 1 << 20  # of file data: headers cost nothing, and a small board can still hold one
MAX_DOCUMENT_BYTES = 8 << 20  # a deployment of 10,000 tensors takes 3 MB
MAX_ERROR_TEXT = 1000  # characters of an error; four bytes each still fit MAX_SMALL_BYTES
MAX_TENSOR_BYTES = 1 << 30  # 100 float32 images of 1,600 x 1,600; a deployment bounds each exactly


class Type(IntEnum):
    """Message types. Numbers are never reused."""

    HELLO = 0x01
    CHALLENGE = 0x02
    PROOF = 0x03
    WELCOME = 0x04
    ATTACH = 0x05
    ATTACHED = 0x06
    OK = 0x08
    ERROR = 0x09
    PING = 0x0A
    PONG = 0x0B
    LOG = 0x0C
    BYE = 0x0D
    IDENTIFY = 0x10
    IDENTITY = 0x11
    BOARD_IDENTITY = 0x12
    MEMORY_QUERY = 0x13
    MEMORY = 0x14
    FAULT_QUERY = 0x15
    FAULT = 0x16
    RESET = 0x17
    SET_BAUD = 0x18
    FILE_QUERY = 0x20
    FILE_STATE = 0x21
    FILE_BEGIN = 0x22
    FILE_CHUNK = 0x23
    FILE_END = 0x24
    FILE_READ = 0x25
    SLOT_QUERY = 0x28
    SLOT_STATE = 0x29
    SLOT_BEGIN = 0x2A
    SLOT_DATA = 0x2B
    SLOT_ACK = 0x2C
    SLOT_COMMIT = 0x2D
    SLOT_HASH = 0x2E
    SLOT_DIGEST = 0x2F
    LOAD = 0x30
    LOADED = 0x31
    CONNECT = 0x32
    UNLOAD = 0x33
    MODEL_LOAD = 0x34
    MODEL_FACTS = 0x35
    LINK_SETUP = 0x36
    ROUTE = 0x37
    START = 0x40
    STOP = 0x41
    STOPPED = 0x42
    FINISH = 0x43
    STATUS = 0x44
    STATISTICS = 0x45
    BOARD_STATISTICS = 0x46
    RUN = 0x47
    RAN = 0x48
    TIMES_QUERY = 0x49
    TIMES = 0x4A
    INPUT_WRITE = 0x4B
    OUTPUT_READ = 0x4C
    OUTPUT_BYTES = 0x4D
    TENSOR = 0x50
    CREDIT = 0x51
    TOKEN = 0x52
    PART = 0x53
    PART_ACK = 0x54
    PROFILE_MODEL = 0x60
    MODEL_PROFILE = 0x61
    TIME_MODEL = 0x62
    MODEL_TIMES = 0x63
    PROBE_LINK = 0x64
    LINK_FIGURES = 0x65
    PROBE_BURST = 0x66
    PROBE_REPORT = 0x67


class ErrorCode(IntEnum):
    """Codes of ERROR. 0 is never sent."""

    BAD_MESSAGE = 1
    NOT_AUTHENTICATED = 2
    WRONG_BOARD = 3
    BUSY = 4
    WRONG_STATE = 5
    NO_SUCH_FILE = 6
    HASH_MISMATCH = 7
    STORAGE = 8
    BAD_DEPLOYMENT = 9
    MODEL = 10
    PEER = 11
    RUN_FAILED = 12
    UNSUPPORTED = 13
    DEADLINE = 14
    INTERNAL = 15
    STALE_LEASE = 16
    NOT_ATTACHED = 17
    BAD_IMAGE = 18
    OUT_OF_RANGE = 19
    DOES_NOT_FIT = 20
