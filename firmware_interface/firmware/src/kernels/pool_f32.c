/* float32 average and maximum pooling. */
#include "float32.h"
#include "window.h"

static bool check(const struct kernel_memory *memory, const uint8_t *record, uint32_t bytes) {
    struct pool_f32 p;
    if (bytes != sizeof p) return false;
    __builtin_memcpy(&p, record, sizeof p);
    const struct window *w = &p.window;
    return window_check(w) && w->in_channels == w->out_channels &&
           inside_f32(p.input, window_in(w), memory->arena_bytes) &&
           inside_f32(p.output, window_out(w), memory->arena_bytes);
}

static void pool(const struct kernel_memory *memory, const uint8_t *record, bool averaging) {
    struct pool_f32 p;
    __builtin_memcpy(&p, record, sizeof p);
    const struct window *w = &p.window;
    const float *input = tensor_f32(memory, p.input);
    float *output = tensor_f32(memory, p.output);
    uint32_t channels = w->in_channels;
    for (uint32_t row = 0; row < w->out_height; row++) {
        for (uint32_t column = 0; column < w->out_width; column++, output += channels) {
            int32_t top = window_top(w, row), left = window_left(w, column);
            uint32_t count = 0;
            for (uint32_t i = 0; i < channels; i++) output[i] = averaging ? 0.0f : p.low;
            for (uint32_t ky = 0; ky < w->kernel_height; ky++) {
                int32_t y = top + (int32_t)(ky * w->dilation_height);
                for (uint32_t kx = 0; kx < w->kernel_width; kx++) {
                    int32_t x = left + (int32_t)(kx * w->dilation_width);
                    if (y < 0 || y >= w->in_height || x < 0 || x >= w->in_width) continue;
                    const float *from = input + ((uint32_t)y * w->in_width + (uint32_t)x) * channels;
                    count++;
                    for (uint32_t i = 0; i < channels; i++) {
                        output[i] = averaging ? output[i] + from[i] : from[i] > output[i] ? from[i] : output[i];
                    }
                }
            }
            uint32_t divisor = p.count != 0 ? p.count : count != 0 ? count : 1;
            for (uint32_t i = 0; i < channels; i++) {
                output[i] = limit_f32(averaging ? output[i] / (float)divisor : output[i], p.low, p.high);
            }
        }
    }
}

static void run_average(const struct kernel_memory *memory, const uint8_t *record) { pool(memory, record, true); }
static void run_max(const struct kernel_memory *memory, const uint8_t *record) { pool(memory, record, false); }

const struct kernel kernel_average_pool_f32 = {.check = check, .run = run_average};
const struct kernel kernel_max_pool_f32 = {.check = check, .run = run_max};
