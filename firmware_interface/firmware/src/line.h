/* Frames on the lines: in through parsers, out through one buffer for answers and one for everything else. */
#ifndef LINE_H
#define LINE_H

#include "frame.h"
#include "port.h"

enum { LINE_FRAME = FRAME_EXTRA + BOARD_MAX_PAYLOAD, HOST_PORT = 0 };

/* Frames that a ring holds while the one before is being worked on. */
#define LINE_WINDOW (BOARD_RING_BYTES / FRAME_ON_LINE(BOARD_MAX_PAYLOAD))
_Static_assert(LINE_WINDOW >= 1, "BOARD_RING_BYTES must hold a frame of BOARD_MAX_PAYLOAD");

/* In the order of BOARD_STATISTICS. */
struct line_counters {
    uint32_t good;
    uint32_t bad;
    uint32_t too_long;
};

extern struct line_counters line_counters;

void line_open(void);

/* Work on the bytes that wait; true when there were any. */
bool line_poll(void);

/* Room for a payload of BOARD_MAX_PAYLOAD bytes, then send it. Lost at the next line_payload(). */
uint8_t *line_payload(void);
void line_send(uint8_t port, uint8_t type, uint16_t channel, uint32_t sequence, uint32_t payload_bytes);

/* A LOG line to the host. */
void line_log(uint8_t level, const char *text);

/* Where good frames go. */
void protocol_frame(uint8_t port, const struct frame *frame);

#endif
