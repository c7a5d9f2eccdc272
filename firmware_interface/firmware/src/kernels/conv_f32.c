/* float32 convolution, matrix product and depthwise convolution: channels in the inner loop where that can be. */
#include "float32.h"
#include "window.h"

static bool read(const struct kernel_memory *memory, const uint8_t *record, uint32_t bytes, struct conv_f32 *c) {
    if (bytes != sizeof *c) return false;
    __builtin_memcpy(c, record, sizeof *c);
    const struct window *w = &c->window;
    return window_check(w) && inside_f32(c->input, window_in(w), memory->arena_bytes) &&
           inside_f32(c->output, window_out(w), memory->arena_bytes) &&
           inside_f32(c->bias, w->out_channels, memory->weight_bytes) && c->groups != 0 &&
           w->in_channels % c->groups == 0 && w->out_channels % c->groups == 0;
}

static uint64_t depth(const struct conv_f32 *c) {
    return (uint64_t)c->window.kernel_height * c->window.kernel_width * (c->window.in_channels / c->groups);
}

static bool check_conv(const struct kernel_memory *memory, const uint8_t *record, uint32_t bytes) {
    struct conv_f32 c;
    return read(memory, record, bytes, &c) && depth(&c) <= 1u << 24 &&
           inside_f32(c.weights, depth(&c) * c.window.out_channels, memory->weight_bytes) &&
           c.scratch % 4 == 0 && inside(c.scratch, 4 * depth(&c), memory->scratch_bytes);
}

static bool check_depthwise(const struct kernel_memory *memory, const uint8_t *record, uint32_t bytes) {
    struct conv_f32 c;
    return read(memory, record, bytes, &c) && c.groups == c.window.in_channels &&
           c.window.in_channels == c.window.out_channels &&
           inside_f32(c.weights, depth(&c) * c.window.in_channels, memory->weight_bytes);
}

/* Four sums: shorter chains of additions, and less rounding. */
static float product(const float *left, const float *right, uint32_t count) {
    float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    uint32_t k = 0;
    for (; k + 4 <= count; k += 4) {
        s0 += left[k] * right[k], s1 += left[k + 1] * right[k + 1];
        s2 += left[k + 2] * right[k + 2], s3 += left[k + 3] * right[k + 3];
    }
    for (; k < count; k++) s0 += left[k] * right[k];
    return (s0 + s1) + (s2 + s3);
}

static void run_conv(const struct kernel_memory *memory, const uint8_t *record) {
    struct conv_f32 c;
    __builtin_memcpy(&c, record, sizeof c);
    const struct window *w = &c.window;
    uint32_t k = (uint32_t)depth(&c), each_in = w->in_channels / c.groups, each_out = w->out_channels / c.groups;
    const float *bias = weights_f32(memory, c.bias);
    float *output = tensor_f32(memory, c.output);
    uint8_t *gathered = memory->scratch + c.scratch;
    for (uint32_t row = 0; row < w->out_height; row++) {
        for (uint32_t column = 0; column < w->out_width; column++, output += w->out_channels) {
            const float *weights = weights_f32(memory, c.weights);
            for (uint32_t group = 0; group < c.groups; group++) {
                const uint8_t *input = memory->arena + c.input + 4 * group * each_in;
                window_gather(w, input, 4u * w->in_channels, 4 * each_in, row, column, 0, gathered);
                for (uint32_t n = group * each_out; n < (group + 1) * each_out; n++, weights += k) {
                    float sum = product((const float *)(void *)gathered, weights, k) + bias[n];
                    output[n] = limit_f32(sum, c.low, c.high);
                }
            }
        }
    }
}

static void run_depthwise(const struct kernel_memory *memory, const uint8_t *record) {
    struct conv_f32 c;
    __builtin_memcpy(&c, record, sizeof c);
    const struct window *w = &c.window;
    uint32_t channels = w->in_channels;
    const float *bias = weights_f32(memory, c.bias);
    float *output = tensor_f32(memory, c.output);
    for (uint32_t row = 0; row < w->out_height; row++) {
        for (uint32_t column = 0; column < w->out_width; column++, output += channels) {
            int32_t top = window_top(w, row), left = window_left(w, column);
            const float *weights = weights_f32(memory, c.weights);
            for (uint32_t i = 0; i < channels; i++) output[i] = bias[i];
            for (uint32_t ky = 0; ky < w->kernel_height; ky++) {
                int32_t y = top + (int32_t)(ky * w->dilation_height);
                for (uint32_t kx = 0; kx < w->kernel_width; kx++, weights += channels) {
                    int32_t x = left + (int32_t)(kx * w->dilation_width);
                    if (y < 0 || y >= w->in_height || x < 0 || x >= w->in_width) continue;
                    const float *from = tensor_f32(memory, c.input);
                    from += ((uint32_t)y * w->in_width + (uint32_t)x) * channels;
                    for (uint32_t i = 0; i < channels; i++) output[i] += weights[i] * from[i];
                }
            }
            for (uint32_t i = 0; i < channels; i++) output[i] = limit_f32(output[i], c.low, c.high);
        }
    }
}

const struct kernel kernel_conv_f32 = {.check = check_conv, .run = run_conv};
const struct kernel kernel_depthwise_f32 = {.check = check_depthwise, .run = run_depthwise};
