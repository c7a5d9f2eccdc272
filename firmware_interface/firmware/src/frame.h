/* Serial framing (PROTOCOL.md, section 9): COBS around a header of 8 bytes, a payload and a CRC-32. */
#ifndef FRAME_H
#define FRAME_H

#include <stdint.h>

enum {
    FRAME_HEADER = 8,
    FRAME_CRC = 4,
    FRAME_EXTRA = FRAME_HEADER + FRAME_CRC,
};

/* Bytes on the line for a payload, delimiter included. */
#define FRAME_ON_LINE(payload) ((payload) + FRAME_EXTRA + ((payload) + FRAME_EXTRA) / 254 + 2)

enum frame_result {
    FRAME_NONE, /* not at an end yet, or an empty piece */
    FRAME_GOOD,
    FRAME_BAD_COBS,
    FRAME_BAD_SIZE,
    FRAME_BAD_CRC,
    FRAME_BAD_VERSION,
    FRAME_BAD_FLAGS,
    FRAME_TOO_LONG,
};

/* Takes a line's bytes one by one. `buffer` holds the decoded frame and belongs to the caller. */
struct frame_parser {
    uint8_t *buffer;
    uint16_t capacity;
    uint16_t length;
    uint8_t left;  /* bytes that the current block still wants */
    uint8_t begun; /* a code has come since the last delimiter */
    uint8_t full;  /* the current block covers no zero */
    uint8_t bad;   /* skip to the next delimiter, then say this */
};

struct frame {
    uint8_t type;
    uint8_t flags;
    uint16_t channel;
    uint32_t sequence;
    const uint8_t *payload;
    uint32_t bytes;
};

void frame_parser_start(struct frame_parser *parser, uint8_t *buffer, uint16_t capacity);

/* FRAME_GOOD fills `frame`, which is valid until the next call. */
enum frame_result frame_parser_take(struct frame_parser *parser, uint8_t byte, struct frame *frame);

/* Complete the frame whose payload stands at plain + FRAME_HEADER; returns the bytes to encode. */
uint32_t frame_finish(uint8_t *plain, uint8_t type, uint16_t channel, uint32_t sequence, uint32_t payload_bytes);

/* COBS with delimiter, byte by byte into `put`. */
void frame_encode(const uint8_t *plain, uint32_t bytes, void (*put)(void *context, uint8_t byte), void *context);

#endif
