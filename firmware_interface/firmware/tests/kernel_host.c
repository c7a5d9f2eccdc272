/* Kernels as a filter, for tests: each job on stdin is u32 bytes of record, weights, arena, scratch, then record,
 * weights and arena; each answer is u8 whether the record was taken, then the arena. Every part is memory of its own and
 * of that size, so that the address sanitizer sees a step outside. */
#include <stdio.h>
#include <stdlib.h>

#include "bytes.h"
#include "kernel.h"

static uint8_t *part(uint32_t bytes, bool filled) {
    uint8_t *memory = malloc(bytes != 0 ? bytes : 1);
    if (memory == NULL || (filled && fread(memory, 1, bytes, stdin) != bytes)) exit(2);
    return memory;
}

int main(void) {
    uint8_t sizes[16];
    while (fread(sizes, 1, sizeof sizes, stdin) == sizeof sizes) {
        uint32_t record_bytes = get_u32(sizes);
        uint8_t *record = part(record_bytes, true);
        uint8_t *weights = part(get_u32(sizes + 4), true);
        struct kernel_memory memory = {
            .weights = weights,
            .weight_bytes = get_u32(sizes + 4),
            .arena = part(get_u32(sizes + 8), true),
            .arena_bytes = get_u32(sizes + 8),
            .scratch = part(get_u32(sizes + 12), false),
            .scratch_bytes = get_u32(sizes + 12),
        };
        uint16_t number = get_u16(record);
        bool taken = number < kernel_count && kernel_table[number] != 0 &&
                     kernel_table[number]->check(&memory, record, record_bytes);
        if (taken) kernel_table[number]->run(&memory, record);
        fputc(taken, stdout);
        fwrite(memory.arena, 1, memory.arena_bytes, stdout);
        fflush(stdout);
        free(record);
        free(weights);
        free(memory.arena);
        free(memory.scratch);
    }
    return 0;
}
