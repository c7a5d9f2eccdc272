#include "line.h"

#include "bytes.h"
#include "uart.h"

struct line_counters line_counters;

static uint8_t in[BOARD_PORTS][LINE_FRAME];
static uint8_t out[LINE_FRAME];
static struct frame_parser parsers[BOARD_PORTS];

void line_open(void) {
    for (unsigned port = 0; port < BOARD_PORTS; port++) {
        frame_parser_start(&parsers[port], in[port], LINE_FRAME);
        port_uart_open((uint8_t)port, BOARD_BAUD);
    }
}

static void take(uint8_t port, uint8_t byte) {
    struct frame frame;
    switch (frame_parser_take(&parsers[port], byte, &frame)) {
        case FRAME_NONE:
            break;
        case FRAME_GOOD:
            line_counters.good++;
            protocol_frame(port, &frame);
            break;
        case FRAME_TOO_LONG:
            line_counters.too_long++;
            break;
        default:
            line_counters.bad++;
    }
}

bool line_poll(void) {
    enum { AT_ONCE = 256 }; /* so that a busy line does not starve the others, or the watchdog */
    bool any = false;
    port_poll();
    for (uint8_t port = 0; port < BOARD_PORTS; port++) {
        uint8_t byte;
        for (unsigned i = 0; i < AT_ONCE && uart_take(port, &byte); i++) {
            any = true;
            take(port, byte);
        }
    }
    return any;
}

uint8_t *line_payload(void) { return out + FRAME_HEADER; }

void line_send(uint8_t port, uint8_t type, uint16_t channel, uint32_t sequence, uint32_t payload_bytes) {
    (void)uart_send_frame(port, out, frame_finish(out, type, channel, sequence, payload_bytes));
}

void line_log(uint8_t level, const char *text) {
    uint8_t *payload = line_payload();
    line_send(HOST_PORT, TYPE_LOG, 0, 0, (uint32_t)(put_text(put_u8(payload, level), text) - payload));
}
