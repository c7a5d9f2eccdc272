/* A process of a POSIX system as a board: UARTs on sockets or terminals, slot memory in a file. */
#ifndef BOARD_H
#define BOARD_H

#define BOARD_NAME "posix"
#define BOARD_CORE "host"
#define BOARD_CAPABILITIES (CAPABILITY_WATCHDOG | CAPABILITY_EMULATED | CAPABILITY_SLOT_KEPT)

#define BOARD_TICK_HZ 1000000000u
#define BOARD_CORE_HZ 1000000000u
#define BOARD_WATCHDOG_MS 2000u

#define BOARD_PORTS 3
#define BOARD_BAUD 115200u
#define BOARD_BAUD_LEAST 9600u
#define BOARD_BAUD_MOST 3000000u
#define BOARD_MAX_PAYLOAD 1024
#define BOARD_RING_BYTES 4096u

#define BOARD_HEADER_SECTOR_BYTES 4096
#define BOARD_SECTOR_BYTES 4096
#ifndef BOARD_SLOT_BYTES
#define BOARD_SLOT_BYTES (256 * 4096)
#endif
#define BOARD_WRITE_UNIT 8
#define BOARD_ERASE_MS 0

/* The process has no limits of its own: these play them. */
#ifndef LIMIT_RAM_BYTES
#define LIMIT_RAM_BYTES (544 * 1024)
#endif
#ifndef LIMIT_FLASH_BYTES
#define LIMIT_FLASH_BYTES (1024 * 1024)
#endif
#define BOARD_STACK_BYTES (8 * 1024)

#endif
