/* A stand-in that is no network: its results are made from the input's CRC-32, so that a test can foretell them. It
 * serves to test the protocol and runners; times of it say nothing of a network. */
#include "eembc_checksum.h"

#include "crc32.h"

#ifndef EEMBC_MODEL
#define EEMBC_MODEL ic01
#endif

#define STRING(text) #text
#define STRING_OF(macro) STRING(macro)
#define JOIN(a, b) a##b
#define JOINED(a, b) JOIN(a, b)

/* Bytes of a stimulus and length of the result vector, as the suite has them. */
enum {
    ic01_input = 3072,
    ic01_results = 10,
    kws01_input = 490,
    kws01_results = 12,
    vww01_input = 27648,
    vww01_results = 2,
    ad01_input = 2560,
    ad01_results = 1,
};

static const uint8_t *from;
static uint32_t checksum;

static void load(const uint8_t *input) { from = input; }

static void infer(void) { checksum = crc32(from, JOINED(EEMBC_MODEL, _input)); }

/* A multiple of 1/1024 below 1. */
static float result(uint32_t index) { return (float)(checksum * (2u * index + 1u) >> 22) / 1024.0f; }

const struct eembc_model eembc_checksum_model = {
    .id = STRING_OF(EEMBC_MODEL),
    .vendor = "edgecut checksum",
    .profile = "edgecut: checksum of the input, no network",
    .input_bytes = JOINED(EEMBC_MODEL, _input),
    .results = JOINED(EEMBC_MODEL, _results),
    .load = load,
    .infer = infer,
    .result = result,
};
