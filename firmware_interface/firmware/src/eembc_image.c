#include "eembc_image.h"

#include <string.h>

#include "bytes.h"
#include "eembc_sizes.h"
#include "port.h"
#include "runtime.h"

/* The arena does not keep the input over an inference: a copy stands behind what the model claims. */
static struct {
    const uint8_t *stimulus;
    int8_t *input;
    struct runtime_tensor to, from;
} network;

bool eembc_image_open(void) {
    struct port_memory memory;
    port_memory(&memory);
    if (runtime_load(eembc_network.image, eembc_network.image_bytes, memory.arena, memory.arena_bytes) != CODE_NONE) {
        return false;
    }
    network.to = runtime_input(0);
    network.from = runtime_output(0);
    network.input = (int8_t *)memory.arena + runtime_facts()->claimed;
    return network.to.bytes <= memory.arena_bytes - runtime_facts()->claimed;
}

static float stimulus_float(uint32_t index) {
    uint32_t bits = get_u32(network.stimulus + 4u * index);
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

/* Halves away from zero; what is no number is the least. */
static int8_t quantized(float value) {
    float steps = value / eembc_network.input_scale + (float)eembc_network.input_zero;
    if (!(steps > -128.0f)) return -128;
    if (steps >= 127.0f) return 127;
    return (int8_t)(int32_t)(steps + (steps < 0.0f ? -0.5f : 0.5f));
}

static void load(const uint8_t *input) {
    network.stimulus = input;
    for (uint32_t i = 0; i < network.to.bytes; i++) {
        switch (eembc_network.stimulus) {
            case STIMULUS_PIXELS:
                network.input[i] = (int8_t)(input[i] - 128);
                break;
            case STIMULUS_INT8:
                network.input[i] = (int8_t)input[i];
                break;
            default:
                network.input[i] = quantized(stimulus_float(i));
        }
    }
}

static void infer(void) {
    memcpy(network.to.data, network.input, network.to.bytes);
    while (!runtime_step()) port_watchdog_feed();
}

static float element(uint32_t index) {
    return (float)((int8_t)network.from.data[index] - eembc_network.output_zero) * eembc_network.output_scale;
}

static float result(uint32_t index) {
    if (eembc_network.error == 0) return element(index);
    float sum = 0.0f;
    for (uint32_t i = 0; i < network.from.bytes; i++) {
        float difference = stimulus_float(i) - element(i);
        sum += difference * difference;
    }
    return sum / (float)network.from.bytes;
}

const struct eembc_model eembc_image_model = {
    .id = EEMBC_ID,
    .vendor = "edgecut",
    .profile = "edgecut: int8 network by its own kernels",
    .input_bytes = EEMBC_MODEL_INPUT,
    .results = EEMBC_MODEL_RESULTS,
    .load = load,
    .infer = infer,
    .result = result,
};
