#include <string.h>

#include "bytes.h"
#include "kernel.h"
#include "line.h"
#include "link.h"
#include "protocol.h"
#include "run.h"
#include "runtime.h"
#include "slot.h"
#include "uart.h"

#define OWN_CAPABILITIES (BOARD_CAPABILITIES | CAPABILITY_FAULT_REPORT | CAPABILITY_BAUD)

/* Made by the build: SHA-256 over sources and options. */
extern const uint8_t build_hash[SHA256_BYTES];

static uint8_t paint;
static uint32_t claimed; /* RAM of the loaded model and its routes */

void requests_reset(void) {
    run_stop();
    (void)run_ended();
    link_reset();
    runtime_unload();
    claimed = 0;
}

static void ends_at(struct answer *answer, uint8_t type, const uint8_t *end) {
    answer->type = type;
    answer->bytes = (uint32_t)(end - answer->payload);
}

static enum code attach(const struct frame *request, struct answer *answer) {
    const uint8_t *at = request->payload;
    if (get_u16(at) > PROTOCOL_VERSION || get_u16(at + 2) < PROTOCOL_VERSION) return CODE_UNSUPPORTED;
    enum code code = protocol_attach(get_u64(at + 4), get_u16(at + 12));
    if (code != CODE_NONE) return code;
    uint8_t *end = put_u64(put_u16(answer->payload, PROTOCOL_VERSION), port_retained()->lease);
    end = put_u8(put_u32(end, port_retained()->boots), protocol_cause());
    ends_at(answer, TYPE_ATTACHED, end);
    return CODE_NONE;
}

static enum code ping(const struct frame *request, struct answer *answer) {
    /* Nanoseconds by a factor of 24 binary places: a division of 64 bits would be a tenth of the firmware. */
    const uint32_t factor = (uint32_t)((1000000000ull << 24) / BOARD_TICK_HZ);
    uint64_t ticks = port_ticks();
    uint64_t ns = (ticks >> 24) * factor + ((ticks & 0xFFFFFFu) * factor >> 24);
    memcpy(answer->payload, request->payload, 8);
    ends_at(answer, TYPE_PONG, put_u64(answer->payload + 8, ns));
    return CODE_NONE;
}

static enum code identify(const struct frame *request, struct answer *answer) {
    (void)request;
    uint8_t *at = put_u16(put_u16(answer->payload, PROTOCOL_VERSION), PROTOCOL_VERSION);
    at = put_u32(put_u32(put_u32(at, OWN_CAPABILITIES | kernel_capabilities), BOARD_TICK_HZ), BOARD_CORE_HZ);
    at = put_u8(put_u8(put_u16(at, BOARD_MAX_PAYLOAD), LINE_WINDOW), BOARD_PORTS);
    at = put_u16(put_u16(at, IMAGE_FORMAT), kernel_version);
    memcpy(at, build_hash, sizeof build_hash);
    at = put_short(put_short(put_short(at + sizeof build_hash, BOARD_NAME), BOARD_CORE), port_uid());
    ends_at(answer, TYPE_BOARD_IDENTITY, at);
    return CODE_NONE;
}

/* How far a piece of RAM is not the pattern of MODEL_LOAD any more. */
static uint32_t touched(const uint8_t *from, uint32_t bytes) {
    while (bytes > 0 && from[bytes - 1] == paint) bytes--;
    return bytes;
}

static enum code memory_query(const struct frame *request, struct answer *answer) {
    (void)request;
    struct port_memory memory;
    port_memory(&memory);
    const uint32_t rings = sizeof uart_rings;
    const struct runtime_facts *model = runtime_facts();
    const uint8_t *scratch = memory.arena + model->scratch_at;
    const uint32_t numbers[] = {
        memory.ram_limit,   memory.data,       memory.bss - rings, rings,
        memory.stack,       memory.stack_used, memory.arena_bytes, claimed,
        touched(memory.arena, model->arena), touched(scratch, model->scratch),
        memory.flash_limit, memory.flash_used, BOARD_SLOT_BYTES, BOARD_SECTOR_BYTES,
        BOARD_WRITE_UNIT,   BOARD_ERASE_MS,    slot_state()->size,
    };
    uint8_t *at = answer->payload;
    for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++) at = put_u32(at, numbers[i]);
    ends_at(answer, TYPE_MEMORY, at);
    return CODE_NONE;
}

static enum code fault_query(const struct frame *request, struct answer *answer) {
    (void)request;
    const struct retained *kept = port_retained();
    uint8_t *at = put_u8(put_u8(answer->payload, kept->fault_kind), kept->fault_phase);
    at = put_u32(put_u16(at, kept->fault_operator), kept->fault_boot);
    at = put_u32(put_u32(at, kept->fault_pc), kept->fault_lr);
    ends_at(answer, TYPE_FAULT, put_u32(put_u32(at, kept->fault_status), kept->fault_address));
    return CODE_NONE;
}

static enum code reset(const struct frame *request, struct answer *answer) {
    (void)answer;
    uint8_t how = request->payload[0];
    if (how < RESET_RESTART || how > RESET_CRASH) return CODE_BAD_MESSAGE;
    if (how == RESET_HANG && (BOARD_CAPABILITIES & CAPABILITY_WATCHDOG) == 0) return CODE_UNSUPPORTED;
    protocol_reset_after(how);
    return CODE_NONE;
}

static enum code set_baud(const struct frame *request, struct answer *answer) {
    (void)answer;
    uint32_t baud = get_u32(request->payload);
    if (baud < BOARD_BAUD_LEAST || baud > BOARD_BAUD_MOST) return CODE_OUT_OF_RANGE;
    protocol_baud_after(baud);
    return CODE_NONE;
}

static enum code slot_query(const struct frame *request, struct answer *answer) {
    (void)request;
    const struct slot_state *slot = slot_state();
    uint8_t *at = put_u32(put_u32(put_u8(answer->payload, slot->phase), slot->size), slot->next);
    memcpy(at, slot->hash, SHA256_BYTES);
    ends_at(answer, TYPE_SLOT_STATE, at + SHA256_BYTES);
    return CODE_NONE;
}

static enum code begin(const struct frame *request, struct answer *answer) {
    requests_reset(); /* the model lies in the slot */
    enum code code = slot_begin(get_u32(request->payload), request->payload + 4);
    return code != CODE_NONE ? code : slot_query(request, answer);
}

static enum code data(const struct frame *request, struct answer *answer) {
    enum code code = slot_data(get_u32(request->payload), request->payload + 4, request->bytes - 4);
    ends_at(answer, TYPE_SLOT_ACK, put_u32(answer->payload, slot_state()->next));
    return code;
}

static uint32_t arena_bytes(void) {
    struct port_memory memory;
    port_memory(&memory);
    return memory.arena_bytes;
}

static enum code commit(const struct frame *request, struct answer *answer) {
    enum code code = slot_commit(arena_bytes());
    return code != CODE_NONE ? code : slot_query(request, answer);
}

static enum code hash(const struct frame *request, struct answer *answer) {
    (void)request;
    uint8_t *at = put_u32(answer->payload, slot_state()->next);
    slot_hash(at);
    ends_at(answer, TYPE_SLOT_DIGEST, at + SHA256_BYTES);
    return CODE_NONE;
}

static enum code model_load(const struct frame *request, struct answer *answer) {
    const struct slot_state *slot = slot_state();
    uint8_t digest[SHA256_BYTES];
    struct port_memory memory;
    requests_reset();
    if (slot->phase != SLOT_VALID) return CODE_WRONG_STATE;
    slot_hash(digest);
    if (memcmp(digest, request->payload, sizeof digest) != 0) return CODE_HASH_MISMATCH;
    port_memory(&memory);
    paint = request->payload[SHA256_BYTES];
    memset(memory.arena, paint, memory.arena_bytes);
    port_retained()->phase = PHASE_LOAD;
    enum code code = runtime_load(port_slot_data(), slot->size, memory.arena, memory.arena_bytes);
    if (code != CODE_NONE) return code;
    const struct runtime_facts *facts = runtime_facts();
    claimed = facts->claimed;
    uint8_t *at = put_u16(put_u16(put_u16(answer->payload, facts->inputs), facts->outputs), facts->operators);
    ends_at(answer, TYPE_MODEL_FACTS, put_u32(put_u32(put_u32(at, facts->arena), facts->scratch), facts->weights));
    return CODE_NONE;
}

static enum code unload(const struct frame *request, struct answer *answer) {
    (void)request;
    (void)answer;
    requests_reset();
    return CODE_NONE;
}

static enum code setup(const struct frame *request, struct answer *answer) {
    (void)answer;
    const uint8_t *at = request->payload;
    return link_setup(at[0], get_u32(at + 1), get_u16(at + 5), at[7]);
}

static enum code route(const struct frame *request, struct answer *answer) {
    (void)answer;
    const uint8_t *at = request->payload;
    struct port_memory memory;
    port_memory(&memory);
    struct route route = {
        .tensor = get_u16(at), .size = get_u32(at + 2), .depth = at[6], .from_port = at[7], .to_ports = at[8],
        .use = at[9], .index = get_u16(at + 10),
    };
    return link_route(&route, memory.arena + claimed, memory.arena_bytes - claimed, &claimed);
}

static enum code start(const struct frame *request, struct answer *answer) {
    (void)answer;
    enum { MODE_RUN = 1 };
    if (request->payload[0] != MODE_RUN) return CODE_UNSUPPORTED;
    link_start();
    return run_start(get_u32(request->payload + 1), true);
}

static enum code stop(const struct frame *request, struct answer *answer) {
    (void)request;
    run_stop();
    ends_at(answer, TYPE_STOPPED, put_u32(answer->payload, run_figures()->done));
    return CODE_NONE;
}

static enum code run(const struct frame *request, struct answer *answer) {
    answer->later = true;
    return run_start(get_u32(request->payload), false);
}

uint32_t requests_ran(uint8_t *payload) {
    const struct run_figures *figures = run_figures();
    uint8_t *at = put_u64(put_u32(payload, figures->done), figures->ticks);
    return (uint32_t)(put_u64(put_u64(at, figures->least), figures->most) - payload);
}

/* Counters stand in memory as they stand in the message. */
static uint8_t *put_bytes(uint8_t *at, const void *counters, uint32_t bytes) {
    memcpy(at, counters, bytes);
    return at + bytes;
}

_Static_assert(sizeof line_counters == 12 && sizeof uart_counters == 24, "counters have gaps");

static enum code status(const struct frame *request, struct answer *answer) {
    (void)request;
    const struct run_figures *figures = run_figures();
    uint8_t *at = put_u32(put_u64(answer->payload, port_ticks()), port_retained()->boots);
    at = put_u8(put_u8(at, protocol_cause()), run_active() ? PHASE_OPERATOR : PHASE_IDLE);
    at = put_bytes(at, &line_counters, sizeof line_counters);
    at = put_bytes(at, &uart_counters, sizeof uart_counters);
    at = put_u32(put_u32(at, protocol_baud()), figures->done);
    at = put_u64(put_u64(at, figures->ticks), figures->waited);
    ends_at(answer, TYPE_BOARD_STATISTICS, put_bytes(at, &link_counters, LINK_COUNTERS_SENT));
    return CODE_NONE;
}

static enum code times(const struct frame *request, struct answer *answer) {
    uint16_t first = get_u16(request->payload);
    uint16_t operators = runtime_facts()->operators;
    uint8_t *at = put_u32(put_u16(put_u16(answer->payload, first), operators), run_figures()->done);
    for (unsigned i = first; i < operators && (uint32_t)(at - answer->payload) + 8u <= BOARD_MAX_PAYLOAD; i++) {
        at = put_u64(at, runtime_ticks((uint16_t)i));
    }
    ends_at(answer, TYPE_TIMES, at);
    return CODE_NONE;
}

static enum code input_write(const struct frame *request, struct answer *answer) {
    (void)answer;
    struct runtime_tensor tensor = runtime_input(get_u16(request->payload));
    uint32_t offset = get_u32(request->payload + 2);
    uint32_t bytes = request->bytes - 6;
    if (tensor.data == 0 || offset > tensor.bytes || bytes > tensor.bytes - offset) return CODE_MODEL;
    memcpy(tensor.data + offset, request->payload + 6, bytes);
    return CODE_NONE;
}

static enum code output_read(const struct frame *request, struct answer *answer) {
    struct runtime_tensor tensor = runtime_output(get_u16(request->payload));
    uint32_t offset = get_u32(request->payload + 2);
    uint32_t bytes = get_u16(request->payload + 6);
    if (tensor.data == 0 || offset > tensor.bytes || bytes > tensor.bytes - offset) return CODE_MODEL;
    if (bytes > BOARD_MAX_PAYLOAD - 6u) return CODE_OUT_OF_RANGE;
    memcpy(answer->payload, request->payload, 6);
    memcpy(answer->payload + 6, tensor.data + offset, bytes);
    ends_at(answer, TYPE_OUTPUT_BYTES, answer->payload + 6 + bytes);
    return CODE_NONE;
}

const struct request requests[] = {
    {TYPE_ATTACH, 14, 0, REQUEST_FREE | REQUEST_RUNNING, attach},
    {TYPE_PING, 8, 0, REQUEST_FREE | REQUEST_RUNNING, ping},
    {TYPE_IDENTIFY, 0, 0, REQUEST_FREE | REQUEST_RUNNING, identify},
    {TYPE_MEMORY_QUERY, 0, 0, REQUEST_FREE, memory_query},
    {TYPE_FAULT_QUERY, 0, 0, REQUEST_FREE | REQUEST_RUNNING, fault_query},
    {TYPE_STATUS, 0, 0, REQUEST_FREE | REQUEST_RUNNING, status},
    {TYPE_SLOT_QUERY, 0, 0, REQUEST_FREE | REQUEST_RUNNING, slot_query},
    {TYPE_SLOT_HASH, 0, 0, REQUEST_FREE, hash},
    {TYPE_RESET, 1, 0, REQUEST_RUNNING, reset},
    {TYPE_SET_BAUD, 4, 0, 0, set_baud},
    {TYPE_SLOT_BEGIN, 36, 0, 0, begin},
    {TYPE_SLOT_DATA, 4, 1, 0, data},
    {TYPE_SLOT_COMMIT, 0, 0, 0, commit},
    {TYPE_MODEL_LOAD, 33, 0, 0, model_load},
    {TYPE_UNLOAD, 0, 0, REQUEST_RUNNING, unload},
    {TYPE_LINK_SETUP, 8, 0, 0, setup},
    {TYPE_ROUTE, 12, 0, 0, route},
    {TYPE_START, 5, 0, 0, start},
    {TYPE_STOP, 0, 0, REQUEST_RUNNING, stop},
    {TYPE_RUN, 4, 0, 0, run},
    {TYPE_TIMES_QUERY, 2, 0, 0, times},
    {TYPE_INPUT_WRITE, 6, 1, 0, input_write},
    {TYPE_OUTPUT_READ, 8, 0, 0, output_read},
};
const uint8_t request_count = sizeof requests / sizeof requests[0];
