/* A model image: what the compiler makes and the slot holds. All numbers little-endian, every table 4-aligned.
 *
 *   offset  size  field
 *   0       4     magic "EDGM"
 *   4       2     format: 1
 *   6       2     version of the kernels' records that this image needs; 0 when COPY is enough
 *   8       4     bytes of the whole image
 *   12      4     capabilities needed (CAPABILITY_INT8, _FLOAT32, _DSP)
 *   16      24    board type, zero-padded; all zero: any board
 *   40      4     bytes of arena
 *   44      4     bytes of scratch: see flags
 *   48      4     where the operators' records begin
 *   52      2     operators
 *   54      2     inputs
 *   56      2     outputs
 *   58      2     flags: bit 0, the scratch is the start of the arena (records say where in it theirs is, beside the
 *                 tensors that live then); else it is placed behind the arena
 *   60      4     where the tensors' table begins: inputs, then outputs, each u32 offset in the arena, u32 bytes
 *   64      4     where the weights begin; 16-aligned
 *   68      4     bytes of weights
 *   72      4     CRC-32 of bytes 0 to 71
 *
 * An operator's record: u16 kernel, u16 bytes of the record (a multiple of 4), then what its kernel defines.
 * Behind arena and scratch the runtime keeps eight bytes of ticks for every operator. */
#ifndef IMAGE_H
#define IMAGE_H

enum {
    IMAGE_MAGIC = 0x4D474445,
    IMAGE_AT_FORMAT = 4,
    IMAGE_AT_KERNELS = 6,
    IMAGE_AT_BYTES = 8,
    IMAGE_AT_CAPABILITIES = 12,
    IMAGE_AT_BOARD = 16,
    IMAGE_BOARD_BYTES = 24,
    IMAGE_AT_ARENA = 40,
    IMAGE_AT_SCRATCH = 44,
    IMAGE_AT_OPERATORS = 48,
    IMAGE_AT_OPERATOR_COUNT = 52,
    IMAGE_AT_INPUTS = 54,
    IMAGE_AT_OUTPUTS = 56,
    IMAGE_AT_FLAGS = 58,
    IMAGE_AT_TENSORS = 60,
    IMAGE_AT_WEIGHTS = 64,
    IMAGE_AT_WEIGHT_BYTES = 68,
    IMAGE_AT_CRC = 72,
    IMAGE_HEADER_BYTES = 76,
    IMAGE_TENSOR_BYTES = 8,
    IMAGE_RECORD_BYTES = 4,
    IMAGE_SCRATCH_IN_ARENA = 1,
};

#endif
