/* Where a sliding window lies in its image, and the copy of what is under it. */
#ifndef WINDOW_H
#define WINDOW_H

#include "arithmetic.h"

/* Whether the figures are such that no position overflows an int32_t. */
bool window_check(const struct window *window);

static inline uint64_t window_in(const struct window *w) { return (uint64_t)w->in_height * w->in_width * w->in_channels; }
static inline uint64_t window_out(const struct window *w) {
    return (uint64_t)w->out_height * w->out_width * w->out_channels;
}

static inline int32_t window_top(const struct window *w, uint32_t row) {
    return (int32_t)(row * w->stride_height) - w->pad_top;
}

static inline int32_t window_left(const struct window *w, uint32_t column) {
    return (int32_t)(column * w->stride_width) - w->pad_left;
}

void copy_bytes(uint8_t *to, const uint8_t *from, uint32_t bytes);
void fill_bytes(uint8_t *to, uint8_t value, uint32_t bytes);

/* The elements under the window at one place, as [kernel height][kernel width][channels of a group]; outside the image
 * every byte is `outside`. `input` begins at the group's first channel; `pixel` and `group` are bytes of a pixel and of a
 * group's part of it. */
void window_gather(const struct window *w, const uint8_t *input, uint32_t pixel, uint32_t group, uint32_t row,
                   uint32_t column, uint8_t outside, uint8_t *to);

#endif
