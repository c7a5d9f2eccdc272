#include "bytes.h"

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
