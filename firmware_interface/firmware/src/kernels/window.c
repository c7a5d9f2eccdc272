#include "window.h"

static bool axis(uint32_t in, uint32_t out, uint32_t kernel, uint32_t stride, uint32_t dilation) {
    uint64_t reach = (uint64_t)out * stride + (uint64_t)kernel * dilation;
    return in != 0 && out != 0 && kernel != 0 && stride != 0 && dilation != 0 && reach < 1u << 30;
}

bool window_check(const struct window *w) {
    return axis(w->in_height, w->out_height, w->kernel_height, w->stride_height, w->dilation_height) &&
           axis(w->in_width, w->out_width, w->kernel_width, w->stride_width, w->dilation_width) &&
           w->in_channels != 0 && w->out_channels != 0;
}

static inline void copy_word(uint8_t *to, const uint8_t *from) {
    uint32_t word;
    __builtin_memcpy(&word, from, sizeof word);
    __builtin_memcpy(to, &word, sizeof word);
}

void copy_bytes(uint8_t *to, const uint8_t *from, uint32_t bytes) {
    for (; bytes >= 16; bytes -= 16, to += 16, from += 16) {
        copy_word(to, from);
        copy_word(to + 4, from + 4);
        copy_word(to + 8, from + 8);
        copy_word(to + 12, from + 12);
    }
    for (; bytes >= 4; bytes -= 4, to += 4, from += 4) copy_word(to, from);
    for (; bytes > 0; bytes--) *to++ = *from++;
}

void fill_bytes(uint8_t *to, uint8_t value, uint32_t bytes) {
    uint32_t word = value * 0x01010101u;
    for (; bytes >= 4; bytes -= 4, to += 4) __builtin_memcpy(to, &word, sizeof word);
    for (; bytes > 0; bytes--) *to++ = value;
}

void window_gather(const struct window *w, const uint8_t *input, uint32_t pixel, uint32_t group, uint32_t row,
                   uint32_t column, uint8_t outside, uint8_t *to) {
    int32_t top = window_top(w, row);
    int32_t left = window_left(w, column);
    uint32_t line = w->kernel_width * group;
    bool together = w->dilation_width == 1 && group == pixel && left >= 0 && left + w->kernel_width <= w->in_width;
    for (uint32_t ky = 0; ky < w->kernel_height; ky++) {
        int32_t y = top + (int32_t)(ky * w->dilation_height);
        if (y < 0 || y >= w->in_height) {
            fill_bytes(to, outside, line);
            to += line;
            continue;
        }
        const uint8_t *from = input + (uint32_t)y * w->in_width * pixel;
        if (together) {
            copy_bytes(to, from + (uint32_t)left * pixel, line);
            to += line;
            continue;
        }
        for (uint32_t kx = 0; kx < w->kernel_width; kx++, to += group) {
            int32_t x = left + (int32_t)(kx * w->dilation_width);
            if (x < 0 || x >= w->in_width) {
                fill_bytes(to, outside, group);
            } else {
                copy_bytes(to, from + (uint32_t)x * pixel, group);
            }
        }
    }
}
