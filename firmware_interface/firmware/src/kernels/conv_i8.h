#ifndef CONV_I8_H
#define CONV_I8_H

#include "arithmetic.h"

/* Whether the table of channels lies in the weights and holds what the arithmetic takes. */
bool channels_check(const struct kernel_memory *memory, uint32_t at, uint32_t count);

/* Window, tensors, channels: what convolution and depthwise convolution check alike. */
bool conv_i8_places(const struct kernel_memory *memory, const struct conv_i8 *c);

#endif
