/* ST STM32F405 by its registers (RM0090), and QEMU's netduinoplus2, which has the same core, UARTs and timers but
 * neither clock tree nor watchdog nor writable flash. USART1 on PA9 and PA10, USART2 on PA2 and PA3, USART3 on PB10
 * and PB11, trigger on PB0; clock from the internal oscillator, so that no crystal has to be known. */
#ifndef BOARD_H
#define BOARD_H

#define BOARD_TICK_HZ 168000000u
#define BOARD_CORE_HZ 168000000u
#define BOARD_WATCHDOG_MS 4000u
#define BOARD_INTERRUPTS 82
#define BOARD_CORE "cortex-m4"

#define BOARD_PORTS 3
#define BOARD_BAUD 115200u
#define BOARD_BAUD_LEAST 9600u
#define BOARD_BAUD_MOST 2625000u
#define BOARD_MAX_PAYLOAD 1024
#define BOARD_RING_BYTES 4096u

#ifdef BOARD_NETDUINOPLUS2
#define BOARD_NAME "netduinoplus2"
#define BOARD_CAPABILITIES CAPABILITY_EMULATED
#define BOARD_HEADER_SECTOR_BYTES 4096
#define BOARD_SECTOR_BYTES 4096
#ifndef BOARD_SLOT_BYTES
#define BOARD_SLOT_BYTES (14 * 4096)
#endif
#define BOARD_WRITE_UNIT 4
#define BOARD_ERASE_MS 2
#else
#define BOARD_NAME "stm32f405"
#define BOARD_CAPABILITIES (CAPABILITY_WATCHDOG | CAPABILITY_SLOT_KEPT | CAPABILITY_TRIGGER)
#define BOARD_HEADER_SECTOR_BYTES (64 * 1024)
#define BOARD_SECTOR_BYTES (128 * 1024)
#ifndef BOARD_SLOT_BYTES
#define BOARD_SLOT_BYTES (7 * 128 * 1024)
#endif
#define BOARD_WRITE_UNIT 4
#define BOARD_ERASE_MS 2000
#endif

#endif
