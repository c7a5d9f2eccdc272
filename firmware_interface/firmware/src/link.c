#include "link.h"

#include <stddef.h>
#include <string.h>

#include "bytes.h"
#include "line.h"
#include "retained.h"
#include "run.h"
#include "runtime.h"

enum { MAX_ROUTES = 8, MAX_WINDOW = 8, PART_HEAD = 8 };

/* A tensor that lives here. Frames are counted: `arrived` are here, `used_here` the model has taken, credit[p] the
 * boards behind port p have used up. */
struct flow {
    struct route route;
    bool comes; /* by a port */
    bool repeats;
    uint8_t *buffer;
    /* From here on zero at the start of a run. */
    uint32_t arrived;
    uint32_t arrived_bytes; /* of the frame after those */
    uint32_t used_here;
    uint32_t credit[BOARD_PORTS];
    uint32_t credit_told;
    uint32_t queued[BOARD_PORTS]; /* frames put into parts completely */
    uint32_t queued_bytes[BOARD_PORTS];
};

struct part {
    uint8_t flow;
    uint32_t frame;
    uint32_t offset;
    uint16_t bytes;
};

struct link {
    bool open;
    uint8_t window;
    uint16_t part_bytes;
    uint32_t patience; /* in the units of coarse_now() */
    uint32_t first;    /* part that was not acknowledged yet */
    uint32_t next;     /* part to be sent; parts first to queued-1 are in `parts` */
    uint32_t queued;
    uint32_t expected;
    uint32_t went_back; /* to which part, so that one gap goes back once */
    bool probing;       /* nothing came for long: the other side computes, and a window would overrun its ring */
    uint32_t deadline;
    uint32_t credit_at; /* when credits are said again, in case one was lost */
    struct part parts[MAX_WINDOW];
};

struct link_counters link_counters;

static struct flow flows[MAX_ROUTES];
static struct link links[BOARD_PORTS];
static uint8_t flow_count;

void link_reset(void) {
    memset(links, 0, sizeof links);
    flow_count = 0;
}

enum code link_setup(uint8_t port, uint32_t baud, uint16_t part_bytes, uint8_t window) {
    if (port >= BOARD_PORTS || window == 0 || part_bytes == 0) return CODE_OUT_OF_RANGE;
    if (port == HOST_PORT && baud != 0) return CODE_OUT_OF_RANGE;
    if (baud != 0 && !port_uart_open(port, baud)) return CODE_UNSUPPORTED;
    struct link *link = &links[port];
    memset(link, 0, sizeof *link);
    link->window = window < MAX_WINDOW ? window : MAX_WINDOW;
    link->part_bytes = part_bytes < BOARD_MAX_PAYLOAD - PART_HEAD ? part_bytes : BOARD_MAX_PAYLOAD - PART_HEAD;
    /* Twice a full window at ten bits a byte, and what the other side may take to answer. */
    uint32_t bits = 20u * link->window * FRAME_ON_LINE(BOARD_MAX_PAYLOAD);
    link->patience = 200u + bits * 1000u / (baud != 0 ? baud : BOARD_BAUD);
    link->patience *= BOARD_TICK_HZ / 1024000u;
    link->open = true;
    return CODE_NONE;
}

/* Ticks / 1024: 32 bits of them reach far enough to see what is late. */
static uint32_t coarse_now(void) { return (uint32_t)(port_ticks() >> 10); }

static bool past(uint32_t time) { return (int32_t)(coarse_now() - time) > 0; }

static uint32_t slot_bytes(const struct flow *flow) { return (flow->route.size + 15u) & ~15u; }

enum code link_route(const struct route *route, uint8_t *ram, uint32_t ram_bytes, uint32_t *claimed) {
    bool comes = route->from_port != ROUTE_MADE_HERE;
    uint8_t use = route->use & (uint8_t)~ROUTE_REPEATS;
    if (flow_count == MAX_ROUTES) return CODE_DOES_NOT_FIT;
    if (route->depth == 0 || route->size == 0 || use > ROUTE_SIGNAL || route->to_ports >> BOARD_PORTS != 0 ||
        (comes && (route->from_port >= BOARD_PORTS || !links[route->from_port].open)) ||
        (use != ROUTE_SIGNAL && comes == (use == ROUTE_OUTPUT))) {
        return CODE_BAD_MESSAGE;
    }
    for (unsigned port = 0; port < BOARD_PORTS; port++) {
        if (((unsigned)route->to_ports >> port & 1u) != 0 && !links[port].open) return CODE_PEER;
    }
    if (use == ROUTE_INPUT && runtime_input(route->index).bytes != route->size) return CODE_MODEL;
    if (use == ROUTE_OUTPUT && runtime_output(route->index).bytes != route->size) return CODE_MODEL;
    if (route->size > ram_bytes) return CODE_DOES_NOT_FIT;
    struct flow *flow = &flows[flow_count];
    flow->route = *route;
    uint32_t slot = slot_bytes(flow);
    if (route->depth > ram_bytes / slot) return CODE_DOES_NOT_FIT;
    flow->route.use = use;
    flow->comes = comes;
    flow->repeats = use != route->use;
    flow->buffer = ram;
    flow_count++;
    *claimed += route->depth * slot;
    return CODE_NONE;
}

void link_start(void) {
    for (struct flow *flow = flows; flow < flows + flow_count; flow++) {
        memset(&flow->arrived, 0, sizeof *flow - offsetof(struct flow, arrived));
        /* The index of a signal says how many inferences begin without it. */
        if (flow->route.use == ROUTE_SIGNAL) flow->used_here = 0u - flow->route.index;
    }
    for (unsigned port = 0; port < BOARD_PORTS; port++) {
        memset(&links[port].first, 0, sizeof links[port] - offsetof(struct link, first));
        links[port].went_back = UINT32_MAX;
        links[port].credit_at = coarse_now();
    }
    memset(&link_counters, 0, sizeof link_counters);
}

static uint8_t *slot_of(const struct flow *flow, uint32_t frame) {
    return flow->buffer + frame % flow->route.depth * slot_bytes(flow);
}

static bool goes_to(const struct flow *flow, unsigned port) { return ((unsigned)flow->route.to_ports >> port & 1u) != 0; }

/* Frames that everybody, here and behind the links, has used up. */
__attribute__((noinline)) static uint32_t used_up(const struct flow *flow) {
    uint32_t least = flow->route.use == ROUTE_INPUT ? flow->used_here : UINT32_MAX;
    for (unsigned port = 0; port < BOARD_PORTS; port++) {
        if (goes_to(flow, port) && flow->credit[port] < least) least = flow->credit[port];
    }
    return least == UINT32_MAX ? flow->arrived : least;
}

bool link_take_inputs(void) {
    bool any = runtime_loaded();
    for (const struct flow *flow = flows; flow < flows + flow_count; flow++) {
        if (flow->route.use == ROUTE_RELAY) continue;
        any = true;
        uint32_t gone = flow->comes ? flow->used_here : used_up(flow) + flow->route.depth;
        if (flow->arrived == gone) return false;
    }
    if (!any) return false;
    for (const struct flow *flow = flows; flow < flows + flow_count; flow++) {
        if (flow->route.use != ROUTE_INPUT) continue;
        memcpy(runtime_input(flow->route.index).data, slot_of(flow, flow->used_here), flow->route.size);
    }
    return true;
}

void link_give_outputs(void) {
    for (struct flow *flow = flows; flow < flows + flow_count; flow++) {
        if (flow->route.use == ROUTE_OUTPUT) {
            memcpy(slot_of(flow, flow->arrived), runtime_output(flow->route.index).data, flow->route.size);
        }
        if (flow->comes) {
            flow->used_here++; /* of no meaning to a relay */
        } else {
            flow->arrived++;
        }
    }
}

static struct flow *flow_of(uint16_t tensor) {
    for (struct flow *flow = flows; flow < flows + flow_count; flow++) {
        if (flow->route.tensor == tensor) return flow;
    }
    return 0;
}

static void acknowledge(uint8_t port) { line_send(port, TYPE_PART_ACK, 0, links[port].expected, 0); }

/* A part in its turn whose place is known; false for what must not be acknowledged. */
static bool store(uint8_t port, const struct frame *frame) {
    struct flow *flow = flow_of(frame->channel);
    if (flow == 0 || flow->route.from_port != port || frame->bytes <= PART_HEAD) return false;
    uint32_t bytes = frame->bytes - PART_HEAD;
    if (get_u32(frame->payload) != flow->arrived || get_u32(frame->payload + 4) != flow->arrived_bytes ||
        bytes > flow->route.size - flow->arrived_bytes || flow->arrived - used_up(flow) >= flow->route.depth) {
        return false;
    }
    memcpy(slot_of(flow, flow->arrived) + flow->arrived_bytes, frame->payload + PART_HEAD, bytes);
    flow->arrived_bytes += bytes;
    if (flow->arrived_bytes == flow->route.size) {
        flow->arrived++;
        flow->arrived_bytes = 0;
    }
    return true;
}

static void take_part(uint8_t port, const struct frame *frame) {
    struct link *link = &links[port];
    if (frame->sequence == link->expected) {
        if (!store(port, frame)) return;
        link->expected++;
        link_counters.received++;
    }
    acknowledge(port);
}

static void take_ack(struct link *link, uint32_t expected) {
    if (expected - link->first > link->queued - link->first) return; /* of an earlier run */
    link->probing = false;
    if (expected != link->first) {
        link->first = expected;
        if (link->next - link->first > link->queued - link->first) link->next = link->first;
        link->deadline = coarse_now() + link->patience;
    } else if (link->next != link->first && link->went_back != expected) {
        link->went_back = expected; /* something behind a gap arrived: go back, once for each gap */
        link->next = expected;
    }
}

void link_frame(uint8_t port, const struct frame *frame) {
    struct link *link = &links[port];
    if (!link->open || !run_streaming()) return;
    retained_phase(PHASE_LINK);
    if (frame->type == TYPE_PART) {
        take_part(port, frame);
    } else if (frame->type == TYPE_PART_ACK) {
        take_ack(link, frame->sequence);
    } else {
        struct flow *flow = flow_of(frame->channel);
        if (flow != 0 && frame->sequence - flow->credit[port] <= flow->arrived - flow->credit[port]) {
            flow->credit[port] = frame->sequence;
        }
    }
}

static void send_part(uint8_t port, uint32_t number) {
    struct link *link = &links[port];
    const struct part *part = &link->parts[number % MAX_WINDOW];
    const struct flow *flow = &flows[part->flow];
    uint64_t begin = port_ticks();
    uint8_t *payload = put_u32(put_u32(line_payload(), part->frame), part->offset);
    memcpy(payload, slot_of(flow, part->frame) + part->offset, part->bytes);
    line_send(port, TYPE_PART, flow->route.tensor, number, PART_HEAD + (uint32_t)part->bytes);
    link_counters.send_ticks += port_ticks() - begin;
    link_counters.sent++;
}

/* Put the next piece of the oldest frame that waits for this port into `parts`. */
__attribute__((noinline)) static bool queue(uint8_t port) {
    struct link *link = &links[port];
    struct flow *best = 0;
    for (struct flow *flow = flows; flow < flows + flow_count; flow++) {
        if (!goes_to(flow, port) || flow->queued[port] == flow->arrived) continue;
        if (flow->queued[port] - flow->credit[port] >= flow->route.depth) continue;
        if (best == 0 || flow->queued[port] < best->queued[port]) best = flow;
    }
    if (best == 0) return false;
    uint32_t offset = best->queued_bytes[port];
    uint32_t left = best->route.size - offset;
    uint16_t bytes = left < link->part_bytes ? (uint16_t)left : link->part_bytes;
    link->parts[link->queued++ % MAX_WINDOW] = (struct part){
        .flow = (uint8_t)(best - flows), .frame = best->queued[port], .offset = offset, .bytes = bytes};
    best->queued_bytes[port] += bytes;
    if (best->queued_bytes[port] == best->route.size) {
        best->queued[port]++;
        best->queued_bytes[port] = 0;
    }
    return true;
}

static bool send(uint8_t port) {
    struct link *link = &links[port];
    if (link->first != link->next && past(link->deadline)) {
        link->next = link->first;
        link->went_back = UINT32_MAX;
        link->probing = true;
    }
    if (link->probing && link->next != link->first) return false;
    bool fresh = link->next == link->queued;
    if (fresh && (link->queued - link->first >= link->window || !queue(port))) return false;
    if (link->next == link->first) link->deadline = coarse_now() + link->patience;
    if (!fresh) link_counters.again++;
    send_part(port, link->next++);
    return true;
}

/* Whether all frames that repeat are here. */
static bool filled(const struct flow *flow) { return flow->repeats && flow->arrived >= flow->route.depth; }

static bool send_credits(uint8_t port, bool all) {
    bool any = false;
    for (struct flow *flow = flows; flow < flows + flow_count; flow++) {
        if (flow->route.from_port != port || filled(flow)) continue;
        uint32_t used = used_up(flow);
        if (used == flow->credit_told && !all) continue;
        line_send(port, TYPE_CREDIT, flow->route.tensor, used, 0);
        flow->credit_told = used;
        any = true;
    }
    return any;
}

bool link_poll(void) {
    if (!run_streaming()) return false;
    bool any = false;
    for (struct flow *flow = flows; flow < flows + flow_count; flow++) {
        if (filled(flow)) flow->arrived = used_up(flow) + flow->route.depth;
    }
    for (uint8_t port = 0; port < BOARD_PORTS; port++) {
        struct link *link = &links[port];
        if (!link->open) continue;
        retained_phase(PHASE_LINK);
        bool again = past(link->credit_at);
        if (send_credits(port, again) || again) link->credit_at = coarse_now() + link->patience;
        any |= send(port);
    }
    return any;
}
