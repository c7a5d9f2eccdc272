/* The model runtime: one model from an image in memory, run operator by operator. */
#ifndef RUNTIME_H
#define RUNTIME_H

#include <stdbool.h>
#include <stdint.h>

#include "catalogue.h"

struct runtime_tensor {
    uint8_t *data;
    uint32_t bytes;
};

struct runtime_facts {
    uint16_t inputs;
    uint16_t outputs;
    uint16_t operators;
    uint32_t arena;
    uint32_t scratch;
    uint32_t scratch_at; /* in the RAM given to runtime_load, where the arena begins at 0 */
    uint32_t times_at;
    uint32_t weights;
    uint32_t claimed; /* of the RAM given to runtime_load: arena, scratch, times; a multiple of 16 */
};

/* Whether `image` is one that this firmware on this board can take: header, tables, records, and `ram_bytes`. */
enum code runtime_check(const uint8_t *image, uint32_t image_bytes, uint32_t ram_bytes);

/* Check and make ready. The image must stay where it is; `ram` is 16-aligned. */
enum code runtime_load(const uint8_t *image, uint32_t image_bytes, uint8_t *ram, uint32_t ram_bytes);
void runtime_unload(void);
bool runtime_loaded(void);

/* All zero when nothing is loaded. */
const struct runtime_facts *runtime_facts(void);

/* Data 0 when there is none of that index. */
struct runtime_tensor runtime_input(uint16_t index);
struct runtime_tensor runtime_output(uint16_t index);

/* Run the next operator; true when the inference is complete and the next call begins another. */
bool runtime_step(void);

/* Give the inference in progress up. */
void runtime_restart(void);

/* Number of the operator that runtime_step() will run or is running. */
uint16_t runtime_operator(void);

/* Ticks in an operator over all complete inferences and the one in progress, since loading. */
uint64_t runtime_ticks(uint16_t operator_index);

#endif
