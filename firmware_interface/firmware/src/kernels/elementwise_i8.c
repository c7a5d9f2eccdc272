/* int8 addition, multiplication, functions of one element by table, and softmax. */
#include "arithmetic.h"

static bool operands(const struct kernel_memory *memory, uint32_t left, uint32_t right, uint32_t output, uint32_t count,
                     uint32_t period) {
    return period != 0 && count % period == 0 && inside(left, count, memory->arena_bytes) &&
           inside(right, period, memory->arena_bytes) && inside(output, count, memory->arena_bytes);
}

/* So that the sum of both products and the half stay in int32. */
enum { ADD_MULTIPLIER_MOST = 1 << 21, ADD_SHIFT_MOST = 30 };

static bool check_add(const struct kernel_memory *memory, const uint8_t *record, uint32_t bytes) {
    struct add_i8 a;
    if (bytes != sizeof a) return false;
    __builtin_memcpy(&a, record, sizeof a);
    return operands(memory, a.left, a.right, a.output, a.count, a.period) && a.left_multiplier >= 0 &&
           a.left_multiplier <= ADD_MULTIPLIER_MOST && a.right_multiplier >= 0 &&
           a.right_multiplier <= ADD_MULTIPLIER_MOST && a.shift >= 1 && a.shift <= ADD_SHIFT_MOST && a.low <= a.high;
}

static void run_add(const struct kernel_memory *memory, const uint8_t *record) {
    struct add_i8 a;
    __builtin_memcpy(&a, record, sizeof a);
    const int8_t *left = tensor_i8(memory, a.left);
    int8_t *output = tensor_i8(memory, a.output);
    int32_t half = 1 << (a.shift - 1);
    for (uint32_t i = 0; i < a.count; i += a.period) {
        const int8_t *right = tensor_i8(memory, a.right);
        for (uint32_t k = 0; k < a.period; k++) {
            int32_t sum = (*left++ - a.left_zero) * a.left_multiplier + (*right++ - a.right_zero) * a.right_multiplier;
            *output++ = (int8_t)clamp(((sum + half) >> a.shift) + a.output_zero, a.low, a.high);
        }
    }
}

static bool check_mul(const struct kernel_memory *memory, const uint8_t *record, uint32_t bytes) {
    struct mul_i8 m;
    if (bytes != sizeof m) return false;
    __builtin_memcpy(&m, record, sizeof m);
    return operands(memory, m.left, m.right, m.output, m.count, m.period) && requantize_check(m.multiplier, m.shift) &&
           m.low <= m.high;
}

static void run_mul(const struct kernel_memory *memory, const uint8_t *record) {
    struct mul_i8 m;
    __builtin_memcpy(&m, record, sizeof m);
    const int8_t *left = tensor_i8(memory, m.left);
    int8_t *output = tensor_i8(memory, m.output);
    for (uint32_t i = 0; i < m.count; i += m.period) {
        const int8_t *right = tensor_i8(memory, m.right);
        for (uint32_t k = 0; k < m.period; k++) {
            int32_t product = (*left++ - m.left_zero) * (*right++ - m.right_zero);
            *output++ = (int8_t)clamp(requantize(product, m.multiplier, m.shift, m.output_zero), m.low, m.high);
        }
    }
}

static bool check_table(const struct kernel_memory *memory, const uint8_t *record, uint32_t bytes) {
    struct table_i8 t;
    if (bytes != sizeof t) return false;
    __builtin_memcpy(&t, record, sizeof t);
    return inside(t.input, t.count, memory->arena_bytes) && inside(t.output, t.count, memory->arena_bytes) &&
           inside(t.table, 256, memory->weight_bytes);
}

static void run_table(const struct kernel_memory *memory, const uint8_t *record) {
    struct table_i8 t;
    __builtin_memcpy(&t, record, sizeof t);
    const int8_t *input = tensor_i8(memory, t.input);
    int8_t *output = tensor_i8(memory, t.output);
    const int8_t *table = weights_i8(memory, t.table) + 128;
    for (uint32_t i = 0; i < t.count; i++) output[i] = table[input[i]];
}

/* A table's entries, and the multiplier: so that no product leaves 64 bits. */
enum { SOFTMAX_ENTRY_MOST = 1 << 23, SOFTMAX_MULTIPLIER_MOST = 1 << 30 };

static bool check_softmax(const struct kernel_memory *memory, const uint8_t *record, uint32_t bytes) {
    struct softmax_i8 s;
    if (bytes != sizeof s) return false;
    __builtin_memcpy(&s, record, sizeof s);
    uint64_t count = (uint64_t)s.rows * s.columns;
    if (s.columns == 0 || s.columns > 65535 || s.table % 4 != 0 || !inside(s.table, 1024, memory->weight_bytes) ||
        s.multiplier > SOFTMAX_MULTIPLIER_MOST || !inside(s.input, count, memory->arena_bytes) ||
        !inside(s.output, count, memory->arena_bytes)) {
        return false;
    }
    const uint32_t *table = (const uint32_t *)(const void *)(memory->weights + s.table);
    for (uint32_t i = 0; i < 256; i++) {
        if (table[i] > SOFTMAX_ENTRY_MOST) return false;
    }
    return table[0] != 0;
}

static void run_softmax(const struct kernel_memory *memory, const uint8_t *record) {
    struct softmax_i8 s;
    __builtin_memcpy(&s, record, sizeof s);
    const uint32_t *table = (const uint32_t *)(const void *)(memory->weights + s.table);
    const int8_t *input = tensor_i8(memory, s.input);
    int8_t *output = tensor_i8(memory, s.output);
    for (uint32_t row = 0; row < s.rows; row++, input += s.columns, output += s.columns) {
        int32_t most = -128;
        uint64_t sum = 0;
        for (uint32_t i = 0; i < s.columns; i++) most = input[i] > most ? input[i] : most;
        for (uint32_t i = 0; i < s.columns; i++) sum += table[most - input[i]];
        for (uint32_t i = 0; i < s.columns; i++) {
            uint64_t part = 2 * (uint64_t)table[most - input[i]] * s.multiplier + (sum << 8);
            int64_t value = (int64_t)(part / (sum << 9)) + s.output_zero;
            output[i] = (int8_t)(value > 127 ? 127 : value);
        }
    }
}

const struct kernel kernel_add_i8 = {.check = check_add, .run = run_add};
const struct kernel kernel_mul_i8 = {.check = check_mul, .run = run_mul};
const struct kernel kernel_table_i8 = {.check = check_table, .run = run_table};
const struct kernel kernel_softmax_i8 = {.check = check_softmax, .run = run_softmax};
