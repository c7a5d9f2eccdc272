#include "eembc_checksum.h"
#include "eembc_image.h"
#include "line.h"
#include "retained.h"
#include "uart.h"

/* The firmware that answers a standard benchmark runner. Entered as main.c's. */
int main(void) {
    (void)retained_open();
    port_start();
    (void)port_uart_open(HOST_PORT, BOARD_BAUD);
    port_watchdog_start();
#ifdef EEMBC_NETWORK
    if (!eembc_image_open()) {
        static const char text[] = "e-[The network does not fit this board]\r\n";
        (void)uart_send(HOST_PORT, (const uint8_t *)text, sizeof text - 1);
        (void)port_uart_drained(HOST_PORT);
        for (;;) port_watchdog_feed(); /* never ready: a runner must not measure anything else */
    }
    eembc_open(&eembc_image_model);
#else
    eembc_open(&eembc_checksum_model);
#endif
    for (;;) {
        port_watchdog_feed();
        if (!eembc_poll()) port_idle();
    }
}
