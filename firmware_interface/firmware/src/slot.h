/* The model slot: written in order, resumed after a break, valid only after the last word (PROTOCOL.md, section 10). */
#ifndef SLOT_H
#define SLOT_H

#include <stdint.h>

#include "catalogue.h"
#include "sha256.h"

struct slot_state {
    uint8_t phase; /* enum slot_phase */
    uint32_t size;
    uint32_t next;
    uint8_t hash[SHA256_BYTES]; /* as announced; all zero when empty */
};

/* Find out what the slot holds, after a reset. */
void slot_open(void);
const struct slot_state *slot_state(void);

/* Begin, or go on with an image that was begun before: state()->next tells where. */
enum code slot_begin(uint32_t size, const uint8_t hash[SHA256_BYTES]);

/* Program what comes next; bytes elsewhere are left out without harm. */
enum code slot_data(uint32_t offset, const uint8_t *data, uint32_t bytes);

/* Read everything back and make the image valid. `ram_bytes`: what a model may claim. */
enum code slot_commit(uint32_t ram_bytes);

/* The hash of what stands in the slot, read now. */
void slot_hash(uint8_t digest[SHA256_BYTES]);

#endif
