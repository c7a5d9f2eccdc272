/* NOR flash played by RAM, for emulated boards: see nor_ram.c. */
#ifndef NOR_RAM_H
#define NOR_RAM_H

#include <stdbool.h>
#include <stdint.h>

struct nor_ram {
    uint8_t header[BOARD_HEADER_SECTOR_BYTES];
    uint8_t data[BOARD_SLOT_BYTES];
};

bool nor_ram_erase(struct nor_ram *nor, const uint8_t *sector);
bool nor_ram_program(struct nor_ram *nor, const uint8_t *at, const uint8_t *data, uint32_t bytes);

/* Called before each erase of a sector and each programmed unit; a port may lose power here. `left` is how many bytes
 * of the operation have their new value by then: half of them. */
void nor_ram_operation(void);

#endif
