#include "runtime.h"

#include <string.h>

#include "bytes.h"
#include "crc32.h"
#include "image.h"
#include "kernel.h"
#include "port.h"

static struct {
    const uint8_t *image;
    const uint8_t *record;
    struct kernel_memory memory;
    struct runtime_facts facts;
    uint64_t *ticks;
    uint16_t next;
} model;

static bool inside(uint32_t at, uint32_t bytes, uint32_t limit) { return at <= limit && bytes <= limit - at; }

/* Bytes 16-aligned, or 0 for what no address space holds. */
static uint32_t align(uint64_t bytes) { return bytes > UINT32_MAX - 15u ? 0u : ((uint32_t)bytes + 15u) & ~15u; }

static enum code check_header(const uint8_t *image, uint32_t bytes) {
    static const uint8_t any[IMAGE_BOARD_BYTES];
    char board[IMAGE_BOARD_BYTES] = BOARD_NAME;
    if (bytes < IMAGE_HEADER_BYTES || get_u32(image) != IMAGE_MAGIC || get_u32(image + IMAGE_AT_BYTES) != bytes ||
        get_u32(image + IMAGE_AT_CRC) != crc32(image, IMAGE_AT_CRC)) {
        return CODE_BAD_IMAGE;
    }
    uint16_t kernels = get_u16(image + IMAGE_AT_KERNELS);
    if (get_u16(image + IMAGE_AT_FORMAT) != IMAGE_FORMAT || (kernels != 0 && kernels != kernel_version) ||
        (get_u32(image + IMAGE_AT_CAPABILITIES) & ~kernel_capabilities) != 0) {
        return CODE_UNSUPPORTED;
    }
    if (memcmp(image + IMAGE_AT_BOARD, any, sizeof any) != 0 &&
        memcmp(image + IMAGE_AT_BOARD, board, sizeof board) != 0) {
        return CODE_WRONG_BOARD;
    }
    return CODE_NONE;
}

static void read_facts(const uint8_t *image, struct runtime_facts *facts) {
    facts->inputs = get_u16(image + IMAGE_AT_INPUTS);
    facts->outputs = get_u16(image + IMAGE_AT_OUTPUTS);
    facts->operators = get_u16(image + IMAGE_AT_OPERATOR_COUNT);
    facts->arena = get_u32(image + IMAGE_AT_ARENA);
    facts->scratch = get_u32(image + IMAGE_AT_SCRATCH);
    facts->weights = get_u32(image + IMAGE_AT_WEIGHT_BYTES);
    bool in_arena = (get_u16(image + IMAGE_AT_FLAGS) & IMAGE_SCRATCH_IN_ARENA) != 0;
    facts->scratch_at = in_arena ? 0u : align(facts->arena);
    uint64_t end = (uint64_t)align(facts->arena) + (in_arena ? 0u : align(facts->scratch));
    facts->times_at = (uint32_t)end;
    facts->claimed = align(end + 8u * (uint64_t)facts->operators);
}

static enum code check_tables(const uint8_t *image, uint32_t bytes, const struct kernel_memory *memory,
                              const struct runtime_facts *facts) {
    uint32_t tensors = get_u32(image + IMAGE_AT_TENSORS);
    uint32_t count = (uint32_t)facts->inputs + facts->outputs;
    uint32_t weights = get_u32(image + IMAGE_AT_WEIGHTS);
    uint32_t at = get_u32(image + IMAGE_AT_OPERATORS);
    if (!inside(tensors, count * IMAGE_TENSOR_BYTES, bytes) || (tensors | at) % 4u != 0 || weights % 16u != 0 ||
        !inside(weights, facts->weights, bytes)) {
        return CODE_BAD_IMAGE;
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *entry = image + tensors + i * IMAGE_TENSOR_BYTES;
        if (!inside(get_u32(entry), get_u32(entry + 4), facts->arena)) return CODE_BAD_IMAGE;
    }
    for (uint32_t i = 0; i < facts->operators; i++) {
        if (!inside(at, IMAGE_RECORD_BYTES, bytes)) return CODE_BAD_IMAGE;
        uint16_t kernel = get_u16(image + at);
        uint16_t size = get_u16(image + at + 2);
        if (size < IMAGE_RECORD_BYTES || size % 4u != 0 || !inside(at, size, bytes)) return CODE_BAD_IMAGE;
        if (kernel >= kernel_count || kernel_table[kernel] == 0) return CODE_UNSUPPORTED;
        if (!kernel_table[kernel]->check(memory, image + at, size)) return CODE_BAD_IMAGE;
        at += size;
    }
    return CODE_NONE;
}

static enum code check_image(const uint8_t *image, uint32_t image_bytes, uint8_t *ram, uint32_t ram_bytes,
                             struct kernel_memory *memory, struct runtime_facts *facts) {
    enum code code = check_header(image, image_bytes);
    if (code != CODE_NONE) return code;
    read_facts(image, facts);
    uint16_t flags = get_u16(image + IMAGE_AT_FLAGS);
    bool in_arena = (flags & IMAGE_SCRATCH_IN_ARENA) != 0;
    if ((flags & ~(unsigned)IMAGE_SCRATCH_IN_ARENA) != 0 || (in_arena && facts->scratch > facts->arena)) {
        return CODE_BAD_IMAGE;
    }
    uint64_t wanted = (uint64_t)facts->arena + (in_arena ? 0u : facts->scratch) + 8u * (uint64_t)facts->operators;
    if (wanted > ram_bytes || facts->claimed > ram_bytes) return CODE_DOES_NOT_FIT;
    memory->weights = image + get_u32(image + IMAGE_AT_WEIGHTS);
    memory->weight_bytes = facts->weights;
    memory->arena = ram;
    memory->arena_bytes = facts->arena;
    memory->scratch = ram + facts->scratch_at;
    memory->scratch_bytes = facts->scratch;
    return check_tables(image, image_bytes, memory, facts);
}

enum code runtime_check(const uint8_t *image, uint32_t image_bytes, uint32_t ram_bytes) {
    struct port_memory ports;
    struct kernel_memory memory;
    struct runtime_facts facts;
    port_memory(&ports);
    return check_image(image, image_bytes, ports.arena, ram_bytes, &memory, &facts);
}

enum code runtime_load(const uint8_t *image, uint32_t image_bytes, uint8_t *ram, uint32_t ram_bytes) {
    runtime_unload();
    enum code code = check_image(image, image_bytes, ram, ram_bytes, &model.memory, &model.facts);
    if (code != CODE_NONE) {
        runtime_unload();
        return code;
    }
    model.image = image;
    runtime_restart();
    model.ticks = (uint64_t *)(void *)(ram + model.facts.times_at);
    memset(model.ticks, 0, sizeof *model.ticks * model.facts.operators);
    return CODE_NONE;
}

void runtime_unload(void) { memset(&model, 0, sizeof model); }

bool runtime_loaded(void) { return model.image != 0; }

const struct runtime_facts *runtime_facts(void) { return &model.facts; }

static struct runtime_tensor tensor(uint32_t index) {
    const uint8_t *entry = model.image + get_u32(model.image + IMAGE_AT_TENSORS) + index * IMAGE_TENSOR_BYTES;
    return (struct runtime_tensor){.data = model.memory.arena + get_u32(entry), .bytes = get_u32(entry + 4)};
}

struct runtime_tensor runtime_input(uint16_t index) {
    if (index >= model.facts.inputs) return (struct runtime_tensor){.data = 0, .bytes = 0};
    return tensor(index);
}

struct runtime_tensor runtime_output(uint16_t index) {
    if (index >= model.facts.outputs) return (struct runtime_tensor){.data = 0, .bytes = 0};
    return tensor((uint32_t)model.facts.inputs + index);
}

bool runtime_step(void) {
    if (model.next < model.facts.operators) {
        uint64_t begin = port_ticks();
        kernel_table[get_u16(model.record)]->run(&model.memory, model.record);
        model.ticks[model.next] += port_ticks() - begin;
        model.record += get_u16(model.record + 2);
        model.next++;
    }
    if (model.next < model.facts.operators) return false;
    runtime_restart();
    return true;
}

void runtime_restart(void) {
    if (model.image == 0) return;
    model.next = 0;
    model.record = model.image + get_u32(model.image + IMAGE_AT_OPERATORS);
}

uint16_t runtime_operator(void) { return model.next; }

uint64_t runtime_ticks(uint16_t operator_index) {
    return operator_index < model.facts.operators ? model.ticks[operator_index] : 0;
}
