/* A stand-in that is no network: its results are made from the input's CRC-32, so that a test can foretell them. It
 * serves to test the protocol and runners; times of it say nothing of a network. */
#include "eembc_checksum.h"

#include "crc32.h"
#include "eembc_sizes.h"

static const uint8_t *from;
static uint32_t checksum;

static void load(const uint8_t *input) { from = input; }

static void infer(void) { checksum = crc32(from, EEMBC_MODEL_INPUT); }

/* A multiple of 1/1024 below 1. */
static float result(uint32_t index) { return (float)(checksum * (2u * index + 1u) >> 22) / 1024.0f; }

const struct eembc_model eembc_checksum_model = {
    .id = EEMBC_ID,
    .vendor = "edgecut checksum",
    .profile = "edgecut: checksum of the input, no network",
    .input_bytes = EEMBC_MODEL_INPUT,
    .results = EEMBC_MODEL_RESULTS,
    .load = load,
    .infer = infer,
    .result = result,
};
