#include "line.h"
#include "link.h"
#include "protocol.h"
#include "retained.h"
#include "run.h"
#include "slot.h"

/* Entered by the port's start-up code with .data and .bss in order. */
int main(void) {
    uint8_t cause = retained_open();
    port_start();
    line_open();
    slot_open();
    protocol_open(cause);
    port_watchdog_start();
    line_log(20, cause == CAUSE_FAULT || cause == CAUSE_WATCHDOG ? "started after a fault" : "started");
    for (;;) {
        port_watchdog_feed();
        bool worked = line_poll();
        worked |= protocol_poll();
        /* What can be sent goes first: neighbours wait for it, and plans count on it. */
        worked = link_poll() || run_poll() || worked;
        if (!worked) {
            retained_phase(PHASE_IDLE);
            port_idle();
        }
    }
}
