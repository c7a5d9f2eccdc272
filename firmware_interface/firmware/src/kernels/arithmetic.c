#include "arithmetic.h"

int8_t requantize(int32_t accumulator, int32_t multiplier, int32_t shift, int32_t zero) {
    struct channel c = {.multiplier = multiplier, .shift = shift};
    if (shift > 0) return requantize_short(accumulator, &c, zero);
    int64_t product = (int64_t)accumulator * multiplier;
    int64_t value = ((product + ((int64_t)1 << (31 + shift))) >> (32 + shift)) + zero;
    return (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
}

bool channels_short(const struct channel *channels, uint32_t count) {
    int32_t any = 0; /* negative: some shift is not above 0 */
    for (; count >= 4; count -= 4, channels += 4) {
        any |= (channels[0].shift - 1) | (channels[1].shift - 1) | (channels[2].shift - 1) | (channels[3].shift - 1);
    }
    for (; count > 0; count--, channels++) any |= channels->shift - 1;
    return any >= 0;
}
