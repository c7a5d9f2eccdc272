/* The arithmetic of the int8 kernels, as KERNELS.md defines it: the same result bit for bit with DSP instructions and
 * without. KERNELS_PORTABLE leaves the instructions out on a core that has them, for comparison. */
#ifndef ARITHMETIC_H
#define ARITHMETIC_H

#include <stdbool.h>
#include <stdint.h>

#include "kernel.h"
#include "records.h"

#if defined(__ARM_FEATURE_DSP) && !defined(__ARM_FEATURE_MVE) && !defined(KERNELS_PORTABLE)
#include <arm_acle.h>
#define KERNELS_DSP 1
#else
#define KERNELS_DSP 0
#endif

static inline bool inside(uint32_t at, uint64_t bytes, uint32_t limit) { return at <= limit && bytes <= limit - at; }

static inline int8_t *tensor_i8(const struct kernel_memory *memory, uint32_t at) {
    return (int8_t *)(void *)(memory->arena + at);
}

static inline const int8_t *weights_i8(const struct kernel_memory *memory, uint32_t at) {
    return (const int8_t *)(const void *)(memory->weights + at);
}

static inline int32_t clamp(int32_t value, int32_t low, int32_t high) {
    return value < low ? low : value > high ? high : value;
}

/* zero + the integer nearest to accumulator * multiplier / 2^(32 + shift), halves up; saturated to int8. */
int8_t requantize(int32_t accumulator, int32_t multiplier, int32_t shift, int32_t zero);

/* The same where the shift is above 0 (CONV_SHORT). */
static inline int8_t requantize_short(int32_t accumulator, int32_t multiplier, int32_t shift, int32_t zero) {
    int32_t high;
#if KERNELS_DSP
    /* The bit that was shifted out last is the carry. */
    __asm("smmul %0, %1, %2" : "=r"(high) : "r"(accumulator), "r"(multiplier));
    __asm("asrs %0, %0, %1\n\tadc %0, %0, %2" : "+r"(high) : "r"(shift), "r"(zero) : "cc");
    __asm("ssat %0, #8, %0" : "+r"(high));
    return (int8_t)high;
#else
    high = (int32_t)((int64_t)accumulator * multiplier >> 32);
    return (int8_t)clamp(((high + (1 << (shift - 1))) >> shift) + zero, -128, 127);
#endif
}

/* Two words, one instruction, which the compiler takes for two where registers are scarce. */
#if KERNELS_DSP
#define LOAD_TWO(first, second, at0, at1) __asm("ldrd %0, %1, %2" : "=r"(first), "=r"(second) : "m"(at0), "m"(at1))
#else
#define LOAD_TWO(first, second, at0, at1) ((first) = (at0), (second) = (at1))
#endif

/* The same of a channel. */
static inline int8_t requantize_channel(int32_t accumulator, const struct channel *c, int32_t zero) {
    int32_t multiplier, shift;
    LOAD_TWO(multiplier, shift, c->multiplier, c->shift);
    return requantize_short(accumulator, multiplier, shift, zero);
}

static inline bool requantize_check(int32_t multiplier, int32_t shift) {
    return multiplier >= 0 && shift >= -31 && shift <= 22;
}

/* Limits narrower than int8's are kept in a second pass: a quantised ReLU seldom needs one. */
static inline void limit_i8(int8_t *output, uint32_t count, int8_t low, int8_t high) {
    if (low == -128 && high == 127) return;
    for (uint32_t i = 0; i < count; i++) output[i] = (int8_t)clamp(output[i], low, high);
}

#if KERNELS_DSP
static inline uint32_t load4(const int8_t *at) {
    uint32_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}

/* Bytes 0 and 2, or 1 and 3, as two halves. */
static inline uint32_t even(uint32_t bytes) { return (uint32_t)__sxtb16((int8x4_t)bytes); }

static inline uint32_t odd(uint32_t bytes) {
    uint32_t halves;
    __asm("sxtb16 %0, %1, ror #8" : "=r"(halves) : "r"(bytes));
    return halves;
}

static inline int32_t multiply2(uint32_t left, uint32_t right, int32_t sum) {
    return __smlad((int16x2_t)left, (int16x2_t)right, sum);
}
#endif

#endif
