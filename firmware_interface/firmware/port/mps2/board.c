#include "cortexm.h"
#include "uart.h"

#include "../cmsdk.h"
#include "../nor_ram.h"

#include "emulated.h"

enum { TIMER = 0x40000000, TIMER_INTERRUPT = 8, WATCHDOG = 0x40008000, NMI = 0xFFF2 };

static const uint32_t cmsdk_uarts[BOARD_PORTS] = {0x40004000, 0x40005000, 0x40006000};

const struct interrupt board_interrupts[] = {
    {0, cmsdk_take_0}, {2, cmsdk_take_1}, {4, cmsdk_take_2}, {TIMER_INTERRUPT, cmsdk_timer_asks}, {NMI, cortexm_watchdog_handler},
};
const uint8_t board_interrupt_count = sizeof board_interrupts / sizeof board_interrupts[0];

void port_start(void) {
    cortexm_clock_start();
    cmsdk_keep_step(TIMER);
    for (uint16_t number = 0; number <= 4; number = (uint16_t)(number + 2)) cortexm_interrupt_on(number);
    cortexm_interrupt_on(TIMER_INTERRUPT);
}

void port_watchdog_start(void) { cmsdk_watchdog_start(WATCHDOG, BOARD_CORE_HZ); }

void port_watchdog_feed(void) { cmsdk_watchdog_feed(WATCHDOG); }

uint8_t port_reset_cause(void) { return 0; }

void port_trigger(bool on) { (void)on; }
