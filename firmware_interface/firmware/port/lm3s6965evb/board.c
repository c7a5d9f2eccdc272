#include "cortexm.h"
#include "uart.h"

#include "../nor_ram.h"

#include "emulated.h"

enum {
    RUN_CLOCK = 0x400FE060,
    CLOCK_GATES_0 = 0x400FE100, /* bit 3: watchdog */
    CLOCK_GATES_1 = 0x400FE104, /* bits 0 to 2: UARTs */
    WATCHDOG = 0x40000000,
    WATCHDOG_INTERRUPT = 18,
    UART_DATA = 0x00,
    UART_FLAGS = 0x18, /* bit 3: busy, 4: receiver empty, 5: transmitter full */
    UART_DIVIDER = 0x24,
    UART_FRACTION = 0x28,
    UART_LINE = 0x2C,
    UART_CONTROL = 0x30,
    UART_MASK = 0x38,
    UART_CLEAR = 0x44,
    UART_EVENTS = 0x50, /* byte received, receiver waits */
};

static const uint32_t uarts[BOARD_PORTS] = {0x4000C000, 0x4000D000, 0x4000E000};

static void take(uint8_t port) {
    uint32_t uart = uarts[port];
    REGISTER(uart + UART_CLEAR) = UART_EVENTS;
    while ((REGISTER(uart + UART_FLAGS) & 0x10u) == 0) {
        uint32_t data = REGISTER(uart + UART_DATA);
        if ((data & 0x800u) != 0) uart_counters.lost++;
        uart_received(port, (uint8_t)data);
    }
}

static void take_0(void) { take(0); }

static void take_1(void) { take(1); }

static void take_2(void) { take(2); }

const struct interrupt board_interrupts[] = {
    {5, take_0}, {6, take_1}, {33, take_2}, {WATCHDOG_INTERRUPT, cortexm_watchdog_handler},
};
const uint8_t board_interrupt_count = sizeof board_interrupts / sizeof board_interrupts[0];

void port_start(void) {
    /* Written as it stands: QEMU tells the watchdog its clock only then. */
    REGISTER(RUN_CLOCK) = REGISTER(RUN_CLOCK);
    REGISTER(CLOCK_GATES_0) |= 1u << 3;
    REGISTER(CLOCK_GATES_1) |= 7u;
    cortexm_clock_start();
    for (unsigned i = 0; i < board_interrupt_count; i++) cortexm_interrupt_on(board_interrupts[i].number);
}

bool port_uart_open(uint8_t port, uint32_t baud) {
    uint32_t uart = uarts[port];
    uint32_t divider = (BOARD_CORE_HZ * 4u + baud / 2u) / baud; /* in 64ths of 16 clocks */
    if (divider < 64) return false;
    REGISTER(uart + UART_CONTROL) = 0;
    REGISTER(uart + UART_DIVIDER) = divider / 64u;
    REGISTER(uart + UART_FRACTION) = divider % 64u;
    REGISTER(uart + UART_LINE) = 0x70; /* eight bits, FIFOs */
    REGISTER(uart + UART_MASK) = UART_EVENTS;
    REGISTER(uart + UART_CONTROL) = 0x301;
    (void)REGISTER(uart + UART_DATA); /* an emulator looks for bytes that wait when one was read */
    uart_empty(port);
    return true;
}

bool port_uart_can_send(uint8_t port) { return (REGISTER(uarts[port] + UART_FLAGS) & 0x20u) == 0; }

void port_uart_put(uint8_t port, uint8_t byte) { REGISTER(uarts[port] + UART_DATA) = byte; }

bool port_uart_drained(uint8_t port) { return (REGISTER(uarts[port] + UART_FLAGS) & 8u) == 0; }

/* Its first time-out asks for an interrupt, its second, if that was not served, resets the board. */
void port_watchdog_start(void) {
    REGISTER(WATCHDOG + 0x000) = BOARD_CORE_HZ / 1000u * BOARD_WATCHDOG_MS;
    REGISTER(WATCHDOG + 0x008) = 3;
}

void port_watchdog_feed(void) {
    REGISTER(WATCHDOG + 0x00C) = 1;
    cortexm_watchdog_warned = 0;
}

uint8_t port_reset_cause(void) { return 0; }

void port_trigger(bool on) { (void)on; }
