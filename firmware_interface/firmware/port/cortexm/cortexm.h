/* What all Cortex-M ports share: vectors, start-up, fault report, SysTick as a clock of 64 bits. */
#ifndef CORTEXM_H
#define CORTEXM_H

#include <stdint.h>

#include "port.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

#ifndef BOARD_SLEEP
#define BOARD_SLEEP() __asm volatile("wfi")
#endif

/* For code and tables that must run while flash is busy. */
#define FAST_CODE __attribute__((section(".fast.code"), noinline, long_call))
#define FAST_DATA __attribute__((section(".fast.data")))
#define RETAINED __attribute__((section(".retained")))
#define SLOT_MEMORY __attribute__((section(".slot"), aligned(64)))

typedef void handler(void);

/* Interrupts of the port; the table ends before BOARD_INTERRUPTS. */
struct interrupt {
    uint16_t number;
    handler *handle;
};
extern const struct interrupt board_interrupts[];
extern const uint8_t board_interrupt_count;

/* From an NMI or interrupt of the watchdog, as `handle`. The first time-out since the last feed is a warning: an emulator
 * that was kept from running jumps in time. The second keeps the report of where the core was and restarts. */
handler cortexm_watchdog_handler;
extern volatile uint8_t cortexm_watchdog_warned; /* cleared by port_watchdog_feed() */

/* Start SysTick as port_ticks(), from the processor's clock. */
void cortexm_clock_start(void);
void cortexm_interrupt_on(uint16_t number);

#endif
