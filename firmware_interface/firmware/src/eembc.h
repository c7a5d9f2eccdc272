/* The text protocol of standard benchmark runners (EEMBC, MLPerf Tiny), performance mode: docs/eembc.md.
 *
 * One command at a time comes in on the host's UART, ended by '%'; lines go out, the last is `m-ready`. */
#ifndef EEMBC_H
#define EEMBC_H

#include <stdbool.h>
#include <stdint.h>

enum {
    EEMBC_COMMAND = 80,    /* characters before '%' */
    EEMBC_INPUT = 27648,   /* bytes that `db load` takes: the largest input of the suite, 96 x 96 x 3 */
    EEMBC_FLOAT_TEXT = 48, /* room for any float: sign, 39 digits, point, 3 digits, zero */
};

/* What is measured. An inference must end before the watchdog does, or feed it. */
struct eembc_model {
    const char *id;     /* ic01, kws01, vww01, ad01: a runner chooses its stimuli by it */
    const char *vendor; /* of `name` */
    const char *profile;
    uint32_t input_bytes;
    uint32_t results;
    void (*load)(const uint8_t *input); /* not timed */
    void (*infer)(void);
    float (*result)(uint32_t index); /* of the last inference */
};

/* Says the boot lines. */
void eembc_open(const struct eembc_model *model);

/* Answer a command, if a whole one has come; true when there was one. */
bool eembc_poll(void);

/* Ticks as microseconds; 32 bits, so that they wrap after 71.6 minutes. */
uint32_t eembc_microseconds(uint64_t ticks);

/* As printf's %0.3f, for every float: rounded to even where the binary value lies in the middle; inf, -inf, nan.
 * Writes at most EEMBC_FLOAT_TEXT characters, the last a zero. */
void eembc_float_text(char *text, float value);

#endif
