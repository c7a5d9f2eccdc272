#include "bytes.h"

uint8_t *put_u32(uint8_t *at, uint32_t value) { return put_u16(put_u16(at, value), value >> 16); }

uint8_t *put_u64(uint8_t *at, uint64_t value) { return put_u32(put_u32(at, (uint32_t)value), (uint32_t)(value >> 32)); }

/* A text with its length in one byte before it; callers' texts are constants below 256 bytes. */
uint8_t *put_short(uint8_t *at, const char *text) {
    uint8_t *end = put_text(at + 1, text);
    at[0] = (uint8_t)(end - at - 1);
    return end;
}

uint8_t *put_text(uint8_t *at, const char *text) {
    while (*text != 0) *at++ = (uint8_t)*text++;
    return at;
}
