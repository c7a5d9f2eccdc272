/* int8 depthwise convolution, one output channel for each input channel, weights [height][width][channel].
 *
 * With DSP instructions a 3x3 window over a multiple of four channels takes a short way: its weights are paired into the
 * scratch once (20 bytes a channel), and a window that leaves the image is gathered behind them (9 bytes a channel). */
#include "conv_i8.h"
#include "window.h"

enum { PAIRS = 5, TAPS = 9, SCRATCH_OF_CHANNEL = 4 * PAIRS + TAPS };

static bool check(const struct kernel_memory *memory, const uint8_t *record, uint32_t bytes) {
    struct conv_i8 c;
    if (bytes != sizeof c) return false;
    __builtin_memcpy(&c, record, sizeof c);
    const struct window *w = &c.window;
    uint32_t taps = (uint32_t)w->kernel_height * w->kernel_width;
    return conv_i8_places(memory, &c, (uint64_t)SCRATCH_OF_CHANNEL * w->in_channels) &&
           (c.flags & ~(unsigned)CONV_SHORT) == 0 && w->in_channels == w->out_channels && c.groups == w->in_channels && taps <= UINT16_MAX &&
           inside(c.weights, (uint64_t)taps * w->in_channels, memory->weight_bytes);
}

struct depthwise {
    const struct conv_i8 *c;
    const int8_t *weights;
    const struct channel *channels;
    const int8_t *input;
    int32_t *pairs;
    uint8_t *patch;
};

/* Any window: sums of all channels in the scratch, tap by tap. */
static void pixel_plain(const struct depthwise *d, uint32_t row, uint32_t column, int8_t *output) {
    const struct window *w = &d->c->window;
    uint32_t channels = w->in_channels;
    int32_t top = window_top(w, row), left = window_left(w, column), zero = d->c->output_zero;
    int32_t *restrict sums = d->pairs;
    const int8_t *weights = d->weights;
    for (uint32_t i = 0; i < channels; i++) sums[i] = d->channels[i].bias;
    for (uint32_t ky = 0; ky < w->kernel_height; ky++) {
        int32_t y = top + (int32_t)(ky * w->dilation_height);
        bool row_inside = y >= 0 && y < w->in_height;
        for (uint32_t kx = 0; kx < w->kernel_width; kx++, weights += channels) {
            int32_t x = left + (int32_t)(kx * w->dilation_width);
            bool in = row_inside && x >= 0 && x < w->in_width;
            const int8_t *from = (const int8_t *)d->patch;
            if (in) from = d->input + ((uint32_t)y * w->in_width + (uint32_t)x) * channels;
            for (uint32_t i = 0; i < channels; i++) sums[i] += weights[i] * from[i];
        }
    }
    for (uint32_t i = 0; i < channels; i++) {
        const struct channel *c = d->channels + i;
        output[i] = requantize(sums[i], c->multiplier, c->shift, zero);
    }
}

#if KERNELS_DSP
/* Weights of taps 2i and 2i + 1 of a channel side by side, the four even and odd bytes' order of a load: 0, 2, 1, 3. */
static void pair_weights(const int8_t *weights, uint32_t channels, int32_t *pairs) {
    for (uint32_t channel = 0; channel < channels; channel += 4) {
        for (uint32_t tap = 0; tap < TAPS; tap += 2) {
            const int8_t *at = weights + tap * channels + channel;
            uint32_t low = load4(at);
            uint32_t high = tap + 1 < TAPS ? load4(at + channels) : 0;
            uint32_t le = even(low), he = even(high), lo = odd(low), ho = odd(high);
            *pairs++ = (int32_t)((le & 0xFFFFu) | he << 16);
            *pairs++ = (int32_t)(le >> 16 | (he & 0xFFFF0000u));
            *pairs++ = (int32_t)((lo & 0xFFFFu) | ho << 16);
            *pairs++ = (int32_t)(lo >> 16 | (ho & 0xFFFF0000u));
        }
    }
}

static inline uint32_t bottoms(uint32_t low, uint32_t high) {
    uint32_t halves;
    __asm("pkhbt %0, %1, %2, lsl #16" : "=r"(halves) : "r"(low), "r"(high));
    return halves;
}

static inline uint32_t tops(uint32_t low, uint32_t high) {
    uint32_t halves;
    __asm("pkhtb %0, %1, %2, asr #16" : "=r"(halves) : "r"(high), "r"(low));
    return halves;
}

struct sums {
    int32_t s0, s1, s2, s3;
};

static inline __attribute__((always_inline)) void two_taps(struct sums *s, uint32_t u, uint32_t v, const int32_t *pairs) {
    int32_t first, second;
    uint32_t low = even(u), high = even(v);
    LOAD_TWO(first, second, pairs[0], pairs[1]);
    s->s0 = multiply2(bottoms(low, high), (uint32_t)first, s->s0);
    s->s2 = multiply2(tops(low, high), (uint32_t)second, s->s2);
    low = odd(u), high = odd(v);
    LOAD_TWO(first, second, pairs[2], pairs[3]);
    s->s1 = multiply2(bottoms(low, high), (uint32_t)first, s->s1);
    s->s3 = multiply2(tops(low, high), (uint32_t)second, s->s3);
}

/* One pixel whose window begins at `from`; `line` bytes to the next row of it. */
static void pixel_3x3(const struct depthwise *d, const int8_t *from, uint32_t line, int8_t *output) {
    uint32_t channels = d->c->window.in_channels;
    int32_t zero = d->c->output_zero;
    const int32_t *pairs = d->pairs;
    const struct channel *c = d->channels;
    for (const int8_t *end = from + channels; from < end; from += 4) {
        const int8_t *at = from;
        struct sums s = {c[0].bias, c[1].bias, c[2].bias, c[3].bias};
        uint32_t u = load4(at), v = load4(at + channels);
        two_taps(&s, u, v, pairs);
        u = load4(at + 2 * channels), at += line, v = load4(at);
        two_taps(&s, u, v, pairs + 4);
        u = load4(at + channels), v = load4(at + 2 * channels), at += line;
        two_taps(&s, u, v, pairs + 8);
        u = load4(at), v = load4(at + channels);
        two_taps(&s, u, v, pairs + 12);
        uint32_t last = load4(at + 2 * channels), e = even(last), o = odd(last);
        int32_t first, second;
        LOAD_TWO(first, second, pairs[16], pairs[17]);
        s.s0 = __smlabb((int32_t)e, first, s.s0), s.s2 = __smlatb((int32_t)e, second, s.s2);
        LOAD_TWO(first, second, pairs[18], pairs[19]);
        s.s1 = __smlabb((int32_t)o, first, s.s1), s.s3 = __smlatb((int32_t)o, second, s.s3);
        pairs += 4 * PAIRS;
        output[0] = requantize_channel(s.s0, c, zero);
        output[1] = requantize_channel(s.s1, c + 1, zero);
        output[2] = requantize_channel(s.s2, c + 2, zero);
        output[3] = requantize_channel(s.s3, c + 3, zero);
        output += 4, c += 4;
    }
}

static void pixel_paired(const struct depthwise *d, uint32_t row, uint32_t column, int8_t *output) {
    const struct window *w = &d->c->window;
    uint32_t channels = w->in_channels;
    int32_t top = window_top(w, row), left = window_left(w, column);
    if (top >= 0 && top + 3 <= w->in_height && left >= 0 && left + 3 <= w->in_width) {
        const int8_t *from = d->input + ((uint32_t)top * w->in_width + (uint32_t)left) * channels;
        pixel_3x3(d, from, w->in_width * channels, output);
    } else {
        const uint8_t *input = (const uint8_t *)d->input;
        window_gather(w, input, channels, channels, row, column, (uint8_t)d->c->input_zero, d->patch);
        pixel_3x3(d, (const int8_t *)d->patch, 3 * channels, output);
    }
}

static bool paired(const struct depthwise *d) {
    const struct window *w = &d->c->window;
    return w->kernel_height == 3 && w->kernel_width == 3 && w->dilation_height == 1 && w->dilation_width == 1 &&
           w->in_channels % 4 == 0 && (d->c->flags & CONV_SHORT) != 0;
}
#endif

static void run(const struct kernel_memory *memory, const uint8_t *record) {
    struct conv_i8 c;
    __builtin_memcpy(&c, record, sizeof c);
    const struct window *w = &c.window;
    struct depthwise d = {
        .c = &c,
        .weights = weights_i8(memory, c.weights),
        .channels = (const struct channel *)(const void *)(memory->weights + c.channels),
        .input = tensor_i8(memory, c.input),
        .pairs = (int32_t *)(void *)(memory->scratch + c.scratch),
        .patch = memory->scratch + c.scratch + 4u * PAIRS * w->in_channels,
    };
    int8_t *output = tensor_i8(memory, c.output);
    fill_bytes(d.patch, (uint8_t)c.input_zero, w->in_channels); /* what pixel_plain sees outside */
    void (*pixel)(const struct depthwise *, uint32_t, uint32_t, int8_t *) = pixel_plain;
#if KERNELS_DSP
    if (paired(&d)) {
        pair_weights(d.weights, w->in_channels, d.pairs);
        pixel = pixel_paired;
    }
#endif
    for (uint32_t row = 0; row < w->out_height; row++) {
        for (uint32_t column = 0; column < w->out_width; column++, output += w->out_channels) {
            pixel(&d, row, column, output);
        }
    }
    limit_i8(tensor_i8(memory, c.output), (uint32_t)window_out(w), c.low, c.high);
}

const struct kernel kernel_depthwise_i8 = {.check = check, .run = run};
