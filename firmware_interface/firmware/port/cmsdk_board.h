/* What the MPS2 and MPS3 boards have in common: lines, watchdog, and the slot that RAM plays. */
#ifndef CMSDK_BOARD_H
#define CMSDK_BOARD_H

#define BOARD_CAPABILITIES (CAPABILITY_WATCHDOG | CAPABILITY_EMULATED)
#define BOARD_WATCHDOG_MS 2000u

#define BOARD_PORTS 3
#define BOARD_BAUD 115200u
#define BOARD_BAUD_LEAST 9600u
#define BOARD_MAX_PAYLOAD 1024
#define BOARD_RING_BYTES 4096u

#define BOARD_HEADER_SECTOR_BYTES 4096
#define BOARD_SECTOR_BYTES 4096
#ifndef BOARD_SLOT_BYTES
#define BOARD_SLOT_BYTES (256 * 4096)
#endif
#define BOARD_WRITE_UNIT 8
#define BOARD_ERASE_MS 2

/* In place of the instruction that sleeps, with interrupts masked. */
void cmsdk_sleep(void);
#define BOARD_SLEEP() cmsdk_sleep()

#endif
