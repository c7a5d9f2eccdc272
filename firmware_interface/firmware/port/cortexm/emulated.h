/* Boards that QEMU plays: the slot is RAM, and the chip's number is put into memory by the emulator at its start:
 *   -device loader,addr=UID_AT,data=NUMBER,data-len=8
 * and behind it, where the emulator keeps the guest's clock to the wall's beside other boards, a 1 */
#ifndef EMULATED_H
#define EMULATED_H

/* Include after cortexm.h and nor_ram.h, in the board's one file. */
static struct nor_ram slot_memory SLOT_MEMORY;
extern const uint8_t memory_uid[9];

const char *port_uid(void) {
    static char text[17];
    for (unsigned i = 0; i < 16; i++) text[i] = "0123456789abcdef"[memory_uid[7 - i / 2] >> (i % 2 != 0 ? 0 : 4) & 15];
    return text;
}

const uint8_t *port_slot_header(void) { return slot_memory.header; }

const uint8_t *port_slot_data(void) { return slot_memory.data; }

bool port_slot_erase(const uint8_t *sector) { return nor_ram_erase(&slot_memory, sector); }

bool port_slot_program(const uint8_t *at, const uint8_t *data, uint32_t bytes) {
    return nor_ram_program(&slot_memory, at, data, bytes);
}

void nor_ram_operation(void) {}

#endif
