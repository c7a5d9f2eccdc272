/* Rows of weights times one or two vectors of inputs: the inner loops of convolution and matrix product. */
#ifndef DOT_I8_H
#define DOT_I8_H

#include "arithmetic.h"

/* Products of a sum: with a bias of at most 2^30 no partial sum leaves int32. */
enum { DOT_MOST = 65535 };

struct dot_i8 {
    const int8_t *weights; /* [outputs][depth] */
    const struct channel *channels;
    uint32_t depth;
    uint32_t outputs;
    uint32_t pitch; /* from an output pixel to the next */
    int32_t zero;
    bool brief; /* CONV_SHORT */
};

/* Two vectors of inputs, one behind the other: so one register steps over both inputs and weights. */
void dot_i8_two(const struct dot_i8 *dot, const int8_t *inputs, int8_t *output);
void dot_i8_one(const struct dot_i8 *dot, const int8_t *input, int8_t *output);

#endif
