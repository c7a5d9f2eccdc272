/* The numbers of PROTOCOL.md, section 1. tests/firmware_interface/test_firmware_catalogue.py holds them against
 * the host's copy. */
#ifndef CATALOGUE_H
#define CATALOGUE_H

enum { PROTOCOL_VERSION = 1, FRAMING_VERSION = 1, IMAGE_FORMAT = 1 };

/* Messages that a board on a serial line takes or sends. */
enum message_type {
    TYPE_ATTACH = 0x05,
    TYPE_ATTACHED = 0x06,
    TYPE_OK = 0x08,
    TYPE_ERROR = 0x09,
    TYPE_PING = 0x0A,
    TYPE_PONG = 0x0B,
    TYPE_LOG = 0x0C,
    TYPE_IDENTIFY = 0x10,
    TYPE_BOARD_IDENTITY = 0x12,
    TYPE_MEMORY_QUERY = 0x13,
    TYPE_MEMORY = 0x14,
    TYPE_FAULT_QUERY = 0x15,
    TYPE_FAULT = 0x16,
    TYPE_RESET = 0x17,
    TYPE_SET_BAUD = 0x18,
    TYPE_SLOT_QUERY = 0x28,
    TYPE_SLOT_STATE = 0x29,
    TYPE_SLOT_BEGIN = 0x2A,
    TYPE_SLOT_DATA = 0x2B,
    TYPE_SLOT_ACK = 0x2C,
    TYPE_SLOT_COMMIT = 0x2D,
    TYPE_SLOT_HASH = 0x2E,
    TYPE_SLOT_DIGEST = 0x2F,
    TYPE_UNLOAD = 0x33,
    TYPE_MODEL_LOAD = 0x34,
    TYPE_MODEL_FACTS = 0x35,
    TYPE_LINK_SETUP = 0x36,
    TYPE_ROUTE = 0x37,
    TYPE_START = 0x40,
    TYPE_STOP = 0x41,
    TYPE_STOPPED = 0x42,
    TYPE_STATUS = 0x44,
    TYPE_BOARD_STATISTICS = 0x46,
    TYPE_RUN = 0x47,
    TYPE_RAN = 0x48,
    TYPE_TIMES_QUERY = 0x49,
    TYPE_TIMES = 0x4A,
    TYPE_INPUT_WRITE = 0x4B,
    TYPE_OUTPUT_READ = 0x4C,
    TYPE_OUTPUT_BYTES = 0x4D,
    TYPE_CREDIT = 0x51,
    TYPE_PART = 0x53,
    TYPE_PART_ACK = 0x54,
};

/* Codes of ERROR; 0 is never sent and means success inside the firmware. */
enum code {
    CODE_NONE = 0,
    CODE_BAD_MESSAGE = 1,
    CODE_WRONG_BOARD = 3,
    CODE_BUSY = 4,
    CODE_WRONG_STATE = 5,
    CODE_HASH_MISMATCH = 7,
    CODE_STORAGE = 8,
    CODE_MODEL = 10,
    CODE_PEER = 11,
    CODE_RUN_FAILED = 12,
    CODE_UNSUPPORTED = 13,
    CODE_INTERNAL = 15,
    CODE_STALE_LEASE = 16,
    CODE_NOT_ATTACHED = 17,
    CODE_BAD_IMAGE = 18,
    CODE_OUT_OF_RANGE = 19,
    CODE_DOES_NOT_FIT = 20,
};

/* Bits of BOARD_IDENTITY.capabilities. */
enum capability {
    CAPABILITY_WATCHDOG = 1 << 0,
    CAPABILITY_FAULT_REPORT = 1 << 1,
    CAPABILITY_INT8 = 1 << 2,
    CAPABILITY_FLOAT32 = 1 << 3,
    CAPABILITY_DSP = 1 << 4,
    CAPABILITY_BAUD = 1 << 5,
    CAPABILITY_TRIGGER = 1 << 6,
    CAPABILITY_EMULATED = 1 << 7,
    CAPABILITY_SLOT_KEPT = 1 << 8,
};

/* Why the board started. */
enum reset_cause {
    CAUSE_POWER_ON = 1,
    CAUSE_REQUESTED = 2,
    CAUSE_FAULT = 3,
    CAUSE_WATCHDOG = 4,
    CAUSE_EXTERNAL = 5,
};

/* What RESET asks for. */
enum reset_kind {
    RESET_RESTART = 1,
    RESET_HANG = 2,
    RESET_CRASH = 3,
};

/* What FAULT tells of. */
enum fault_kind {
    FAULT_NONE = 0,
    FAULT_EXCEPTION = 1,
    FAULT_WATCHDOG = 2,
};

/* What the board is doing. */
enum phase {
    PHASE_START = 0,
    PHASE_IDLE = 1,
    PHASE_MESSAGE = 2,
    PHASE_ERASE = 3,
    PHASE_PROGRAM = 4,
    PHASE_HASH = 5,
    PHASE_LOAD = 6,
    PHASE_OPERATOR = 7,
    PHASE_LINK = 8,
};

/* What the model slot holds. */
enum slot_phase {
    SLOT_EMPTY = 0,
    SLOT_BEGUN = 1,
    SLOT_VALID = 2,
};

#endif
