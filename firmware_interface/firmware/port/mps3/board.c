#include "cortexm.h"
#include "uart.h"

#include "../cmsdk.h"
#include "../nor_ram.h"

#include "emulated.h"

/* Secure addresses: the core starts there, and nothing leaves. The watchdog runs from the slow clock. */
enum { WATCHDOG = 0x5802E000, WATCHDOG_HZ = 32768, NMI = 0xFFF2 };

static const uint32_t cmsdk_uarts[BOARD_PORTS] = {0x59303000, 0x59304000, 0x59305000};

const struct interrupt board_interrupts[] = {
    {33, cmsdk_take_0}, {35, cmsdk_take_1}, {37, cmsdk_take_2}, {NMI, cortexm_watchdog_handler},
};
const uint8_t board_interrupt_count = sizeof board_interrupts / sizeof board_interrupts[0];

void port_start(void) {
    cortexm_clock_start();
    for (uint16_t number = 33; number <= 37; number = (uint16_t)(number + 2)) cortexm_interrupt_on(number);
}

void port_watchdog_start(void) { cmsdk_watchdog_start(WATCHDOG, WATCHDOG_HZ); }

void port_watchdog_feed(void) { cmsdk_watchdog_feed(WATCHDOG); }

uint8_t port_reset_cause(void) { return 0; }

void port_trigger(bool on) { (void)on; }
