#include "arithmetic.h"

int8_t requantize(int32_t accumulator, int32_t multiplier, int32_t shift, int32_t zero) {
    if (shift > 0) return requantize_short(accumulator, multiplier, shift, zero);
    int64_t product = (int64_t)accumulator * multiplier;
    int64_t value = ((product + ((int64_t)1 << (31 + shift))) >> (32 + shift)) + zero;
    return (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
}
