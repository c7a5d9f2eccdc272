/* Rings that interrupts fill, and sending that gives up instead of hanging. */
#ifndef UART_H
#define UART_H

#include "port.h"

#define RING_MASK (BOARD_RING_BYTES - 1u)
_Static_assert((BOARD_RING_BYTES & RING_MASK) == 0, "BOARD_RING_BYTES must be a power of two");

struct uart_ring {
    volatile uint32_t head; /* written by the interrupt alone */
    volatile uint32_t tail; /* written by the main loop alone */
    uint8_t bytes[BOARD_RING_BYTES];
};

/* In the order of BOARD_STATISTICS. */
struct uart_counters {
    volatile uint32_t lost;
    uint32_t given_up;
    uint64_t received;
    uint64_t sent;
};

extern struct uart_ring uart_rings[BOARD_PORTS];
extern struct uart_counters uart_counters;

/* From the interrupt of a port. Inline, so that ports may run it from RAM while flash is busy. */
static inline void uart_received(uint8_t port, uint8_t byte) {
    struct uart_ring *ring = &uart_rings[port];
    uint32_t head = ring->head;
    if (head - ring->tail == BOARD_RING_BYTES) {
        uart_counters.lost++;
    } else {
        ring->bytes[head & RING_MASK] = byte;
        ring->head = head + 1u;
    }
}

bool uart_take(uint8_t port, uint8_t *byte);
bool uart_waiting(void);
void uart_empty(uint8_t port);

/* Encode and send a finished frame. False when the line took no byte for a second. */
bool uart_send_frame(uint8_t port, const uint8_t *plain, uint32_t bytes);

/* Send bytes as they are. False as above. */
bool uart_send(uint8_t port, const uint8_t *data, uint32_t bytes);

#endif
