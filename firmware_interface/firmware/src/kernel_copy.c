#include <string.h>

#include "bytes.h"
#include "image.h"
#include "kernel.h"

enum { FROM = IMAGE_RECORD_BYTES, TO = FROM + 4, BYTES = TO + 4, RECORD = BYTES + 4 };

static bool inside(uint32_t at, uint32_t bytes, uint32_t limit) { return at <= limit && bytes <= limit - at; }

static bool check(const struct kernel_memory *memory, const uint8_t *record, uint32_t bytes) {
    if (bytes != RECORD) return false;
    uint32_t size = get_u32(record + BYTES);
    return inside(get_u32(record + FROM), size, memory->arena_bytes) &&
           inside(get_u32(record + TO), size, memory->arena_bytes);
}

static void run(const struct kernel_memory *memory, const uint8_t *record) {
    memmove(memory->arena + get_u32(record + TO), memory->arena + get_u32(record + FROM), get_u32(record + BYTES));
}

const struct kernel kernel_copy = {.check = check, .run = run};
