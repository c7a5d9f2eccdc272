/* Links between boards: tensors in PARTs, each acknowledged in order and sent again when lost; CREDIT says how far
 * the consumers are (PROTOCOL.md, section 11). */
#ifndef LINK_H
#define LINK_H

#include "frame.h"
#include "port.h"

/* A signal has no data in the model: it is made at the end of each inference, or awaited before each. */
enum { ROUTE_MADE_HERE = 0xFF, ROUTE_RELAY = 0, ROUTE_INPUT = 1, ROUTE_OUTPUT = 2, ROUTE_SIGNAL = 3 };

/* In `use`: the first `depth` frames come by the port, and then again and again without it. */
enum { ROUTE_REPEATS = 0x80 };

struct route {
    uint16_t tensor;
    uint16_t index;
    uint32_t size;
    uint8_t depth;
    uint8_t from_port;
    uint8_t to_ports;
    uint8_t use;
};

/* In the order of BOARD_STATISTICS, which ends with `received`. */
struct link_counters {
    uint64_t send_ticks;
    uint32_t sent;
    uint32_t again;
    uint32_t received;
};

enum { LINK_COUNTERS_SENT = 20 };

extern struct link_counters link_counters;

/* Forget all links and routes. */
void link_reset(void);
enum code link_setup(uint8_t port, uint32_t baud, uint16_t part_bytes, uint8_t window);

/* Buffers of depth x size come from `ram`, 16-aligned; `claimed` grows by what was taken. */
enum code link_route(const struct route *route, uint8_t *ram, uint32_t ram_bytes, uint32_t *claimed);

/* Begin at frame 0 on all links. */
void link_start(void);

/* Of a streaming run: whether frame number `done` can begin, and if so bring its inputs into the arena. */
bool link_take_inputs(void);
void link_give_outputs(void);

/* PART, PART_ACK and CREDIT. */
void link_frame(uint8_t port, const struct frame *frame);

/* Send what may be sent; true when something was. */
bool link_poll(void);

#endif
