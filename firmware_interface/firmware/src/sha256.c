#include "sha256.h"

#include <string.h>

#include "bytes.h"

static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t value, unsigned bits) { return value >> bits | value << (32u - bits); }

static uint32_t get_big(const uint8_t *at) { return __builtin_bswap32(get_u32(at)); }

static void put_big(uint8_t *at, uint32_t value) { (void)put_u32(at, __builtin_bswap32(value)); }

/* The message schedule is kept as its last 16 words. */
static void compress(struct sha256 *hash, const uint8_t *block) {
    uint32_t words[16];
    uint32_t s[8];
    memcpy(s, hash->state, sizeof s);
    for (unsigned i = 0; i < 64; i++) {
        uint32_t word;
        if (i < 16) {
            word = get_big(block + 4u * i);
        } else {
            uint32_t a = words[(i + 1) & 15u];
            uint32_t b = words[(i + 14) & 15u];
            word = words[i & 15u] + words[(i + 9) & 15u] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) +
                   (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
        }
        words[i & 15u] = word;
        uint32_t one = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) +
                       ((s[4] & s[5]) ^ (~s[4] & s[6])) + constants[i] + word;
        uint32_t two = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) +
                       ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        for (unsigned j = 7; j > 0; j--) s[j] = s[j - 1];
        s[4] += one;
        s[0] = one + two;
    }
    for (unsigned i = 0; i < 8; i++) hash->state[i] += s[i];
}

void sha256_start(struct sha256 *hash) {
    static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(hash->state, first, sizeof first);
    hash->bytes = 0;
}

void sha256_add(struct sha256 *hash, const uint8_t *data, uint32_t bytes) {
    while (bytes > 0) {
        uint32_t held = hash->bytes % SHA256_BLOCK;
        uint32_t taken = SHA256_BLOCK - held;
        if (taken > bytes) taken = bytes;
        memcpy(hash->block + held, data, taken);
        hash->bytes += taken;
        data += taken;
        bytes -= taken;
        if (held + taken == SHA256_BLOCK) compress(hash, hash->block);
    }
}

void sha256_end(struct sha256 *hash, uint8_t digest[SHA256_BYTES]) {
    uint32_t bytes = hash->bytes;
    uint32_t held = bytes % SHA256_BLOCK;
    hash->block[held++] = 0x80;
    memset(hash->block + held, 0, SHA256_BLOCK - held);
    if (held > SHA256_BLOCK - 8) {
        compress(hash, hash->block);
        memset(hash->block, 0, SHA256_BLOCK);
    }
    put_big(hash->block + 56, bytes >> 29);
    put_big(hash->block + 60, bytes << 3);
    compress(hash, hash->block);
    for (unsigned i = 0; i < 8; i++) put_big(digest + 4u * i, hash->state[i]);
}
