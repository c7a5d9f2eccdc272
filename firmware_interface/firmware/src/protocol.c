#include "protocol.h"

#include "bytes.h"
#include "line.h"
#include "link.h"
#include "retained.h"
#include "run.h"
#include "uart.h"

enum { BAUD_TRIAL_S = 1 };

static struct {
    uint16_t session;
    uint8_t cause;
    uint8_t reset_after;
    uint32_t baud;
    uint32_t baud_before; /* while a new rate is on trial, else 0 */
    uint32_t baud_after;
    uint64_t trial_end;
} state;

struct request_id {
    uint32_t sequence;
    uint16_t channel;
    uint8_t type;
};

/* The last answer, kept for a host that did not get it. */
static struct {
    uint8_t plain[LINE_FRAME];
    uint32_t bytes; /* 0: still being worked on, or none */
    struct request_id id;
} last;

static struct request_id running; /* the RUN that is answered later; other requests may come before */

/* Each text stands behind its code, without one that says all by its name; no text holds a character below the space. */
static const char texts[] =
    "\001bad payload"
    "\004STOP first"
    "\007hash differs"
    "\010slot failed"
    "\012no tensor"
    "\013no link"
    "\021ATTACH first"
    "\024too little RAM";

static uint8_t *put_reason(uint8_t *at, enum code code) {
    const char *text = texts;
    while (*text != 0 && *text != (char)code) text++;
    while (*text != 0 && *++text >= ' ') *at++ = (uint8_t)*text;
    return at;
}

void protocol_open(uint8_t cause) {
    state.cause = cause;
    state.baud = BOARD_BAUD;
}

uint8_t protocol_cause(void) { return state.cause; }

uint32_t protocol_baud(void) { return state.baud; }

void protocol_reset_after(uint8_t how) { state.reset_after = how; }

void protocol_baud_after(uint32_t baud) { state.baud_after = baud; }

enum code protocol_attach(uint64_t lease, uint16_t session) {
    struct retained *kept = port_retained();
    if (session == 0) return CODE_BAD_MESSAGE;
    if (lease < kept->lease) return CODE_STALE_LEASE;
    kept->lease = lease;
    state.session = session;
    requests_reset();
    return CODE_NONE;
}

static void send_last(void) { (void)uart_send_frame(HOST_PORT, last.plain, last.bytes); }

static void finish(uint8_t type, uint32_t bytes) {
    last.bytes = frame_finish(last.plain, type, last.id.channel, last.id.sequence, bytes);
    send_last();
}

static void finish_error(enum code code) {
    uint8_t *payload = last.plain + FRAME_HEADER;
    uint8_t *end = put_u16(payload, (uint32_t)code);
    finish(TYPE_ERROR, (uint32_t)(put_reason(end, code) - payload));
}

static const struct request *find(uint8_t type) {
    for (unsigned i = 0; i < request_count; i++) {
        if (requests[i].type == type) return &requests[i];
    }
    return 0;
}

static enum code may_come(const struct request *request, const struct frame *frame) {
    if (request == 0) return CODE_UNSUPPORTED;
    if (frame->bytes < request->bytes || (frame->bytes > request->bytes && !request->more)) return CODE_BAD_MESSAGE;
    if ((request->rules & REQUEST_FREE) == 0) {
        if (state.session == 0) return CODE_NOT_ATTACHED;
        if (frame->channel != state.session) return CODE_STALE_LEASE;
    }
    if (run_active() && (request->rules & REQUEST_RUNNING) == 0) return CODE_BUSY;
    return CODE_NONE;
}

static void act_after_answer(void) {
    if (state.reset_after == 0 && state.baud_after == 0) return;
    while (!port_uart_drained(HOST_PORT)) port_watchdog_feed();
    if (state.baud_after != 0) {
        state.baud_before = state.baud;
        state.baud = state.baud_after;
        state.baud_after = 0;
        state.trial_end = port_ticks() + (uint64_t)BOARD_TICK_HZ * BAUD_TRIAL_S;
        port_uart_open(HOST_PORT, state.baud);
    }
    if (state.reset_after == RESET_HANG) port_hang();
    if (state.reset_after == RESET_CRASH) port_crash();
    if (state.reset_after != 0) {
        port_retained()->intent = CAUSE_REQUESTED;
        port_reset();
    }
}

static bool is(const struct request_id *id, const struct frame *frame) {
    return id->sequence == frame->sequence && id->channel == frame->channel && id->type == frame->type;
}

static void take_request(const struct frame *frame) {
    if (is(&last.id, frame)) {
        if (last.bytes != 0) send_last();
        return;
    }
    if (run_active() && is(&running, frame)) return;
    last.id = (struct request_id){.sequence = frame->sequence, .channel = frame->channel, .type = frame->type};
    last.bytes = 0;
    struct answer answer = {.type = TYPE_OK, .bytes = 0, .payload = last.plain + FRAME_HEADER, .later = false};
    const struct request *request = find(frame->type);
    enum code code = may_come(request, frame);
    if (code == CODE_NONE) code = request->handle(frame, &answer);
    if (code != CODE_NONE) {
        finish_error(code);
    } else if (!answer.later) {
        finish(answer.type, answer.bytes);
    } else {
        running = last.id;
    }
    act_after_answer();
}

void protocol_frame(uint8_t port, const struct frame *frame) {
    retained_phase(PHASE_MESSAGE);
    if (port == HOST_PORT) state.baud_before = 0; /* a good frame at the new rate: it stays */
    if (frame->type == TYPE_PART || frame->type == TYPE_PART_ACK || frame->type == TYPE_CREDIT) {
        link_frame(port, frame);
    } else if (port == HOST_PORT) {
        take_request(frame);
    }
}

bool protocol_poll(void) {
    if (state.baud_before != 0 && port_ticks() > state.trial_end) {
        state.baud = state.baud_before;
        state.baud_before = 0;
        port_uart_open(HOST_PORT, state.baud);
    }
    if (!run_ended()) return false;
    last.id = running;
    finish(TYPE_RAN, requests_ran(last.plain + FRAME_HEADER));
    return true;
}
