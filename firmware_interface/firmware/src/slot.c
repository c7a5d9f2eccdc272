#include "slot.h"

#include <stdbool.h>
#include <string.h>

#include "bytes.h"
#include "crc32.h"
#include "port.h"
#include "runtime.h"

/* The header's sector: size, hash and a CRC; the word that makes the image valid; one unit a data sector, programmed
 * when that sector is full. Each is programmed once after an erase, whatever the write unit. */
enum {
    MAGIC = 0x544F4C53,
    VALID = 0x444F4F47,
    AT_SIZE = 4,
    AT_HASH = 8,
    AT_CRC = 40,
    HEADER_BYTES = 64,
    AT_VALID = HEADER_BYTES,
    AT_MARKS = AT_VALID + BOARD_WRITE_UNIT,
    SECTORS = BOARD_SLOT_BYTES / BOARD_SECTOR_BYTES,
};
_Static_assert(HEADER_BYTES % BOARD_WRITE_UNIT == 0, "write units of at most 64 bytes");
_Static_assert(AT_MARKS + SECTORS * BOARD_WRITE_UNIT <= BOARD_HEADER_SECTOR_BYTES, "marks do not fit the header");
_Static_assert(BOARD_SLOT_BYTES % BOARD_SECTOR_BYTES == 0, "the slot is whole sectors");

static struct slot_state state;
static bool resumable; /* the slot was begun since the reset: `next` is exact, what follows is erased */

static void set_phase(enum phase phase) { port_retained()->phase = (uint8_t)phase; }

static uint32_t sectors_of(uint32_t bytes) { return (bytes + BOARD_SECTOR_BYTES - 1u) / BOARD_SECTOR_BYTES; }

static bool program(const uint8_t *at, const uint8_t *data, uint32_t bytes) {
    set_phase(PHASE_PROGRAM);
    port_watchdog_feed();
    return port_slot_program(at, data, bytes) && memcmp(at, data, bytes) == 0;
}

/* One write unit that holds `value` and then FF. */
static bool program_word(const uint8_t *at, uint32_t value) {
    uint8_t unit[BOARD_WRITE_UNIT];
    memset(unit, 0xFF, sizeof unit);
    put_u32(unit, value);
    return program(at, unit, sizeof unit);
}

static bool erase(const uint8_t *sector) {
    set_phase(PHASE_ERASE);
    port_watchdog_feed();
    bool erased = port_slot_erase(sector);
    port_watchdog_feed();
    return erased;
}

static bool header_good(void) {
    const uint8_t *header = port_slot_header();
    return get_u32(header) == MAGIC && get_u32(header + AT_CRC) == crc32(header, AT_CRC) &&
           get_u32(header + AT_SIZE) <= BOARD_SLOT_BYTES;
}

static uint32_t marked_bytes(uint32_t size) {
    const uint8_t *mark = port_slot_header() + AT_MARKS;
    uint32_t bytes = 0;
    while (bytes < size && get_u32(mark) == VALID) {
        bytes += BOARD_SECTOR_BYTES;
        mark += BOARD_WRITE_UNIT;
    }
    return bytes < size ? bytes : size;
}

void slot_open(void) {
    memset(&state, 0, sizeof state);
    resumable = false;
    if (!header_good()) return;
    const uint8_t *header = port_slot_header();
    state.size = get_u32(header + AT_SIZE);
    memcpy(state.hash, header + AT_HASH, SHA256_BYTES);
    state.next = marked_bytes(state.size);
    state.phase = SLOT_BEGUN;
    if (get_u32(header + AT_VALID) == VALID) {
        state.phase = SLOT_VALID;
        state.next = state.size;
    }
}

const struct slot_state *slot_state(void) { return &state; }

static bool write_header(uint32_t size, const uint8_t *hash) {
    uint8_t header[HEADER_BYTES];
    memset(header, 0xFF, sizeof header);
    put_u32(put_u32(header, MAGIC), size);
    memcpy(header + AT_HASH, hash, SHA256_BYTES);
    put_u32(header + AT_CRC, crc32(header, AT_CRC));
    return program(port_slot_header(), header, sizeof header);
}

/* Sectors from `next` on. What was in them may be anything, a half-erased sector included, so none is trusted. */
static bool erase_rest(void) {
    for (uint32_t i = sectors_of(state.next); i < sectors_of(state.size); i++) {
        if (!erase(port_slot_data() + i * BOARD_SECTOR_BYTES)) return false;
    }
    return true;
}

static bool same_as_stored(uint32_t size, const uint8_t *hash) {
    return state.phase != SLOT_EMPTY && state.size == size && memcmp(state.hash, hash, SHA256_BYTES) == 0;
}

/* A mark that was torn by a loss of power may not be programmed again: a write unit takes one programming. */
static bool next_mark_erased(void) {
    const uint8_t *mark = port_slot_header() + AT_VALID;
    if (state.next < state.size) mark += BOARD_WRITE_UNIT * (1u + state.next / BOARD_SECTOR_BYTES);
    return get_u32(mark) == 0xFFFFFFFFu;
}

enum code slot_begin(uint32_t size, const uint8_t hash[SHA256_BYTES]) {
    if (size == 0 || size > BOARD_SLOT_BYTES) return CODE_OUT_OF_RANGE;
    if (same_as_stored(size, hash) && (state.phase == SLOT_VALID || resumable)) return CODE_NONE;
    if (same_as_stored(size, hash) && next_mark_erased()) {
        if (!erase_rest()) return CODE_STORAGE;
        resumable = true;
        return CODE_NONE;
    }
    memset(&state, 0, sizeof state);
    resumable = false;
    if (!erase(port_slot_header()) || !write_header(size, hash)) return CODE_STORAGE;
    state.phase = SLOT_BEGUN;
    state.size = size;
    memcpy(state.hash, hash, SHA256_BYTES);
    if (!erase_rest()) return CODE_STORAGE;
    resumable = true;
    return CODE_NONE;
}

/* Program a chunk whose last unit may be incomplete; FF stays erased. */
static bool program_chunk(const uint8_t *at, const uint8_t *data, uint32_t bytes) {
    uint32_t whole = bytes - bytes % BOARD_WRITE_UNIT;
    if (whole > 0 && !program(at, data, whole)) return false;
    if (whole == bytes) return true;
    uint8_t unit[BOARD_WRITE_UNIT];
    memset(unit, 0xFF, sizeof unit);
    memcpy(unit, data + whole, bytes - whole);
    return program(at + whole, unit, sizeof unit);
}

enum code slot_data(uint32_t offset, const uint8_t *data, uint32_t bytes) {
    if (state.phase != SLOT_BEGUN || !resumable) return CODE_WRONG_STATE;
    if (offset > state.size || bytes > state.size - offset) return CODE_OUT_OF_RANGE;
    if (offset != state.next || bytes == 0) return CODE_NONE;
    uint32_t end = offset + bytes;
    if (bytes % BOARD_WRITE_UNIT != 0 && end != state.size) return CODE_OUT_OF_RANGE;
    if (!program_chunk(port_slot_data() + offset, data, bytes)) {
        resumable = false; /* what stands there now is unknown: begin erases it */
        state.next -= state.next % BOARD_SECTOR_BYTES;
        return CODE_STORAGE;
    }
    state.next = end;
    uint32_t full = end == state.size ? sectors_of(end) : end / BOARD_SECTOR_BYTES;
    for (uint32_t i = offset / BOARD_SECTOR_BYTES; i < full; i++) {
        if (!program_word(port_slot_header() + AT_MARKS + i * BOARD_WRITE_UNIT, VALID)) return CODE_STORAGE;
    }
    return CODE_NONE;
}

void slot_hash(uint8_t digest[SHA256_BYTES]) {
    enum { STEP = 4096 };
    struct sha256 hash;
    sha256_start(&hash);
    for (uint32_t at = 0; at < state.next; at += STEP) {
        set_phase(PHASE_HASH);
        port_watchdog_feed();
        uint32_t left = state.next - at;
        sha256_add(&hash, port_slot_data() + at, left < STEP ? left : STEP);
    }
    sha256_end(&hash, digest);
}

enum code slot_commit(uint32_t ram_bytes) {
    uint8_t digest[SHA256_BYTES];
    if (state.phase == SLOT_VALID) return CODE_NONE;
    if (state.phase != SLOT_BEGUN || state.next != state.size) return CODE_WRONG_STATE;
    slot_hash(digest);
    enum code code = CODE_HASH_MISMATCH;
    if (memcmp(digest, state.hash, SHA256_BYTES) == 0) code = runtime_check(port_slot_data(), state.size, ram_bytes);
    if (code == CODE_NONE && program_word(port_slot_header() + AT_VALID, VALID)) {
        state.phase = SLOT_VALID;
        return CODE_NONE;
    }
    /* What stands there will never be valid: empty the slot, so that the next begin starts anew. */
    memset(&state, 0, sizeof state);
    resumable = false;
    if (!erase(port_slot_header())) return CODE_STORAGE;
    return code != CODE_NONE ? code : CODE_STORAGE;
}
