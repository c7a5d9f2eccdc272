/* float32 operators element by element, softmax, and the way from and to int8. */
#include "float32.h"

static bool check_convert(const struct kernel_memory *memory, const uint8_t *record, uint32_t bytes, bool to_int8) {
    struct convert c;
    if (bytes != sizeof c) return false;
    __builtin_memcpy(&c, record, sizeof c);
    uint32_t wide = to_int8 ? c.input : c.output, narrow = to_int8 ? c.output : c.input;
    return inside_f32(wide, c.count, memory->arena_bytes) && inside(narrow, c.count, memory->arena_bytes) &&
           c.scale > 0 && c.zero_point >= -128 && c.zero_point <= 127;
}

static bool check_quantize(const struct kernel_memory *memory, const uint8_t *record, uint32_t bytes) {
    return check_convert(memory, record, bytes, true);
}

static bool check_dequantize(const struct kernel_memory *memory, const uint8_t *record, uint32_t bytes) {
    return check_convert(memory, record, bytes, false);
}

/* Halves to even: the addition of 1.5 * 2^23 rounds to an integer. NaN becomes -128. */
static void run_quantize(const struct kernel_memory *memory, const uint8_t *record) {
    struct convert c;
    __builtin_memcpy(&c, record, sizeof c);
    const float *input = tensor_f32(memory, c.input);
    int8_t *output = tensor_i8(memory, c.output);
    for (uint32_t i = 0; i < c.count; i++) {
        float value = input[i] / c.scale;
        value = value > -512.0f ? value : -512.0f;
        volatile float shifted = (value < 512.0f ? value : 512.0f) + 12582912.0f;
        output[i] = (int8_t)clamp((int32_t)(shifted - 12582912.0f) + c.zero_point, -128, 127);
    }
}

static void run_dequantize(const struct kernel_memory *memory, const uint8_t *record) {
    struct convert c;
    __builtin_memcpy(&c, record, sizeof c);
    const int8_t *input = tensor_i8(memory, c.input);
    float *output = tensor_f32(memory, c.output);
    for (uint32_t i = 0; i < c.count; i++) output[i] = (float)(input[i] - c.zero_point) * c.scale;
}

static bool check_binary(const struct kernel_memory *memory, const uint8_t *record, uint32_t bytes) {
    struct binary_f32 b;
    if (bytes != sizeof b) return false;
    __builtin_memcpy(&b, record, sizeof b);
    return b.period != 0 && b.count % b.period == 0 && inside_f32(b.left, b.count, memory->arena_bytes) &&
           inside_f32(b.right, b.period, memory->arena_bytes) && inside_f32(b.output, b.count, memory->arena_bytes);
}

static void binary(const struct kernel_memory *memory, const uint8_t *record, bool multiply) {
    struct binary_f32 b;
    __builtin_memcpy(&b, record, sizeof b);
    const float *left = tensor_f32(memory, b.left);
    float *output = tensor_f32(memory, b.output);
    for (uint32_t i = 0; i < b.count; i += b.period) {
        const float *right = tensor_f32(memory, b.right);
        for (uint32_t k = 0; k < b.period; k++, left++, right++) {
            *output++ = limit_f32(multiply ? *left * *right : *left + *right, b.low, b.high);
        }
    }
}

static void run_add(const struct kernel_memory *memory, const uint8_t *record) { binary(memory, record, false); }
static void run_mul(const struct kernel_memory *memory, const uint8_t *record) { binary(memory, record, true); }

/* e^x to 2 units in the last place: 2^n times a polynomial of the rest. The C library's goes through double. */
static float exponential(float x) {
    if (!(x > -87.0f)) return 0.0f;
    if (x > 88.0f) x = 88.0f;
    float scaled = x * 1.44269504f;
    int32_t n = (int32_t)(scaled < 0 ? scaled - 0.5f : scaled + 0.5f);
    float r = x - (float)n * 0.693359375f + (float)n * 2.12194440e-4f;
    float p = 1.0f + r * (1.0f + r * (0.5f + r * (1.66666667e-1f + r * (4.16666667e-2f + r * (8.3333333e-3f + r * 1.38888889e-3f)))));
    uint32_t bits = (uint32_t)(n + 127) << 23;
    float power;
    __builtin_memcpy(&power, &bits, sizeof power);
    return p * power;
}

static bool check_unary(const struct kernel_memory *memory, const uint8_t *record, uint32_t bytes) {
    struct unary_f32 u;
    if (bytes != sizeof u) return false;
    __builtin_memcpy(&u, record, sizeof u);
    return u.function < UNARY_COUNT && inside_f32(u.input, u.count, memory->arena_bytes) &&
           inside_f32(u.output, u.count, memory->arena_bytes);
}

static float function(uint32_t kind, float x) {
    if (kind == UNARY_SIGMOID) return 1.0f / (1.0f + exponential(-x));
    if (kind == UNARY_HARD_SWISH) return x * limit_f32(x * (1.0f / 6.0f) + 0.5f, 0.0f, 1.0f);
    return x;
}

static void run_unary(const struct kernel_memory *memory, const uint8_t *record) {
    struct unary_f32 u;
    __builtin_memcpy(&u, record, sizeof u);
    const float *input = tensor_f32(memory, u.input);
    float *output = tensor_f32(memory, u.output);
    for (uint32_t i = 0; i < u.count; i++) output[i] = limit_f32(function(u.function, input[i]), u.low, u.high);
}

static bool check_softmax(const struct kernel_memory *memory, const uint8_t *record, uint32_t bytes) {
    struct softmax_f32 s;
    if (bytes != sizeof s) return false;
    __builtin_memcpy(&s, record, sizeof s);
    uint64_t count = (uint64_t)s.rows * s.columns;
    return s.columns != 0 && count < 1u << 30 && inside_f32(s.input, count, memory->arena_bytes) &&
           inside_f32(s.output, count, memory->arena_bytes);
}

static void run_softmax(const struct kernel_memory *memory, const uint8_t *record) {
    struct softmax_f32 s;
    __builtin_memcpy(&s, record, sizeof s);
    const float *input = tensor_f32(memory, s.input);
    float *output = tensor_f32(memory, s.output);
    for (uint32_t row = 0; row < s.rows; row++, input += s.columns, output += s.columns) {
        float most = input[0], sum = 0;
        for (uint32_t i = 1; i < s.columns; i++) most = input[i] > most ? input[i] : most;
        for (uint32_t i = 0; i < s.columns; i++) {
            output[i] = exponential(input[i] - most);
            sum += output[i];
        }
        for (uint32_t i = 0; i < s.columns; i++) output[i] /= sum;
    }
}

const struct kernel kernel_quantize = {.check = check_quantize, .run = run_quantize};
const struct kernel kernel_dequantize = {.check = check_dequantize, .run = run_dequantize};
const struct kernel kernel_add_f32 = {.check = check_binary, .run = run_add};
const struct kernel kernel_mul_f32 = {.check = check_binary, .run = run_mul};
const struct kernel kernel_unary_f32 = {.check = check_unary, .run = run_unary};
const struct kernel kernel_softmax_f32 = {.check = check_softmax, .run = run_softmax};
