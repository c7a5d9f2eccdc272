/* The table of kernels. KERNELS_INT8 leaves out what computes in float32. */
#include "arithmetic.h"
#include "catalogue.h"

extern const struct kernel kernel_conv_i8, kernel_depthwise_i8, kernel_average_pool_i8, kernel_max_pool_i8;
extern const struct kernel kernel_add_i8, kernel_mul_i8, kernel_table_i8, kernel_softmax_i8;
extern const struct kernel kernel_fill, kernel_move, kernel_resize;
#ifndef KERNELS_INT8
extern const struct kernel kernel_quantize, kernel_dequantize, kernel_conv_f32, kernel_depthwise_f32;
extern const struct kernel kernel_average_pool_f32, kernel_max_pool_f32, kernel_add_f32, kernel_mul_f32;
extern const struct kernel kernel_unary_f32, kernel_softmax_f32;
#endif

const struct kernel *const kernel_table[KERNEL_COUNT] = {
    [KERNEL_COPY] = &kernel_copy,
    [KERNEL_CONV_I8] = &kernel_conv_i8,
    [KERNEL_DEPTHWISE_I8] = &kernel_depthwise_i8,
    [KERNEL_AVERAGE_POOL_I8] = &kernel_average_pool_i8,
    [KERNEL_MAX_POOL_I8] = &kernel_max_pool_i8,
    [KERNEL_ADD_I8] = &kernel_add_i8,
    [KERNEL_MUL_I8] = &kernel_mul_i8,
    [KERNEL_TABLE_I8] = &kernel_table_i8,
    [KERNEL_SOFTMAX_I8] = &kernel_softmax_i8,
    [KERNEL_FILL] = &kernel_fill,
    [KERNEL_MOVE] = &kernel_move,
    [KERNEL_RESIZE] = &kernel_resize,
#ifndef KERNELS_INT8
    [KERNEL_QUANTIZE] = &kernel_quantize,
    [KERNEL_DEQUANTIZE] = &kernel_dequantize,
    [KERNEL_CONV_F32] = &kernel_conv_f32,
    [KERNEL_DEPTHWISE_F32] = &kernel_depthwise_f32,
    [KERNEL_AVERAGE_POOL_F32] = &kernel_average_pool_f32,
    [KERNEL_MAX_POOL_F32] = &kernel_max_pool_f32,
    [KERNEL_ADD_F32] = &kernel_add_f32,
    [KERNEL_MUL_F32] = &kernel_mul_f32,
    [KERNEL_UNARY_F32] = &kernel_unary_f32,
    [KERNEL_SOFTMAX_F32] = &kernel_softmax_f32,
#endif
};
const uint16_t kernel_count = KERNEL_COUNT;
const uint16_t kernel_version = KERNEL_RECORDS_VERSION;
#ifdef KERNELS_INT8
const uint32_t kernel_capabilities = CAPABILITY_INT8 | (KERNELS_DSP ? CAPABILITY_DSP : 0);
#else
const uint32_t kernel_capabilities = CAPABILITY_INT8 | CAPABILITY_FLOAT32 | (KERNELS_DSP ? CAPABILITY_DSP : 0);
#endif
