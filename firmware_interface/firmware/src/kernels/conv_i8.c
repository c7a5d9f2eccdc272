/* int8 convolution with any groups, dilation and padding; a matrix product is a 1x1 window over one row.
 *
 * Two output pixels at a time: their inputs are gathered side by side in the scratch (2 * elements under the window),
 * or read where they lie for a 1x1 window over every pixel. */
#include "conv_i8.h"

#include "dot_i8.h"
#include "window.h"

/* Where the output's pixels are the input's, one by one: nothing to gather. */
static bool pointwise(const struct conv_i8 *c) {
    const struct window *w = &c->window;
    return w->kernel_height == 1 && w->kernel_width == 1 && c->groups == 1 && w->pad_top == 0 && w->pad_left == 0 &&
           w->stride_height == 1 && w->stride_width == 1 && w->out_height == w->in_height &&
           w->out_width == w->in_width;
}

/* Whether the table of channels lies in the weights and holds what the arithmetic takes. */
static bool channels_check(const struct kernel_memory *memory, uint32_t at, uint32_t count, bool all_short) {
    if (at % 4 != 0 || !inside(at, (uint64_t)count * sizeof(struct channel), memory->weight_bytes)) return false;
    for (uint32_t i = 0; i < count; i++) {
        struct channel channel;
        __builtin_memcpy(&channel, memory->weights + at + i * sizeof channel, sizeof channel);
        if (!requantize_check(channel.multiplier, channel.shift)) return false;
        if (channel.bias > 1 << 30 || channel.bias < -(1 << 30)) return false;
        if (all_short && channel.shift <= 0) return false;
    }
    return true;
}

bool conv_i8_places(const struct kernel_memory *memory, const struct conv_i8 *c, uint64_t scratch_bytes) {
    return window_check(&c->window) && inside(c->input, window_in(&c->window), memory->arena_bytes) &&
           inside(c->output, window_out(&c->window), memory->arena_bytes) && c->low <= c->high &&
           c->scratch % 4 == 0 &&
           inside(c->scratch, scratch_bytes, memory->scratch_bytes) &&
           channels_check(memory, c->channels, c->window.out_channels, (c->flags & CONV_SHORT) != 0);
}

static bool check(const struct kernel_memory *memory, const uint8_t *record, uint32_t bytes) {
    struct conv_i8 c;
    if (bytes != sizeof c) return false;
    __builtin_memcpy(&c, record, sizeof c);
    if (c.groups == 0 || c.window.in_channels % c.groups != 0 || c.window.out_channels % c.groups != 0) return false;
    uint64_t k = (uint64_t)c.window.kernel_height * c.window.kernel_width * (c.window.in_channels / c.groups);
    bool gathers = (c.flags & CONV_POINTWISE) == 0;
    if ((c.flags & ~(unsigned)(CONV_SHORT | CONV_POINTWISE)) != 0 || !(gathers || pointwise(&c))) return false;
    return k <= DOT_MOST && inside(c.weights, k * c.window.out_channels, memory->weight_bytes) &&
           conv_i8_places(memory, &c, gathers ? 2 * k : 0);
}

static void run_pointwise(const struct kernel_memory *memory, const struct conv_i8 *c, const struct dot_i8 *dot) {
    const int8_t *input = tensor_i8(memory, c->input);
    int8_t *output = tensor_i8(memory, c->output);
    uint32_t pixels = (uint32_t)c->window.out_height * c->window.out_width;
    for (; pixels >= 2; pixels -= 2, input += 2 * dot->depth, output += 2 * dot->pitch) dot_i8_two(dot, input, output);
    if (pixels != 0) dot_i8_one(dot, input, output);
}

static void run_gathered(const struct kernel_memory *memory, const struct conv_i8 *c, const struct dot_i8 *dot,
                         uint32_t group) {
    const struct window *w = &c->window;
    uint32_t channels = w->in_channels / c->groups;
    uint32_t outputs = w->out_channels / c->groups;
    const uint8_t *input = memory->arena + c->input + group * channels;
    int8_t *output = tensor_i8(memory, c->output) + group * outputs;
    uint8_t *inputs = memory->scratch + c->scratch;
    bool waiting = false;
    for (uint32_t row = 0; row < w->out_height; row++) {
        for (uint32_t column = 0; column < w->out_width; column++) {
            uint8_t *to = waiting ? inputs + dot->depth : inputs;
            window_gather(w, input, w->in_channels, channels, row, column, (uint8_t)c->input_zero, to);
            if (waiting) {
                dot_i8_two(dot, (int8_t *)inputs, output);
                output += 2 * dot->pitch;
            }
            waiting = !waiting;
        }
    }
    if (waiting) dot_i8_one(dot, (int8_t *)inputs, output);
}

static void run(const struct kernel_memory *memory, const uint8_t *record) {
    const struct conv_i8 *c = (const struct conv_i8 *)(const void *)record; /* records are 4-aligned */
    const struct window *w = &c->window;
    uint32_t outputs = w->out_channels, k = (uint32_t)w->kernel_height * w->kernel_width * w->in_channels;
    struct dot_i8 dot = {.depth = k, .outputs = outputs, .pitch = outputs, .zero = c->output_zero};
    dot.brief = (c->flags & CONV_SHORT) != 0;
    dot.weights = weights_i8(memory, c->weights);
    dot.channels = (const struct channel *)(const void *)(memory->weights + c->channels);
    if ((c->flags & CONV_POINTWISE) != 0) {
        run_pointwise(memory, c, &dot);
    } else {
        dot.depth = k / c->groups;
        dot.outputs = outputs / c->groups;
        for (uint32_t group = 0; group < c->groups; group++) {
            run_gathered(memory, c, &dot, group);
            dot.weights += dot.outputs * dot.depth;
            dot.channels += dot.outputs;
        }
    }
    limit_i8(tensor_i8(memory, c->output), (uint32_t)window_out(w), c->low, c->high);
}

const struct kernel kernel_conv_i8 = {.check = check, .run = run};
