#include "eembc_checksum.h"
#include "line.h"
#include "retained.h"

/* The firmware that answers a standard benchmark runner. Entered as main.c's. */
int main(void) {
    (void)retained_open();
    port_start();
    (void)port_uart_open(HOST_PORT, BOARD_BAUD);
    port_watchdog_start();
    eembc_open(&eembc_checksum_model);
    for (;;) {
        port_watchdog_feed();
        if (!eembc_poll()) port_idle();
    }
}
