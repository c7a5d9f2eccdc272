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

/* One row of weights by the input whose even and odd bytes are in `e` and `a`. */
#define ROW(at, sum)                                                                                              \
    "ldr %[b], " at "\n sxtb16 %[t], %[b]\n sxtb16 %[b], %[b], ror #8\n smlad " sum ", %[e], %[t], " sum             \
    "\n smlad " sum ", %[a], %[b], " sum "\n"
#define FOUR_ROWS                                                                                                 \
    "ldr %[a], [%[x]], #4\n sxtb16 %[e], %[a]\n sxtb16 %[a], %[a], ror #8\n" ROW("[%[w], %[d]]", "%[s1]")          \
        ROW("[%[w], %[d], lsl #1]", "%[s2]") ROW("[%[w], %[d3]]", "%[s3]") ROW("[%[w]], #4", "%[s0]")

/* Four rows of weights by one input: written out, since a compiler keeps other things in registers than these 13. */
__attribute__((noinline)) static void block_one(const int8_t *x, const int8_t *w, uint32_t depth, const struct channel *c, int32_t zero,
                             int8_t *output) {
    int32_t s0 = c[0].bias, s1 = c[1].bias, s2 = c[2].bias, s3 = c[3].bias;
    uint32_t a, b, e, t;
    const int8_t *end = x + (depth & ~7u);
    __asm("b 2f\n 1:\n" FOUR_ROWS FOUR_ROWS "2: cmp %[x], %[end]\n bcc 1b\n"
          : [x] "+r"(x), [w] "+r"(w), [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [a] "=&r"(a),
            [b] "=&r"(b), [e] "=&r"(e), [t] "=&r"(t)
          : [d] "r"(depth), [d3] "r"(3 * depth), [end] "r"(end)
          : "cc", "memory");
    for (uint32_t k = depth & 7u; k > 0; k--, w++) {
        int32_t value = *x++;
        s0 += value * w[0], s1 += value * w[depth], s2 += value * w[2 * depth], s3 += value * w[3 * depth];
    }
    output[0] = requantize_short(s0, c, zero), output[1] = requantize_short(s1, c + 1, zero);
    output[2] = requantize_short(s2, c + 2, zero), output[3] = requantize_short(s3, c + 3, zero);
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
    const int8_t *weights = dot->weights;
    const struct channel *c = dot->channels;
    uint32_t left = dot->outputs, depth = dot->depth;
#if KERNELS_DSP
    if (dot->brief) {
        int32_t zero = dot->zero;
        for (; left >= 4; left -= 4, weights += 4 * depth, c += 4, output += 4) {
            block_one(input, weights, depth, c, zero, output);
        }
    }
#endif
    for (; left > 0; left--, weights += depth, c++, output++) {
        *output = finish(dot, product(input, weights, depth, c->bias), c);
    }
}
