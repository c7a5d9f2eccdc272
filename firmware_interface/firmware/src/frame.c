#include "frame.h"

#include "bytes.h"
#include "catalogue.h"
#include "crc32.h"

static void start_piece(struct frame_parser *parser) {
    parser->length = 0;
    parser->left = 0;
    parser->begun = 0;
    parser->full = 0;
    parser->bad = FRAME_NONE;
}

void frame_parser_start(struct frame_parser *parser, uint8_t *buffer, uint16_t capacity) {
    parser->buffer = buffer;
    parser->capacity = capacity;
    start_piece(parser);
}

static void append(struct frame_parser *parser, uint8_t byte) {
    if (parser->length == parser->capacity) {
        parser->bad = FRAME_TOO_LONG;
        return;
    }
    parser->buffer[parser->length++] = byte;
}

static enum frame_result check(const struct frame_parser *parser, struct frame *frame) {
    const uint8_t *plain = parser->buffer;
    if (parser->left > 0) return FRAME_BAD_COBS;
    if (parser->length < FRAME_EXTRA) return FRAME_BAD_SIZE;
    uint32_t body = parser->length - (uint32_t)FRAME_CRC;
    if (crc32(plain, body) != get_u32(plain + body)) return FRAME_BAD_CRC;
    if ((plain[0] & 15u) != FRAMING_VERSION) return FRAME_BAD_VERSION;
    if (plain[0] >> 4 > 1) return FRAME_BAD_FLAGS;
    frame->flags = plain[0] >> 4;
    frame->type = plain[1];
    frame->channel = get_u16(plain + 2);
    frame->sequence = get_u32(plain + 4);
    frame->payload = plain + FRAME_HEADER;
    frame->bytes = body - FRAME_HEADER;
    return FRAME_GOOD;
}

enum frame_result frame_parser_take(struct frame_parser *parser, uint8_t byte, struct frame *frame) {
    if (byte == 0) {
        enum frame_result result = (enum frame_result)parser->bad;
        if (result == FRAME_NONE && parser->begun) result = check(parser, frame);
        start_piece(parser);
        return result;
    }
    if (parser->bad != FRAME_NONE) return FRAME_NONE;
    if (parser->left > 0) {
        parser->left--;
        append(parser, byte);
        return FRAME_NONE;
    }
    if (parser->begun && !parser->full) append(parser, 0);
    parser->begun = 1;
    parser->full = byte == 255;
    parser->left = (uint8_t)(byte - 1);
    return FRAME_NONE;
}

uint32_t frame_finish(uint8_t *plain, uint8_t type, uint16_t channel, uint32_t sequence, uint32_t payload_bytes) {
    uint32_t body = FRAME_HEADER + payload_bytes;
    put_u32(put_u16(put_u8(put_u8(plain, FRAMING_VERSION), type), channel), sequence);
    put_u32(plain + body, crc32(plain, body));
    return body + FRAME_CRC;
}

void frame_encode(const uint8_t *plain, uint32_t bytes, void (*put)(void *context, uint8_t byte), void *context) {
    const uint8_t *end = plain + bytes;
    for (;;) {
        uint32_t block = 0;
        while (plain + block < end && block < 254 && plain[block] != 0) block++;
        put(context, (uint8_t)(block + 1));
        for (uint32_t i = 0; i < block; i++) put(context, plain[i]);
        plain += block;
        if (plain == end) break;
        if (block < 254) {
            plain++; /* the zero is implied by the code */
        }
    }
    put(context, 0);
}
