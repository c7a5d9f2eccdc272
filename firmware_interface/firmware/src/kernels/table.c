/* The table of kernels. KERNELS_INT8 leaves out what computes in float32. */
#include "arithmetic.h"
#include "catalogue.h"

extern const struct kernel kernel_conv_i8, kernel_depthwise_i8, kernel_average_pool_i8, kernel_max_pool_i8;
extern const struct kernel kernel_add_i8, kernel_mul_i8, kernel_table_i8, kernel_softmax_i8;

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
};
const uint16_t kernel_count = KERNEL_COUNT;
const uint16_t kernel_version = KERNEL_RECORDS_VERSION;
const uint32_t kernel_capabilities = CAPABILITY_INT8 | (KERNELS_DSP ? CAPABILITY_DSP : 0);
