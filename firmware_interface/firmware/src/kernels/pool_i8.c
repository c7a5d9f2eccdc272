/* int8 average and maximum pooling; a window over the whole image is global pooling. */
#include "window.h"

static bool places(const struct kernel_memory *memory, const struct pool_i8 *p) {
    return window_check(&p->window) && p->window.in_channels == p->window.out_channels && p->low <= p->high &&
           (uint32_t)p->window.kernel_height * p->window.kernel_width <= UINT16_MAX &&
           inside(p->input, window_in(&p->window), memory->arena_bytes) &&
           inside(p->output, window_out(&p->window), memory->arena_bytes);
}

static bool check_average(const struct kernel_memory *memory, const uint8_t *record, uint32_t bytes) {
    struct pool_i8 p;
    if (bytes != sizeof p) return false;
    __builtin_memcpy(&p, record, sizeof p);
    uint32_t taps = (uint32_t)p.window.kernel_height * p.window.kernel_width;
    if (!places(memory, &p) || (p.counts != 1 && p.counts != taps)) return false;
    if (p.multipliers % 4 != 0 || !inside(p.multipliers, 8ull * p.counts, memory->weight_bytes)) return false;
    for (uint32_t i = 0; i < p.counts; i++) {
        int32_t entry[2];
        __builtin_memcpy(entry, memory->weights + p.multipliers + 8 * i, sizeof entry);
        if (!requantize_check(entry[0], entry[1])) return false;
    }
    return true;
}

static bool check_max(const struct kernel_memory *memory, const uint8_t *record, uint32_t bytes) {
    struct pool_i8 p;
    if (bytes != sizeof p) return false;
    __builtin_memcpy(&p, record, sizeof p);
    return places(memory, &p);
}

struct span {
    int32_t begin, end;
};

/* The part of a window along one axis that lies inside. */
static struct span valid(int32_t from, uint32_t kernel, uint32_t dilation, uint32_t size) {
    struct span s = {0, (int32_t)kernel};
    while (s.begin < s.end && from + s.begin * (int32_t)dilation < 0) s.begin++;
    while (s.end > s.begin && from + (s.end - 1) * (int32_t)dilation >= (int32_t)size) s.end--;
    return s;
}

struct view {
    const int8_t *at; /* the first element inside, channel 0 */
    uint32_t rows, columns;
    uint32_t row_step, column_step;
};

static struct view look(const struct window *w, const int8_t *input, uint32_t row, uint32_t column) {
    int32_t top = window_top(w, row), left = window_left(w, column);
    struct span y = valid(top, w->kernel_height, w->dilation_height, w->in_height);
    struct span x = valid(left, w->kernel_width, w->dilation_width, w->in_width);
    struct view v = {.rows = (uint32_t)(y.end - y.begin), .columns = (uint32_t)(x.end - x.begin)};
    v.row_step = (uint32_t)w->dilation_height * w->in_width * w->in_channels;
    v.column_step = (uint32_t)w->dilation_width * w->in_channels;
    if (v.rows == 0 || v.columns == 0) {
        v.rows = v.columns = 0;
        v.at = input;
        return v;
    }
    uint32_t first_row = (uint32_t)(top + y.begin * w->dilation_height);
    uint32_t first_column = (uint32_t)(left + x.begin * w->dilation_width);
    v.at = input + (first_row * w->in_width + first_column) * w->in_channels;
    return v;
}

static void average(const struct pool_i8 *p, const int32_t *multipliers, const struct view *v, int8_t *output) {
    uint32_t count = v->rows * v->columns;
    const int32_t *m = p->counts == 1 || count == 0 ? multipliers : multipliers + 2 * (count - 1);
    for (uint32_t c = 0; c < p->window.in_channels; c++) {
        int32_t sum = -(int32_t)count * p->input_zero;
        const int8_t *line = v->at + c;
        for (uint32_t y = 0; y < v->rows; y++, line += v->row_step) {
            const int8_t *from = line;
            for (uint32_t x = 0; x < v->columns; x++, from += v->column_step) sum += *from;
        }
        output[c] = requantize(sum, m[0], m[1], p->output_zero);
    }
}

static void maximum(const struct pool_i8 *p, const struct view *v, int8_t *output) {
    for (uint32_t c = 0; c < p->window.in_channels; c++) {
        int8_t most = -128;
        const int8_t *line = v->at + c;
        for (uint32_t y = 0; y < v->rows; y++, line += v->row_step) {
            const int8_t *from = line;
            for (uint32_t x = 0; x < v->columns; x++, from += v->column_step) most = *from > most ? *from : most;
        }
        output[c] = most;
    }
}

static void pool(const struct kernel_memory *memory, const uint8_t *record, bool averaging) {
    struct pool_i8 p;
    __builtin_memcpy(&p, record, sizeof p);
    const struct window *w = &p.window;
    const int32_t *multipliers = (const int32_t *)(const void *)(memory->weights + p.multipliers);
    int8_t *output = tensor_i8(memory, p.output);
    for (uint32_t row = 0; row < w->out_height; row++) {
        for (uint32_t column = 0; column < w->out_width; column++, output += w->out_channels) {
            struct view v = look(w, tensor_i8(memory, p.input), row, column);
            if (averaging) {
                average(&p, multipliers, &v, output);
            } else {
                maximum(&p, &v, output);
            }
        }
    }
    limit_i8(tensor_i8(memory, p.output), (uint32_t)window_out(w), p.low, p.high);
}

static void run_average(const struct kernel_memory *memory, const uint8_t *record) { pool(memory, record, true); }
static void run_max(const struct kernel_memory *memory, const uint8_t *record) { pool(memory, record, false); }

const struct kernel kernel_average_pool_i8 = {.check = check_average, .run = run_average};
const struct kernel kernel_max_pool_i8 = {.check = check_max, .run = run_max};
