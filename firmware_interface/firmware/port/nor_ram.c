/* Behaves as NOR flash does: a sector is erased to FF as a whole, programming only clears bits, and a unit is
 * programmed whole, aligned and once. Whatever a real part would refuse or spoil is refused. */
#include <string.h>

#include "port.h"

#include "nor_ram.h"

static bool part_of(const uint8_t *area, uint32_t area_bytes, const uint8_t *at, uint32_t bytes) {
    uintptr_t first = (uintptr_t)area;
    uintptr_t place = (uintptr_t)at;
    return place >= first && place - first <= area_bytes && bytes <= area_bytes - (place - first);
}

static uint8_t *writable(struct nor_ram *nor, const uint8_t *at) {
    uint8_t *first = (uint8_t *)nor;
    return first + (at - first);
}

bool nor_ram_erase(struct nor_ram *nor, const uint8_t *sector) {
    uint32_t bytes = BOARD_SECTOR_BYTES;
    if (sector == nor->header) {
        bytes = BOARD_HEADER_SECTOR_BYTES;
    } else if (!part_of(nor->data, BOARD_SLOT_BYTES, sector, bytes) ||
               (uint32_t)(sector - nor->data) % BOARD_SECTOR_BYTES != 0) {
        return false;
    }
    memset(writable(nor, sector), 0xFF, bytes / 2);
    nor_ram_operation();
    memset(writable(nor, sector), 0xFF, bytes);
    uint64_t end = port_ticks() + (uint64_t)BOARD_TICK_HZ * BOARD_ERASE_MS / 1000u;
    while (port_ticks() < end) {
    }
    return true;
}

bool nor_ram_program(struct nor_ram *nor, const uint8_t *at, const uint8_t *data, uint32_t bytes) {
    bool inside = part_of(nor->header, sizeof nor->header, at, bytes) || part_of(nor->data, sizeof nor->data, at, bytes);
    if (!inside || bytes % BOARD_WRITE_UNIT != 0 || (uintptr_t)at % BOARD_WRITE_UNIT != 0) return false;
    for (uint32_t i = 0; i < bytes; i++) {
        if (at[i] != 0xFF) return false;
    }
    uint8_t *to = writable(nor, at);
    for (uint32_t unit = 0; unit < bytes; unit += BOARD_WRITE_UNIT) {
        for (uint32_t i = 0; i < BOARD_WRITE_UNIT / 2; i++) to[unit + i] &= data[unit + i];
        nor_ram_operation();
        for (uint32_t i = 0; i < BOARD_WRITE_UNIT; i++) to[unit + i] &= data[unit + i];
    }
    return true;
}
