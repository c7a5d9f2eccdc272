#include "dot_i8.h"

static int32_t product(const int8_t *left, const int8_t *right, uint32_t depth, int32_t sum) {
    for (uint32_t k = 0; k < depth; k++) sum += left[k] * right[k];
    return sum;
}

static int8_t finish(const struct dot_i8 *dot, int32_t sum, const struct channel *c) {
    return dot->brief ? requantize_short(sum, c, dot->zero) : requantize(sum, c->multiplier, c->shift, dot->zero);
}

#if KERNELS_DSP
/* Two rows of weights by two inputs, four elements at a time: eight products from four loads and eight expansions.
 * Four rows by two inputs need more registers than there are. */
static void block_two(const struct dot_i8 *dot, const int8_t *input, const int8_t *weights, const struct channel *c,
                      int8_t *output) {
    uint32_t depth = dot->depth;
    const int8_t *end = input + (depth & ~3u);
    int32_t s00 = c[0].bias, s01 = c[1].bias, s10 = s00, s11 = s01;
    while (input < end) {
        uint32_t y = load4(input + depth), x = load4(input);
        input += 4;
        uint32_t v = load4(weights + depth), u = load4(weights);
        weights += 4;
        uint32_t xe = even(x), ye = even(y), ue = even(u), ve = even(v);
        s00 = multiply2(xe, ue, s00), s01 = multiply2(xe, ve, s01);
        s10 = multiply2(ye, ue, s10), s11 = multiply2(ye, ve, s11);
        xe = odd(x), ye = odd(y), ue = odd(u), ve = odd(v);
        s00 = multiply2(xe, ue, s00), s01 = multiply2(xe, ve, s01);
        s10 = multiply2(ye, ue, s10), s11 = multiply2(ye, ve, s11);
    }
    for (uint32_t k = depth & 3u; k > 0; k--, input++, weights++) {
        int32_t x = input[0], y = input[depth], u = weights[0], v = weights[depth];
        s00 += x * u, s01 += x * v, s10 += y * u, s11 += y * v;
    }
    output[0] = requantize_short(s00, c, dot->zero), output[1] = requantize_short(s01, c + 1, dot->zero);
    output += dot->pitch;
    output[0] = requantize_short(s10, c, dot->zero), output[1] = requantize_short(s11, c + 1, dot->zero);
}

/* Four rows of weights by one input. */
static void block_one(const struct dot_i8 *dot, const int8_t *input, const int8_t *weights, const struct channel *c,
                      int8_t *output) {
    uint32_t depth = dot->depth, depth3 = 3 * depth;
    const int8_t *end = input + (depth & ~3u);
    int32_t s0 = c[0].bias, s1 = c[1].bias, s2 = c[2].bias, s3 = c[3].bias;
    while (input < end) {
        uint32_t x = load4(input), xe = even(x), xo = odd(x), w;
        input += 4;
        w = load4(weights + depth);
        s1 = multiply2(xe, even(w), s1), s1 = multiply2(xo, odd(w), s1);
        w = load4(weights + 2 * depth);
        s2 = multiply2(xe, even(w), s2), s2 = multiply2(xo, odd(w), s2);
        w = load4(weights + depth3);
        s3 = multiply2(xe, even(w), s3), s3 = multiply2(xo, odd(w), s3);
        w = load4(weights), weights += 4;
        s0 = multiply2(xe, even(w), s0), s0 = multiply2(xo, odd(w), s0);
    }
    for (uint32_t k = depth & 3u; k > 0; k--, weights++) {
        int32_t x = *input++;
        s0 += x * weights[0], s1 += x * weights[depth], s2 += x * weights[2 * depth], s3 += x * weights[depth3];
    }
    output[0] = requantize_short(s0, c, dot->zero), output[1] = requantize_short(s1, c + 1, dot->zero);
    output[2] = requantize_short(s2, c + 2, dot->zero), output[3] = requantize_short(s3, c + 3, dot->zero);
}
#endif

void dot_i8_two(const struct dot_i8 *dot, const int8_t *inputs, int8_t *output) {
    uint32_t n = 0;
#if KERNELS_DSP
    for (; dot->brief && n + 2 <= dot->outputs; n += 2) {
        block_two(dot, inputs, dot->weights + n * dot->depth, dot->channels + n, output + n);
    }
#endif
    for (; n < dot->outputs; n++) {
        const int8_t *weights = dot->weights + n * dot->depth;
        const struct channel *c = dot->channels + n;
        output[n] = finish(dot, product(inputs, weights, dot->depth, c->bias), c);
        output[n + dot->pitch] = finish(dot, product(inputs + dot->depth, weights, dot->depth, c->bias), c);
    }
}

void dot_i8_one(const struct dot_i8 *dot, const int8_t *input, int8_t *output) {
    uint32_t n = 0;
#if KERNELS_DSP
    for (; dot->brief && n + 4 <= dot->outputs; n += 4) {
        block_one(dot, input, dot->weights + n * dot->depth, dot->channels + n, output + n);
    }
#endif
    for (; n < dot->outputs; n++) {
        const struct channel *c = dot->channels + n;
        output[n] = finish(dot, product(input, dot->weights + n * dot->depth, dot->depth, c->bias), c);
    }
}
