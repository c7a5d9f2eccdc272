/* The table of a firmware without kernels: models can be carried, timed and joined by links, not computed. */
#include "kernel.h"

const struct kernel *const kernel_table[] = {&kernel_copy};
const uint16_t kernel_count = 1;
const uint16_t kernel_version = 0;
const uint32_t kernel_capabilities = 0;
