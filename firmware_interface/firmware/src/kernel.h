/* The interface between the runtime and the kernels.
 *
 * A kernel reads its record in the image, its weights, and the arena; it writes the arena. `check` runs once when the
 * image is loaded and must refuse every record that could make `run` leave arena, scratch or image: `run` checks
 * nothing any more. */
#ifndef KERNEL_H
#define KERNEL_H

#include <stdbool.h>
#include <stdint.h>

struct kernel_memory {
    const uint8_t *weights;
    uint32_t weight_bytes;
    uint8_t *arena;
    uint32_t arena_bytes;
    uint8_t *scratch; /* contents are lost between operators */
    uint32_t scratch_bytes;
};

struct kernel {
    bool (*check)(const struct kernel_memory *memory, const uint8_t *record, uint32_t bytes);
    void (*run)(const struct kernel_memory *memory, const uint8_t *record);
};

/* Number 0 is COPY: u32 from, u32 to, u32 bytes behind the record's head; places in the arena, which may overlap. */
extern const struct kernel kernel_copy;

/* By kernel number. An entry without `run` is not in this firmware. */
extern const struct kernel *const kernel_table[];
extern const uint16_t kernel_count;

/* Of the records' layout; 0: COPY alone. */
extern const uint16_t kernel_version;

/* CAPABILITY_INT8, _FLOAT32, _DSP: what the table holds. */
extern const uint32_t kernel_capabilities;

#endif
