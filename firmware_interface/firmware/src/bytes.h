/* Little-endian numbers at any address. */
#ifndef BYTES_H
#define BYTES_H

#include <stdint.h>

static inline uint16_t get_u16(const uint8_t *at) { return (uint16_t)(at[0] | (unsigned)at[1] << 8); }

static inline uint32_t get_u32(const uint8_t *at) { return get_u16(at) | (uint32_t)get_u16(at + 2) << 16; }

static inline uint64_t get_u64(const uint8_t *at) { return get_u32(at) | (uint64_t)get_u32(at + 4) << 32; }

/* Each returns the place behind what it wrote, so that a payload is one chain of calls. */
static inline uint8_t *put_u8(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)value;
    return at + 1;
}

static inline uint8_t *put_u16(uint8_t *at, uint32_t value) { return put_u8(put_u8(at, value), value >> 8); }

/* Kept out of line: payloads are made of these, and calls are smaller than copies. */
uint8_t *put_u32(uint8_t *at, uint32_t value);
uint8_t *put_u64(uint8_t *at, uint64_t value);
uint8_t *put_short(uint8_t *at, const char *text);
uint8_t *put_text(uint8_t *at, const char *text);

#endif
