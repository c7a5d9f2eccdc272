/* What the float32 kernels share. */
#ifndef FLOAT32_H
#define FLOAT32_H

#include "arithmetic.h"

static inline float *tensor_f32(const struct kernel_memory *memory, uint32_t at) {
    return (float *)(void *)(memory->arena + at);
}

static inline const float *weights_f32(const struct kernel_memory *memory, uint32_t at) {
    return (const float *)(const void *)(memory->weights + at);
}

static inline bool inside_f32(uint32_t at, uint64_t count, uint32_t limit) {
    return at % 4 == 0 && inside(at, 4 * count, limit);
}

static inline float limit_f32(float value, float low, float high) {
    return value < low ? low : value > high ? high : value;
}

#endif
