/* Parts of the firmware against the golden file, random bytes, and a power that goes at every slot operation. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "crc32.h"
#include "fake_port.h"
#include "frame.h"
#include "image.h"
#include "line.h"
#include "sha256.h"
#include "slot.h"

#include "vectors.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define CHECK(condition)                                                        \
    do {                                                                        \
        if (!(condition)) {                                                     \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                            \
        }                                                                       \
    } while (0)

struct bytes {
    uint8_t at[8192];
    uint32_t count;
};

static void collect(void *context, uint8_t byte) {
    struct bytes *bytes = context;
    CHECK(bytes->count < sizeof bytes->at);
    bytes->at[bytes->count++] = byte;
}

static enum frame_result parse(const uint8_t *data, unsigned bytes, struct frame *frame) {
    static uint8_t buffer[LINE_FRAME];
    static struct frame_parser parser;
    enum frame_result result = FRAME_NONE;
    frame_parser_start(&parser, buffer, sizeof buffer);
    for (unsigned i = 0; i < bytes && result == FRAME_NONE; i++) result = frame_parser_take(&parser, data[i], frame);
    return result;
}

static void golden_frames_are_taken_and_made(void) {
    for (unsigned i = 0; i < COUNT(golden_frames); i++) {
        static struct bytes made;
        static uint8_t plain[LINE_FRAME];
        const struct golden *golden = &golden_frames[i];
        struct frame frame;
        CHECK(parse((const uint8_t *)golden->frame, golden->bytes, &frame) == FRAME_GOOD);
        memcpy(plain + FRAME_HEADER, frame.payload, frame.bytes);
        made.count = 0;
        frame_encode(plain, frame_finish(plain, frame.type, frame.channel, frame.sequence, frame.bytes), collect, &made);
        CHECK(made.count == golden->bytes && memcmp(made.at, golden->frame, made.count) == 0);
    }
}

/* Types and lengths are the dispatcher's affair; the rest is the parser's. A zero inside is the end of a frame. */
static void golden_refusals_are_refused(void) {
    static const struct {
        const char *field;
        enum frame_result result;
    } expected[] = {
        {"cobs", FRAME_BAD_COBS},       {"size", FRAME_BAD_SIZE},   {"crc", FRAME_BAD_CRC},
        {"version", FRAME_BAD_VERSION}, {"flags", FRAME_BAD_FLAGS},
    };
    for (unsigned i = 0; i < COUNT(golden_refused); i++) {
        const struct refused *refused = &golden_refused[i];
        uint8_t data[64];
        struct frame frame;
        CHECK(refused->bytes + 1 <= sizeof data);
        memcpy(data, refused->frame, refused->bytes);
        data[refused->bytes] = 0;
        for (unsigned j = 0; j < COUNT(expected); j++) {
            if (strcmp(refused->field, expected[j].field) != 0) continue;
            CHECK(parse(data, refused->bytes + 1, &frame) == expected[j].result);
        }
    }
}

static void crcs_are_golden(void) {
    for (unsigned i = 0; i < COUNT(golden_crcs); i++) {
        CHECK(crc32((const uint8_t *)golden_crcs[i].data, golden_crcs[i].bytes) == golden_crcs[i].crc);
    }
}

/* FIPS 180-4's examples, and every length around a block by pieces against the whole. */
static void hashes_are_those_of_the_standard(void) {
    static const uint8_t abc[4] = {0xba, 0x78, 0x16, 0xbf};
    static const uint8_t empty[4] = {0xe3, 0xb0, 0xc4, 0x42};
    uint8_t data[200];
    uint8_t one[SHA256_BYTES];
    uint8_t two[SHA256_BYTES];
    struct sha256 hash;
    sha256_start(&hash);
    sha256_end(&hash, one);
    CHECK(memcmp(one, empty, sizeof empty) == 0);
    sha256_start(&hash);
    sha256_add(&hash, (const uint8_t *)"abc", 3);
    sha256_end(&hash, one);
    CHECK(memcmp(one, abc, sizeof abc) == 0);
    for (unsigned i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 7);
    for (unsigned bytes = 0; bytes <= sizeof data; bytes++) {
        sha256_start(&hash);
        sha256_add(&hash, data, bytes);
        sha256_end(&hash, one);
        sha256_start(&hash);
        for (unsigned i = 0; i < bytes; i++) sha256_add(&hash, data + i, 1);
        sha256_end(&hash, two);
        CHECK(memcmp(one, two, sizeof one) == 0);
    }
}

static uint32_t random_state = 1;

static uint32_t next_random(void) {
    random_state = random_state * 1664525u + 1013904223u;
    return random_state >> 8;
}

static void random_bytes_never_make_a_frame(void) {
    static uint8_t buffer[64];
    struct frame_parser parser;
    struct frame frame;
    frame_parser_start(&parser, buffer, sizeof buffer);
    for (unsigned long i = 0; i < 2000000; i++) {
        uint8_t byte = (uint8_t)(next_random() % 40 == 0 ? 0 : next_random());
        CHECK(frame_parser_take(&parser, byte, &frame) != FRAME_GOOD);
        CHECK(parser.length <= sizeof buffer);
    }
}

static uint32_t make_image(uint8_t *image, uint32_t weights) {
    uint32_t bytes = 80 + weights;
    memset(image, 0, bytes);
    put_u16(put_u32(image, IMAGE_MAGIC), IMAGE_FORMAT);
    put_u32(image + IMAGE_AT_BYTES, bytes);
    put_u32(image + IMAGE_AT_OPERATORS, IMAGE_HEADER_BYTES);
    put_u32(image + IMAGE_AT_TENSORS, IMAGE_HEADER_BYTES);
    put_u32(put_u32(image + IMAGE_AT_WEIGHTS, 80), weights);
    put_u32(image + IMAGE_AT_CRC, crc32(image, IMAGE_AT_CRC));
    for (uint32_t i = 80; i < bytes; i++) image[i] = (uint8_t)next_random();
    return bytes;
}

static void write_all(const uint8_t *image, uint32_t bytes, const uint8_t *hash) {
    enum { CHUNK = 1016 };
    CHECK(slot_begin(bytes, hash) == CODE_NONE);
    while (slot_state()->next < bytes) {
        uint32_t at = slot_state()->next;
        uint32_t left = bytes - at;
        CHECK(slot_data(at, image + at, left < CHUNK ? left : CHUNK) == CODE_NONE);
        CHECK(slot_state()->next > at);
    }
    CHECK(slot_commit(65536) == CODE_NONE);
    CHECK(slot_state()->phase == SLOT_VALID);
}

static bool holds(const uint8_t *image, uint32_t bytes) {
    return slot_state()->phase == SLOT_VALID && slot_state()->size == bytes &&
           memcmp(port_slot_data(), image, bytes) == 0;
}

/* An old image is in the slot; the power goes at operation n of writing the new one, for every n. */
static void a_power_cut_at_every_operation_leaves_a_slot_that_can_be_written(void) {
    static uint8_t old[9000];
    static uint8_t new[9000];
    static struct nor_ram before;
    struct sha256 hash;
    uint8_t old_hash[SHA256_BYTES];
    uint8_t new_hash[SHA256_BYTES];
    uint32_t old_bytes = make_image(old, 5000);
    uint32_t new_bytes = make_image(new, 8603); /* three sectors, the last unit not whole */
    sha256_start(&hash);
    sha256_add(&hash, old, old_bytes);
    sha256_end(&hash, old_hash);
    sha256_start(&hash);
    sha256_add(&hash, new, new_bytes);
    sha256_end(&hash, new_hash);
    fake_reset();
    slot_open();
    write_all(old, old_bytes, old_hash);
    before = fake_nor;
    static volatile unsigned long cut;
    static volatile unsigned long resumed;
    for (cut = 1;; cut++) {
        fake_nor = before;
        fake_reset();
        slot_open();
        CHECK(holds(old, old_bytes));
        fake_cut_at = cut;
        if (setjmp(fake_power) == 0) {
            write_all(new, new_bytes, new_hash);
            break; /* nothing left to cut */
        }
        fake_reset();
        slot_open();
        CHECK(slot_state()->phase != SLOT_VALID || holds(old, old_bytes) || holds(new, new_bytes));
        CHECK(slot_begin(new_bytes, new_hash) == CODE_NONE);
        if (slot_state()->next > 0) resumed++;
        write_all(new, new_bytes, new_hash);
        CHECK(holds(new, new_bytes));
        slot_open();
        CHECK(holds(new, new_bytes));
    }
    CHECK(cut > new_bytes / BOARD_WRITE_UNIT);
    CHECK(resumed > cut / 3);
    (void)printf("%lu power cuts, %lu resumed\n", cut - 1, resumed);
}

static void wrong_images_are_refused_and_the_slot_is_emptied(void) {
    static uint8_t image[2000];
    struct sha256 hash;
    uint8_t digest[SHA256_BYTES];
    uint32_t bytes = make_image(image, 1000);
    struct {
        unsigned at;
        uint8_t value;
        enum code code;
    } const wrong[] = {
        {IMAGE_AT_FORMAT, 9, CODE_UNSUPPORTED},      {IMAGE_AT_KERNELS, 200, CODE_UNSUPPORTED},
        {IMAGE_AT_CAPABILITIES, 16, CODE_UNSUPPORTED}, {IMAGE_AT_BOARD, 'x', CODE_WRONG_BOARD},
        {IMAGE_AT_ARENA + 3, 1, CODE_DOES_NOT_FIT},  {IMAGE_AT_ARENA + 3, 0xFF, CODE_DOES_NOT_FIT},
        {IMAGE_AT_TENSORS, 77, CODE_BAD_IMAGE},      {IMAGE_AT_OPERATOR_COUNT, 1, CODE_BAD_IMAGE},
        {IMAGE_AT_WEIGHT_BYTES + 2, 9, CODE_BAD_IMAGE}, {IMAGE_AT_INPUTS + 1, 1, CODE_BAD_IMAGE},
        {0, 0, CODE_BAD_IMAGE},                      {IMAGE_AT_BYTES, 1, CODE_BAD_IMAGE},
    };
    fake_reset();
    for (unsigned i = 0; i < COUNT(wrong); i++) {
        static uint8_t copy[2000];
        memcpy(copy, image, bytes);
        copy[wrong[i].at] = wrong[i].value;
        put_u32(copy + IMAGE_AT_CRC, crc32(copy, IMAGE_AT_CRC));
        sha256_start(&hash);
        sha256_add(&hash, copy, bytes);
        sha256_end(&hash, digest);
        CHECK(slot_begin(bytes, digest) == CODE_NONE);
        for (uint32_t at = 0; at < bytes; at = slot_state()->next) {
            CHECK(slot_data(at, copy + at, bytes - at < 400 ? bytes - at : 400) == CODE_NONE);
        }
        CHECK(slot_commit(65536) == wrong[i].code);
        CHECK(slot_state()->phase == SLOT_EMPTY);
    }
    digest[0] ^= 1;
    CHECK(slot_begin(bytes, digest) == CODE_NONE);
    for (uint32_t at = 0; at < bytes; at = slot_state()->next) CHECK(slot_data(at, image + at, bytes - at < 400 ? bytes - at : 400) == CODE_NONE);
    CHECK(slot_commit(65536) == CODE_HASH_MISMATCH);
    CHECK(slot_begin(0, digest) == CODE_OUT_OF_RANGE);
    CHECK(slot_begin(BOARD_SLOT_BYTES + 1, digest) == CODE_OUT_OF_RANGE);
    CHECK(slot_data(0, image, 8) == CODE_WRONG_STATE);
    CHECK(slot_begin(16, digest) == CODE_NONE);
    CHECK(slot_data(8, image, 16) == CODE_OUT_OF_RANGE);
    CHECK(slot_data(0xFFFFFFF8u, image, 16) == CODE_OUT_OF_RANGE);
    CHECK(slot_data(8, image, 8) == CODE_NONE && slot_state()->next == 0);
    CHECK(slot_commit(65536) == CODE_WRONG_STATE);
}

int main(void) {
    golden_frames_are_taken_and_made();
    golden_refusals_are_refused();
    crcs_are_golden();
    hashes_are_those_of_the_standard();
    random_bytes_never_make_a_frame();
    a_power_cut_at_every_operation_leaves_a_slot_that_can_be_written();
    wrong_images_are_refused_and_the_slot_is_emptied();
    (void)printf("all passed\n");
    return 0;
}
