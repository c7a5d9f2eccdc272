/* Numbers as the protocol has them. printf of the C library would bring a heap with it. */
#include <string.h>

#include "eembc.h"
#include "port.h"

enum { LIMBS = 8, DIGITS = 40, MANTISSA_BITS = 23, EXPONENT_BIAS = 150, EXPONENT_SPECIAL = 255 };

/* A whole number below 2^128, least part first; parts of 16 bits divide without a library. */
struct whole {
    uint16_t part[LIMBS];
};

static bool divide_by_ten(struct whole *whole, uint8_t *rest) {
    uint32_t carry = 0;
    uint32_t any = 0;
    for (unsigned i = LIMBS; i-- > 0;) {
        uint32_t value = carry << 16 | whole->part[i];
        whole->part[i] = (uint16_t)(value / 10u);
        carry = value % 10u;
        any |= whole->part[i];
    }
    *rest = (uint8_t)carry;
    return any != 0;
}

/* mantissa * 2^shift, shift 0 to 104. */
static struct whole shifted(uint32_t mantissa, uint32_t shift) {
    struct whole whole = {{0}};
    uint64_t value = (uint64_t)mantissa << shift % 16u;
    for (uint32_t i = shift / 16u; i < LIMBS; i++) {
        whole.part[i] = (uint16_t)value;
        value >>= 16;
    }
    return whole;
}

/* mantissa * 1000 / 2^shift, shift at least 1, to the nearest; a tie to the even one. */
static struct whole thousandths(uint32_t mantissa, uint32_t shift) {
    struct whole whole = {{0}};
    if (shift > 36u) return whole; /* mantissa * 1000 is below 2^34: under half */
    uint64_t product = (uint64_t)mantissa * 1000u;
    uint64_t value = product >> shift;
    uint64_t rest = product & ((UINT64_C(1) << shift) - 1u);
    uint64_t half = UINT64_C(1) << (shift - 1u);
    if (rest > half || (rest == half && (value & 1u) != 0)) value++;
    for (unsigned i = 0; i < 4; i++) whole.part[i] = (uint16_t)(value >> 16u * i);
    return whole;
}

void eembc_float_text(char *text, float value) {
    uint32_t bits;
    uint8_t digits[DIGITS + 3];
    unsigned count = 0;
    memcpy(&bits, &value, sizeof bits);
    uint32_t exponent = bits >> MANTISSA_BITS & 0xFFu;
    uint32_t mantissa = bits & ((1u << MANTISSA_BITS) - 1u);
    bool special = exponent == EXPONENT_SPECIAL;
    if (bits >> 31 != 0 && !(special && mantissa != 0)) *text++ = '-';
    if (special) {
        memcpy(text, mantissa != 0 ? "nan" : "inf", 4);
        return;
    }
    if (exponent == 0) {
        exponent = 1;
    } else {
        mantissa |= 1u << MANTISSA_BITS;
    }
    struct whole whole;
    if (exponent >= EXPONENT_BIAS) {
        whole = shifted(mantissa, exponent - EXPONENT_BIAS);
        for (; count < 3; count++) digits[count] = 0;
    } else {
        whole = thousandths(mantissa, EXPONENT_BIAS - exponent);
    }
    while (divide_by_ten(&whole, &digits[count++]) || count < 4) {
    }
    while (count-- > 0) {
        *text++ = (char)('0' + digits[count]);
        if (count == 3) *text++ = '.';
    }
    *text = 0;
}

/* By seconds and the rest: all ticks times a million would not fit after some hours. */
uint32_t eembc_microseconds(uint64_t ticks) {
    uint64_t seconds = ticks / BOARD_TICK_HZ;
    uint64_t rest = ticks % BOARD_TICK_HZ;
    return (uint32_t)(seconds * 1000000u + rest * 1000000u / BOARD_TICK_HZ);
}
