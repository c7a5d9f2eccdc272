/* Reads floats as four bytes each, writes a line for each. */
#include <stdio.h>

#include "eembc.h"

int main(void) {
    float value;
    char text[EEMBC_FLOAT_TEXT];
    while (fread(&value, sizeof value, 1, stdin) == 1) {
        eembc_float_text(text, value);
        (void)puts(text);
    }
    return 0;
}
