/* libFuzzer: bytes on the firmware's lines. The first byte of a piece chooses the port and how the rest is used: as it
 * is, or as the header and payload of a whole frame, so that the dispatcher is reached. */
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "fake_port.h"
#include "line.h"
#include "link.h"
#include "protocol.h"
#include "run.h"
#include "slot.h"
#include "uart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static uint8_t line_port;

static void feed(void *context, uint8_t byte) {
    (void)context;
    uart_received(line_port, byte);
}

static void work(void) {
    for (unsigned i = 0; i < 8; i++) {
        (void)line_poll();
        (void)protocol_poll();
        (void)link_poll();
        (void)run_poll();
    }
}

static void piece(const uint8_t *data, uint32_t bytes) {
    static uint8_t plain[LINE_FRAME];
    line_port = data[0] % BOARD_PORTS;
    if (data[0] < 64 || bytes < 3) {
        for (uint32_t i = 1; i < bytes; i++) feed(0, data[i]);
    } else {
        uint32_t payload = bytes - 3;
        memcpy(plain + FRAME_HEADER, data + 3, payload);
        uint16_t session = data[0] < 240 ? 1 : data[2];
        frame_encode(plain, frame_finish(plain, data[1], session, data[2], payload), feed, 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (setjmp(fake_power) == 0) {
        requests_reset();
        line_open();
        slot_open();
        protocol_open(CAUSE_POWER_ON);
        port_retained()->lease = 0;
        (void)protocol_attach(0, 1);
        while (bytes > 0) {
            uint32_t length = data[0];
            data++;
            bytes--;
            if (length > bytes) length = (uint32_t)bytes;
            if (length == 0) continue;
            piece(data, length);
            data += length;
            bytes -= length;
            work();
        }
    }
    return 0;
}
