#include "uart.h"

#include "frame.h"

struct uart_ring uart_rings[BOARD_PORTS];
struct uart_counters uart_counters;

bool uart_take(uint8_t port, uint8_t *byte) {
    struct uart_ring *ring = &uart_rings[port];
    uint32_t tail = ring->tail;
    if (ring->head == tail) return false;
    *byte = ring->bytes[tail & RING_MASK];
    ring->tail = tail + 1u;
    uart_counters.received++;
    return true;
}

bool uart_waiting(void) {
    for (unsigned port = 0; port < BOARD_PORTS; port++) {
        if (uart_rings[port].head != uart_rings[port].tail) return true;
    }
    return false;
}

void uart_empty(uint8_t port) { uart_rings[port].tail = uart_rings[port].head; }

struct sending {
    uint8_t port;
    bool stuck;
};

static void put(void *context, uint8_t byte) {
    struct sending *sending = context;
    if (sending->stuck) return;
    if (!port_uart_can_send(sending->port)) {
        uint64_t end = port_ticks() + BOARD_TICK_HZ;
        while (!port_uart_can_send(sending->port)) {
            port_watchdog_feed();
            if (port_ticks() > end) {
                sending->stuck = true;
                uart_counters.given_up++;
                return;
            }
        }
    }
    port_uart_put(sending->port, byte);
    uart_counters.sent++;
}

bool uart_send_frame(uint8_t port, const uint8_t *plain, uint32_t bytes) {
    struct sending sending = {.port = port, .stuck = false};
    frame_encode(plain, bytes, put, &sending);
    return !sending.stuck;
}

bool uart_send(uint8_t port, const uint8_t *data, uint32_t bytes) {
    struct sending sending = {.port = port, .stuck = false};
    for (uint32_t i = 0; i < bytes; i++) put(&sending, data[i]);
    return !sending.stuck;
}
