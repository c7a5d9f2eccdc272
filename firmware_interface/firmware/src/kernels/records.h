/* The operators' records: what stands in a board image for each kernel. KERNELS.md is the normative text.
 *
 * Each struct is the record byte for byte, its head (u16 kernel, u16 bytes) included; little-endian, no gaps. Places are
 * offsets in bytes: of tensors in the arena, of tables in the image's weights. Tensors are laid out height, width,
 * channels. */
#ifndef RECORDS_H
#define RECORDS_H

#include <stdint.h>

enum kernel_number {
    KERNEL_COPY,
    KERNEL_CONV_I8,
    KERNEL_DEPTHWISE_I8,
    KERNEL_AVERAGE_POOL_I8,
    KERNEL_MAX_POOL_I8,
    KERNEL_ADD_I8,
    KERNEL_MUL_I8,
    KERNEL_TABLE_I8,
    KERNEL_SOFTMAX_I8,
    KERNEL_FILL,
    KERNEL_MOVE,
    KERNEL_RESIZE,
    KERNEL_QUANTIZE,
    KERNEL_DEQUANTIZE,
    KERNEL_CONV_F32,
    KERNEL_DEPTHWISE_F32,
    KERNEL_AVERAGE_POOL_F32,
    KERNEL_MAX_POOL_F32,
    KERNEL_ADD_F32,
    KERNEL_MUL_F32,
    KERNEL_UNARY_F32,
    KERNEL_SOFTMAX_F32,
    KERNEL_COUNT,
};

/* Of the records' layout and of the integer arithmetic. */
enum { KERNEL_RECORDS_VERSION = 2 };

struct head {
    uint16_t kernel;
    uint16_t bytes;
};

/* A window that slides over an image: convolution and pooling. */
struct window {
    uint16_t in_height, in_width, in_channels;
    uint16_t out_height, out_width, out_channels;
    uint16_t kernel_height, kernel_width;
    uint16_t stride_height, stride_width;
    uint16_t dilation_height, dilation_width;
    uint16_t pad_top, pad_left;
};

/* One of an operator's output channels. */
struct channel {
    int32_t bias;       /* the zero point of the input is folded in */
    int32_t multiplier; /* 0 to 2^31 - 1 */
    int32_t shift;      /* -31 to 22 */
};

/* Flags that spare a kernel from finding out: all channels have a shift above 0, so that sums are requantised the short
 * way; a convolution's output pixels are the input's one by one (a 1x1 window, stride 1, no padding, one group), so that
 * there is nothing to gather. `check` refuses a flag that is not true. */
enum { CONV_SHORT = 1, CONV_POINTWISE = 2 };

struct conv_i8 { /* and depthwise */
    struct head head;
    struct window window;
    uint32_t input, output;
    uint32_t weights;  /* convolution: [out][kernel height][kernel width][in / groups]; depthwise: [height][width][channel] */
    uint32_t channels; /* struct channel of each output channel */
    uint16_t groups;
    int8_t input_zero, output_zero;
    int8_t low, high; /* limits of the output */
    uint16_t flags;
    uint32_t scratch; /* place in the scratch */
};

struct pool_i8 {
    struct head head;
    struct window window;
    uint32_t input, output;
    uint32_t multipliers; /* average: int32 multiplier, int32 shift for each count of elements from 1 on */
    uint32_t counts;      /* how many of them; 1: the one is for any count. Maximum: 0 */
    int8_t input_zero, output_zero;
    int8_t low, high;
};

struct add_i8 {
    struct head head;
    uint32_t left, right, output;
    uint32_t count;  /* elements of left and output */
    uint32_t period; /* elements of right, repeated */
    int32_t left_multiplier, right_multiplier;
    int32_t shift;
    int8_t left_zero, right_zero, output_zero;
    int8_t low, high;
    uint8_t zero[3];
};

struct mul_i8 {
    struct head head;
    uint32_t left, right, output;
    uint32_t count, period;
    int32_t multiplier, shift;
    int8_t left_zero, right_zero, output_zero;
    int8_t low, high;
    uint8_t zero[3];
};

struct table_i8 {
    struct head head;
    uint32_t input, output, count;
    uint32_t table; /* int8[256], by input + 128 */
};

struct softmax_i8 {
    struct head head;
    uint32_t input, output;
    uint32_t rows, columns;
    uint32_t table;      /* uint32[256]: by the distance from the row's largest element */
    uint32_t multiplier; /* 2^8 / the output's scale */
    int8_t output_zero;
    uint8_t zero[3];
};

/* Elements of any kind, by their bytes. */
struct fill {
    struct head head;
    uint32_t output, count;
    uint32_t size;  /* bytes of an element: 1, 2 or 4 */
    uint32_t value; /* its low bytes */
};

/* output[at] = input[at] for every index of a box: slices, transposes, parts of a concatenation, the inside of a pad. */
enum { MOVE_AXES = 6 };
struct move {
    struct head head;
    uint32_t input, output; /* of the element with index 0 on every axis */
    uint32_t size;          /* bytes of an element: 1, 2 or 4 */
    uint32_t extent[MOVE_AXES];
    int32_t input_step[MOVE_AXES], output_step[MOVE_AXES]; /* elements */
};

/* output[y][x] = input[rows[y]][columns[x]], whole pixels. */
struct resize {
    struct head head;
    uint32_t input, output;
    uint32_t rows, columns; /* uint16 of each output row and column, in the weights */
    uint16_t in_height, in_width, out_height, out_width;
    uint32_t pixel; /* bytes */
};

/* int8 from float32, halves to even, or float32 from int8. */
struct convert {
    struct head head;
    uint32_t input, output, count;
    float scale;
    int32_t zero_point;
};

struct conv_f32 { /* and depthwise; layouts as in int8 */
    struct head head;
    struct window window;
    uint32_t input, output;
    uint32_t weights, bias; /* float32 */
    float low, high;
    uint32_t groups;
    uint32_t scratch; /* place in the scratch */
};

struct pool_f32 {
    struct head head;
    struct window window;
    uint32_t input, output;
    uint32_t count; /* average: divisor, or 0 for the count of the elements inside. Maximum: 0 */
    float low, high;
};

struct binary_f32 {
    struct head head;
    uint32_t left, right, output;
    uint32_t count, period;
    float low, high;
};

enum unary_function { UNARY_CLIP, UNARY_SIGMOID, UNARY_HARD_SWISH, UNARY_COUNT };
struct unary_f32 {
    struct head head;
    uint32_t input, output, count;
    uint32_t function;
    float low, high; /* of the result */
};

struct softmax_f32 {
    struct head head;
    uint32_t input, output, rows, columns;
};

_Static_assert(sizeof(struct fill) == 20, "packed");
_Static_assert(sizeof(struct move) == 88, "packed");
_Static_assert(sizeof(struct resize) == 32, "packed");
_Static_assert(sizeof(struct convert) == 24, "packed");
_Static_assert(sizeof(struct conv_f32) == 64, "packed");
_Static_assert(sizeof(struct pool_f32) == 52, "packed");
_Static_assert(sizeof(struct binary_f32) == 32, "packed");
_Static_assert(sizeof(struct unary_f32) == 28, "packed");
_Static_assert(sizeof(struct softmax_f32) == 20, "packed");
_Static_assert(sizeof(struct window) == 28, "packed");
_Static_assert(sizeof(struct conv_i8) == 60, "packed");
_Static_assert(sizeof(struct pool_i8) == 52, "packed");
_Static_assert(sizeof(struct add_i8) == 44, "packed");
_Static_assert(sizeof(struct mul_i8) == 40, "packed");
_Static_assert(sizeof(struct table_i8) == 20, "packed");
_Static_assert(sizeof(struct softmax_i8) == 32, "packed");

#endif
