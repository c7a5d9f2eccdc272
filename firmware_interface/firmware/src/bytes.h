/* Little-endian numbers at any address. Our cores are little-endian and load from anywhere, so each is one
 * instruction; a port to another core gets an error here. */
#ifndef BYTES_H
#define BYTES_H

#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the core must be little-endian");

static inline uint16_t get_u16(const uint8_t *at) {
    uint16_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}

static inline uint32_t get_u32(const uint8_t *at) {
    uint32_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}

static inline uint64_t get_u64(const uint8_t *at) {
    uint64_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}

/* Each returns the place behind what it wrote, so that a payload is one chain of calls. */
static inline uint8_t *put_u8(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)value;
    return at + 1;
}

static inline uint8_t *put_u16(uint8_t *at, uint32_t value) {
    uint16_t half = (uint16_t)value;
    __builtin_memcpy(at, &half, sizeof half);
    return at + sizeof half;
}

static inline uint8_t *put_u32(uint8_t *at, uint32_t value) {
    __builtin_memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

static inline uint8_t *put_u64(uint8_t *at, uint64_t value) {
    __builtin_memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

uint8_t *put_short(uint8_t *at, const char *text);
uint8_t *put_text(uint8_t *at, const char *text);

#endif
