#ifndef CONV_I8_H
#define CONV_I8_H

#include "arithmetic.h"

/* Window, tensors, channels, scratch: what convolution and depthwise convolution check alike. */
bool conv_i8_places(const struct kernel_memory *memory, const struct conv_i8 *c, uint64_t scratch_bytes);

#endif
