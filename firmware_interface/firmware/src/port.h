/* What a port gives the firmware. docs/porting.md tells how to write one: a header `board.h` with the BOARD_ figures
 * and a file with these functions. */
#ifndef PORT_H
#define PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "board.h"
#include "catalogue.h"

/* Kept over every reset but a loss of power; the port places it where the start-up code leaves it alone. */
struct retained {
    uint32_t check; /* says whether the rest means anything */
    uint32_t boots;
    uint64_t lease;
    uint8_t intent; /* enum reset_cause that a reset on purpose leaves behind */
    uint8_t fault_kind;
    uint8_t fault_phase;
    uint8_t phase; /* enum phase, now */
    uint16_t fault_operator;
    uint16_t operator_now;
    uint32_t fault_boot;
    uint32_t fault_pc;
    uint32_t fault_lr;
    uint32_t fault_status;
    uint32_t fault_address;
};

struct port_memory {
    uint32_t ram_limit;
    uint32_t data;
    uint32_t bss; /* rings included */
    uint32_t stack;
    uint32_t stack_used;
    uint32_t flash_limit;
    uint32_t flash_used;
    uint8_t *arena; /* 16-aligned: all RAM that nothing else claims */
    uint32_t arena_bytes;
};

/* Of functions that must not become part of their callers, so that sizes by file stay true. */
#define PORT_APART __attribute__((noinline))

/* Clock, timer, pins. Interrupts may be on afterwards. */
PORT_APART void port_start(void);

/* Since the start, BOARD_TICK_HZ a second. Never goes back. */
uint64_t port_ticks(void);

/* Sets the rate of a UART and empties it; false when it cannot do that rate. Received bytes go to uart_received(). */
PORT_APART bool port_uart_open(uint8_t port, uint32_t baud);
bool port_uart_can_send(uint8_t port);
PORT_APART void port_uart_put(uint8_t port, uint8_t byte);

/* True when the last byte has left, so that the rate may change. */
bool port_uart_drained(uint8_t port);

/* Bring received bytes in, on ports without interrupts; else empty. */
void port_poll(void);

/* Sleep until an interrupt unless bytes wait (uart_waiting()); returns after some milliseconds at the latest. */
PORT_APART void port_idle(void);

void port_watchdog_start(void);
void port_watchdog_feed(void);

_Noreturn void port_reset(void);

/* Never comes back to the main loop: the watchdog's test. */
_Noreturn void port_hang(void);

/* An access that the processor refuses: the fault report's test. */
void port_crash(void);

/* What the hardware says of the last reset; 0 where it cannot tell. */
uint8_t port_reset_cause(void);

struct retained *port_retained(void);
PORT_APART void port_memory(struct port_memory *memory);

/* The chip's own number in hexadecimal, at most 32 digits. */
const char *port_uid(void);

/* High while the model runs, for a power meter; may be empty. */
void port_trigger(bool on);

/* Slot memory behaves like NOR flash: erased to FF sector by sector, programmed in whole write units, each unit once.
 * The header has a sector of its own. Both are read through these pointers. */
const uint8_t *port_slot_header(void);
const uint8_t *port_slot_data(void);
PORT_APART bool port_slot_erase(const uint8_t *sector);
PORT_APART bool port_slot_program(const uint8_t *at, const uint8_t *data, uint32_t bytes);

#endif
