/* eembc_numbers floats|ticks: numbers of four or eight bytes from the standard input, as text, a line for each. */
#include <stdio.h>
#include <string.h>

#include "eembc.h"

int main(int count, char **arguments) {
    float value;
    uint64_t ticks;
    char text[EEMBC_FLOAT_TEXT];
    if (count == 2 && strcmp(arguments[1], "ticks") == 0) {
        while (fread(&ticks, sizeof ticks, 1, stdin) == 1) (void)printf("%lu\n", (unsigned long)eembc_microseconds(ticks));
        return 0;
    }
    while (fread(&value, sizeof value, 1, stdin) == 1) {
        eembc_float_text(text, value);
        (void)puts(text);
    }
    return 0;
}
