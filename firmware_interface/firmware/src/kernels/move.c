/* Elements of any kind moved, filled or picked by tables: no arithmetic. */
#include "window.h"

static bool element(uint32_t size) { return size == 1 || size == 2 || size == 4; }

static bool check_fill(const struct kernel_memory *memory, const uint8_t *record, uint32_t bytes) {
    struct fill f;
    if (bytes != sizeof f) return false;
    __builtin_memcpy(&f, record, sizeof f);
    return element(f.size) && inside(f.output, (uint64_t)f.count * f.size, memory->arena_bytes);
}

static void run_fill(const struct kernel_memory *memory, const uint8_t *record) {
    struct fill f;
    __builtin_memcpy(&f, record, sizeof f);
    uint8_t *to = memory->arena + f.output;
    for (uint32_t i = 0; i < f.count; i++, to += f.size) __builtin_memcpy(to, &f.value, f.size);
}

/* Whether every element of the box lies in the arena. */
static bool box(const struct kernel_memory *memory, const struct move *m, uint32_t at, const int32_t *steps) {
    int64_t least = at, most = at;
    for (uint32_t axis = 0; axis < MOVE_AXES; axis++) {
        if (m->extent[axis] == 0 || m->extent[axis] > memory->arena_bytes) return false;
        int64_t reach = (int64_t)(m->extent[axis] - 1) * steps[axis] * (int64_t)m->size;
        if (reach > (int64_t)1 << 40 || reach < -((int64_t)1 << 40)) return false;
        if (reach < 0) {
            least += reach;
        } else {
            most += reach;
        }
    }
    return least >= 0 && most + (int64_t)m->size <= (int64_t)memory->arena_bytes;
}

static bool check_move(const struct kernel_memory *memory, const uint8_t *record, uint32_t bytes) {
    struct move m;
    if (bytes != sizeof m) return false;
    __builtin_memcpy(&m, record, sizeof m);
    return element(m.size) && box(memory, &m, m.input, m.input_step) && box(memory, &m, m.output, m.output_step);
}

static void move_line(const struct move *m, const uint8_t *from, uint8_t *to) {
    const uint32_t last = MOVE_AXES - 1;
    if (m->input_step[last] == 1 && m->output_step[last] == 1) {
        copy_bytes(to, from, m->extent[last] * m->size);
        return;
    }
    int32_t in = m->input_step[last] * (int32_t)m->size, out = m->output_step[last] * (int32_t)m->size;
    int32_t from_at = 0, to_at = 0;
    for (uint32_t i = 0; i < m->extent[last]; i++, from_at += in, to_at += out) {
        for (uint32_t byte = 0; byte < m->size; byte++) to[to_at + (int32_t)byte] = from[from_at + (int32_t)byte];
    }
}

static void run_move(const struct kernel_memory *memory, const uint8_t *record) {
    struct move m;
    __builtin_memcpy(&m, record, sizeof m);
    uint32_t index[MOVE_AXES] = {0};
    int32_t from = (int32_t)m.input, to = (int32_t)m.output, size = (int32_t)m.size;
    for (;;) {
        move_line(&m, memory->arena + from, memory->arena + to);
        uint32_t axis = MOVE_AXES - 1;
        for (;;) {
            if (axis == 0) return;
            axis--;
            if (++index[axis] < m.extent[axis]) break;
            from -= (int32_t)(m.extent[axis] - 1) * m.input_step[axis] * size;
            to -= (int32_t)(m.extent[axis] - 1) * m.output_step[axis] * size;
            index[axis] = 0;
        }
        from += m.input_step[axis] * size;
        to += m.output_step[axis] * size;
    }
}

static uint16_t place(const struct kernel_memory *memory, uint32_t table, uint32_t index) {
    uint16_t value;
    __builtin_memcpy(&value, memory->weights + table + 2 * index, sizeof value);
    return value;
}

static bool places_below(const struct kernel_memory *memory, uint32_t table, uint32_t count, uint32_t limit) {
    if (!inside(table, 2ull * count, memory->weight_bytes)) return false;
    for (uint32_t i = 0; i < count; i++) {
        if (place(memory, table, i) >= limit) return false;
    }
    return true;
}

static bool check_resize(const struct kernel_memory *memory, const uint8_t *record, uint32_t bytes) {
    struct resize r;
    if (bytes != sizeof r) return false;
    __builtin_memcpy(&r, record, sizeof r);
    return r.pixel != 0 && r.pixel <= memory->arena_bytes &&
           inside(r.input, (uint64_t)r.in_height * r.in_width * r.pixel, memory->arena_bytes) &&
           inside(r.output, (uint64_t)r.out_height * r.out_width * r.pixel, memory->arena_bytes) &&
           places_below(memory, r.rows, r.out_height, r.in_height) &&
           places_below(memory, r.columns, r.out_width, r.in_width);
}

static void run_resize(const struct kernel_memory *memory, const uint8_t *record) {
    struct resize r;
    __builtin_memcpy(&r, record, sizeof r);
    uint8_t *to = memory->arena + r.output;
    for (uint32_t y = 0; y < r.out_height; y++) {
        const uint8_t *line = memory->arena + r.input + place(memory, r.rows, y) * r.in_width * r.pixel;
        for (uint32_t x = 0; x < r.out_width; x++, to += r.pixel) {
            copy_bytes(to, line + place(memory, r.columns, x) * r.pixel, r.pixel);
        }
    }
}

const struct kernel kernel_fill = {.check = check_fill, .run = run_fill};
const struct kernel kernel_move = {.check = check_move, .run = run_move};
const struct kernel kernel_resize = {.check = check_resize, .run = run_resize};
