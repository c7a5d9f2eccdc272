/* libFuzzer: characters for the firmware that answers a standard runner. Its model hands out any float, and another
 * command comes in after some inferences, so that no run is endless. */
#include <string.h>

#include "eembc.h"
#include "fake_port.h"
#include "line.h"
#include "uart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { INPUT = 3072, MOST_INFERENCES = 40 };

static const uint8_t *from;
static unsigned inferences;
static uint32_t sum;

static void load(const uint8_t *input) { from = input; }

static void infer(void) {
    for (unsigned i = 0; i < INPUT; i++) sum = sum * 31u + from[i];
    if (++inferences % MOST_INFERENCES == 0) uart_received(HOST_PORT, '%');
}

static float result(uint32_t index) {
    float value;
    uint32_t bits = sum * (index + 1u);
    memcpy(&value, &bits, sizeof value);
    return value;
}

static const struct eembc_model model = {"ic01", "fuzz", "fuzz", INPUT, 10, load, infer, result};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    inferences = 0;
    uart_empty(HOST_PORT);
    eembc_open(&model);
    for (size_t i = 0; i < bytes; i++) {
        uart_received(HOST_PORT, data[i]);
        if (data[i] != '%' && i % 64 != 0) continue;
        for (unsigned turns = 0; turns < 8 && eembc_poll(); turns++) {
        }
    }
    return 0;
}
