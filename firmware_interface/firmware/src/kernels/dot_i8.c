#include "dot_i8.h"

static int32_t product(const int8_t *left, const int8_t *right, uint32_t depth, int32_t sum) {
    for (uint32_t k = 0; k < depth; k++) sum += left[k] * right[k];
    return sum;
}

static int8_t finish(const struct dot_i8 *dot, int32_t sum, const struct channel *c) {
    return dot->brief ? requantize_channel(sum, c, dot->zero) : requantize(sum, c->multiplier, c->shift, dot->zero);
}

#if KERNELS_DSP
/* Blocks of results are written out whole, since a compiler keeps some of what their loops need out of registers.
 * r0: input, r1: weights, r2: depth, r3 and on the stack: channels, behind the saved registers zero and output; lr: end
 * of the input; r4 to r7: sums. A load takes four elements, which become halves: bytes 0 and 2, bytes 1 and 3. */
#define UNUSED __attribute__((unused))
#define NAKED __attribute__((naked, noinline))
#define ARGUMENTS                                                                                                 \
    UNUSED const int8_t *x, UNUSED const int8_t *w, UNUSED uint32_t depth, UNUSED const struct channel *c,            \
        UNUSED int32_t zero, UNUSED int8_t *output
#define BEGIN "push {r3-r11, lr}\n bic lr, r2, #3\n add lr, r0\n "
#define END "pop {r3-r11, pc}"
#define EXPAND(even, bytes) "sxtb16 " even ", " bytes "\n sxtb16 " bytes ", " bytes ", ror #8\n "
#define MLA(sum, left, right) "mla " sum ", " left ", " right ", " sum "\n "

/* Sixteen elements a turn. Fours that are over come first, by entering in the middle: bits 3 and 2 of the depth become
 * carry and sign. Single elements that are over come last. */
#define LOOP(four, one)                                                                                           \
    "lsls r12, r2, #29\n bcs 3f\n bpl 2f\n b 6f\n 3: bmi 4f\n b 5f\n 1: " four "4: " four "5: " four "6: " four      \
    "2: cmp r0, lr\n bcc 1b\n ands lr, r2, #3\n beq 8f\n 7: " one "subs lr, #1\n bne 7b\n 8: "

/* What requantize_short does, with the multiplier in r8 and the shift in r9; zero is in r0, the output in r1. */
#define FINISH(sum, to)                                                                                           \
    "smmul " sum ", " sum ", r8\n asrs " sum ", r9\n adc " sum ", r0\n ssat " sum ", #8, " sum "\n strb " sum ", " to    \
    "\n "
#define SCALE(at) "ldrd r8, r9, [r3, #" at "]\n "

/* One row of weights, in r3, by two inputs: r8 and r9, r10 and r11. */
#define BY_TWO(first, second)                                                                                     \
    EXPAND("r12", "r3") "smlad " first ", r8, r12, " first "\n smlad " second ", r10, r12, " second                   \
    "\n smlad " first ", r9, r3, " first "\n smlad " second ", r11, r3, " second "\n "
#define TWO_BY_TWO                                                                                                \
    "ldr r11, [r0, r2]\n ldr r9, [r0], #4\n " EXPAND("r10", "r11") EXPAND("r8", "r9")                                 \
    "ldr r3, [r1, r2]\n " BY_TWO("r5", "r7") "ldr r3, [r1], #4\n " BY_TWO("r4", "r6")
#define TWO_BY_TWO_BYTES                                                                                          \
    "ldrsb r10, [r0, r2]\n ldrsb r8, [r0], #1\n ldrsb r11, [r1, r2]\n ldrsb r9, [r1], #1\n " MLA("r4", "r8", "r9")     \
        MLA("r5", "r8", "r11") MLA("r6", "r10", "r9") MLA("r7", "r10", "r11")

/* Two inputs by two rows: two channels of two pixels. Four rows by two inputs need more registers than there are. */
NAKED static void block_two(ARGUMENTS, UNUSED uint32_t pitch) {
    __asm(BEGIN "ldr r4, [r3]\n ldr r5, [r3, #12]\n mov r6, r4\n mov r7, r5\n " LOOP(TWO_BY_TWO, TWO_BY_TWO_BYTES)
          "ldr r3, [sp]\n ldrd r0, r1, [sp, #40]\n ldr r2, [sp, #48]\n add r2, r1\n " SCALE("4") FINISH("r4", "[r1]")
          FINISH("r6", "[r2]") SCALE("16") FINISH("r5", "[r1, #1]") FINISH("r7", "[r2, #1]") END);
}

/* One row of weights at `at` by one input: r8 and r9. */
#define ROW(at, sum)                                                                                              \
    "ldr r10, " at "\n " EXPAND("r11", "r10") "smlad " sum ", r8, r11, " sum "\n smlad " sum ", r9, r10, " sum "\n "
#define BYTE(at, sum) "ldrsb r9, " at "\n " MLA(sum, "r8", "r9")
#define ONE_BY_FOUR                                                                                               \
    "ldr r9, [r0], #4\n " EXPAND("r8", "r9") ROW("[r1, r2]", "r5") ROW("[r1, r2, lsl #1]", "r6")                      \
        ROW("[r1, r3]", "r7") ROW("[r1], #4", "r4")
#define ONE_BY_FOUR_BYTES                                                                                         \
    "ldrsb r8, [r0], #1\n " BYTE("[r1, r2]", "r5") BYTE("[r1, r2, lsl #1]", "r6") BYTE("[r1, r3]", "r7")               \
        BYTE("[r1], #1", "r4")

/* One input by four rows: four channels of a pixel. */
NAKED static void block_one(ARGUMENTS) {
    __asm(BEGIN "ldr r4, [r3]\n ldr r5, [r3, #12]\n ldr r6, [r3, #24]\n ldr r7, [r3, #36]\n add r3, r2, r2, lsl #1\n "
          LOOP(ONE_BY_FOUR, ONE_BY_FOUR_BYTES) "ldr r3, [sp]\n ldrd r0, r1, [sp, #40]\n " SCALE("4") FINISH("r4", "[r1]")
          SCALE("16") FINISH("r5", "[r1, #1]") SCALE("28") FINISH("r6", "[r1, #2]") SCALE("40") FINISH("r7", "[r1, #3]")
          END);
}
#endif

void dot_i8_two(const struct dot_i8 *dot, const int8_t *inputs, int8_t *output) {
    const int8_t *weights = dot->weights;
    const struct channel *c = dot->channels;
    const int8_t *end = output + dot->outputs;
#if KERNELS_DSP
    if (dot->brief) {
        for (; end - output >= 2; c += 2, output += 2, weights += 2 * dot->depth) {
            block_two(inputs, weights, dot->depth, c, dot->zero, output, dot->pitch);
        }
    }
#endif
    for (; output < end; output++, c++, weights += dot->depth) {
        output[0] = finish(dot, product(inputs, weights, dot->depth, c->bias), c);
        output[dot->pitch] = finish(dot, product(inputs + dot->depth, weights, dot->depth, c->bias), c);
    }
}

void dot_i8_one(const struct dot_i8 *dot, const int8_t *input, int8_t *output) {
    const int8_t *weights = dot->weights;
    const struct channel *c = dot->channels;
    const int8_t *end = output + dot->outputs;
    uint32_t depth = dot->depth;
#if KERNELS_DSP
    if (dot->brief) {
        for (; end - output >= 4; c += 4, output += 4, weights += 4 * depth) {
            block_one(input, weights, depth, c, dot->zero, output);
        }
    }
#endif
    for (; output < end; output++, c++, weights += depth) {
        *output = finish(dot, product(input, weights, depth, c->bias), c);
    }
}
