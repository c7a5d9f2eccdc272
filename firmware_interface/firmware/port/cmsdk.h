/* UART, timer and watchdog of Arm's Cortex-M System Design Kit, used by the MPS2 and MPS3 ports. */
#ifndef CMSDK_H
#define CMSDK_H

enum {
    CMSDK_UART_DATA = 0x00,
    CMSDK_UART_STATE = 0x04, /* bit 0: transmitter full, 1: byte received, 3: overrun */
    CMSDK_UART_CONTROL = 0x08,
    CMSDK_UART_INTERRUPT = 0x0C,
    CMSDK_UART_DIVIDER = 0x10,
    CMSDK_UART_ON = 0x0B, /* send, receive, interrupt when received */
    CMSDK_TIMER_CONTROL = 0x00, /* bit 0: runs, 3: interrupts */
    CMSDK_TIMER_RELOAD = 0x08,
    CMSDK_TIMER_CLEAR = 0x0C,
    CMSDK_TIMER_ON = 0x01,
    CMSDK_TIMER_ASKS = 0x09,
    CMSDK_WATCHDOG_LOAD = 0x000,
    CMSDK_WATCHDOG_CONTROL = 0x008,
    CMSDK_WATCHDOG_CLEAR = 0x00C,
    CMSDK_WATCHDOG_LOCK = 0xC00,
    CMSDK_WATCHDOG_KEY = 0x1ACCE551,
};

static const uint32_t cmsdk_uarts[BOARD_PORTS];
extern const uint8_t memory_uid[9]; /* emulated.h */

/* Emulators send a byte in no time: this plays the line's rate by the board's clock, ten bits a byte, behind a FIFO of 16
 * bytes that the processor fills byte by byte. Bytes leave a few at a time, when the last of them would have, so that the
 * clock, which is slow to read in an emulator, is seldom asked. */
enum { CMSDK_FIFO = 16, CMSDK_AT_ONCE = 8 };

static struct cmsdk_line {
    uint32_t byte_ticks;
    uint64_t due; /* when the oldest byte has left */
    uint32_t first;
    volatile uint32_t count;
    volatile bool filling; /* the timer keeps its hands off */
    uint8_t bytes[CMSDK_FIFO];
} cmsdk_lines[BOARD_PORTS];

static void cmsdk_take(uint8_t port) {
    uint32_t uart = cmsdk_uarts[port];
    REGISTER(uart + CMSDK_UART_INTERRUPT) = 2; /* before the state is read: what comes in between asks again */
    uint32_t state = REGISTER(uart + CMSDK_UART_STATE);
    /* An emulator hands over the next byte as soon as one is taken: one interrupt then serves several. */
    for (; (state & 2u) != 0; state = REGISTER(uart + CMSDK_UART_STATE)) {
        uart_received(port, (uint8_t)REGISTER(uart + CMSDK_UART_DATA));
    }
    if ((state & 8u) != 0) {
        uart_counters.lost++;
        REGISTER(uart + CMSDK_UART_STATE) = 8;
    }
}

static void cmsdk_take_0(void) { cmsdk_take(0); }

static void cmsdk_take_1(void) { cmsdk_take(1); }

static void cmsdk_take_2(void) { cmsdk_take(2); }

bool port_uart_open(uint8_t port, uint32_t baud) {
    uint32_t uart = cmsdk_uarts[port];
    uint32_t divider = BOARD_CORE_HZ / baud;
    if (divider < 16) return false;
    REGISTER(uart + CMSDK_UART_CONTROL) = 0;
    REGISTER(uart + CMSDK_UART_DIVIDER) = divider;
    REGISTER(uart + CMSDK_UART_CONTROL) = CMSDK_UART_ON;
    (void)REGISTER(uart + CMSDK_UART_DATA); /* an emulator looks for bytes that wait when one was read */
    cmsdk_lines[port].byte_ticks = BOARD_TICK_HZ * 10u / baud;
    uart_empty(port);
    return true;
}

static bool cmsdk_full(uint8_t port) { return (REGISTER(cmsdk_uarts[port] + CMSDK_UART_STATE) & 1u) != 0; }

bool port_uart_can_send(uint8_t port) { return !cmsdk_full(port); }

/* Rounds of 64 instructions. An emulator runs a row of nops at next to no cost, so that a board that waits leaves its
 * machine to the others. */
static void cmsdk_pass(uint32_t rounds) {
    __asm volatile("1:\n .rept 62\n nop\n .endr\n subs %0, #1\n bne 1b" : "+r"(rounds) : : "cc");
}

static void cmsdk_wait(uint64_t end) {
    for (uint64_t now = port_ticks(); now < end; now = port_ticks()) {
        uint32_t left = (uint32_t)(end - now);
        if (left >= 128u) {
            cmsdk_pass(left / 64u); /* of 51 ticks at 32 ns an instruction: too few, so that the clock has the last word */
        } else {
            uint32_t rounds = left * 19u / 32u + 1u; /* of 1.6 ticks */
            __asm volatile("1: subs %0, #1\n bne 1b" : "+r"(rounds) : : "cc");
        }
    }
}

static uint32_t cmsdk_timer; /* 0: none, and the board sleeps */

/* An emulator that keeps a guest's clock to the wall's compares the two whenever a timer is due, and with none but
 * SysTick that is every 671 ms: the guest runs so far ahead in no time, then stands still and hears nothing. */
static inline void cmsdk_keep_step(uint32_t timer) {
    if (memory_uid[8] == 0) return;
    REGISTER(timer + CMSDK_TIMER_RELOAD) = BOARD_CORE_HZ / 2000u;
    REGISTER(timer + CMSDK_TIMER_CONTROL) = CMSDK_TIMER_ON;
    cmsdk_timer = timer;
}

/* In step a board waits awake: an emulated processor that sleeps loses time, and only one that runs makes up for it. */
void cmsdk_sleep(void) {
    enum { ROUNDS = 500 }; /* a millisecond */
    if (cmsdk_timer == 0) {
        __asm volatile("wfi");
        return;
    }
    __asm volatile("cpsie i");
    for (uint32_t round = 0; round < ROUNDS && !uart_waiting(); round++) cmsdk_pass(1);
}

/* The oldest bytes leave. */
static void cmsdk_send(uint8_t port, uint32_t count) {
    struct cmsdk_line *line = &cmsdk_lines[port];
    for (uint32_t i = 0; i < count; i++) {
        /* A peer that reads nothing for seconds loses bytes, which the protocol sees. Not sooner: a guest that makes up
         * for lost time is far ahead of the wall's clock, and the peer's emulator is not. */
        for (uint32_t tries = 0; cmsdk_full(port) && tries < 30000u; tries++) {
            port_watchdog_feed();
            cmsdk_wait(port_ticks() + line->byte_ticks);
        }
        REGISTER(cmsdk_uarts[port] + CMSDK_UART_DATA) = line->bytes[line->first++ % CMSDK_FIFO];
    }
    line->due += count * line->byte_ticks;
    line->count -= count;
}

/* Waits until so many bytes are due. */
static void cmsdk_await(uint8_t port, uint32_t count) {
    struct cmsdk_line *line = &cmsdk_lines[port];
    cmsdk_wait(line->due + (count - 1u) * line->byte_ticks);
    cmsdk_send(port, count);
}

/* The timer's interrupt, which asks while the end of a frame waits. */
static inline void cmsdk_timer_asks(void) {
    REGISTER(cmsdk_timer + CMSDK_TIMER_CLEAR) = 1;
    bool more = false;
    for (uint8_t port = 0; port < BOARD_PORTS; port++) {
        struct cmsdk_line *line = &cmsdk_lines[port];
        if (line->count == 0) continue;
        uint64_t now = port_ticks();
        if (!line->filling && now >= line->due) {
            uint32_t past = (uint32_t)(now - line->due) / line->byte_ticks + 1u;
            cmsdk_send(port, past < line->count ? past : line->count);
        }
        more |= line->count != 0;
    }
    if (!more) REGISTER(cmsdk_timer + CMSDK_TIMER_CONTROL) = CMSDK_TIMER_ON;
}

/* A frame ends with a zero, a line of text with a line feed: what then waits leaves by the timer, if there is one. */
void port_uart_put(uint8_t port, uint8_t byte) {
    struct cmsdk_line *line = &cmsdk_lines[port];
    line->filling = true;
    if (line->count == CMSDK_FIFO) cmsdk_await(port, CMSDK_AT_ONCE);
    if (line->count == 0) line->due = port_ticks() + line->byte_ticks;
    line->bytes[(line->first + line->count) % CMSDK_FIFO] = byte;
    line->count++;
    bool ends = byte == 0 || byte == '\n';
    if (ends && cmsdk_timer == 0) cmsdk_await(port, line->count);
    line->filling = false;
    if (ends && cmsdk_timer != 0) REGISTER(cmsdk_timer + CMSDK_TIMER_CONTROL) = CMSDK_TIMER_ASKS;
}

bool port_uart_drained(uint8_t port) { return cmsdk_lines[port].count == 0 && !cmsdk_full(port); }

/* Its first time-out asks for an interrupt, its second, if that was not served, resets the board. */
static void cmsdk_watchdog_start(uint32_t watchdog, uint32_t hz) {
    REGISTER(watchdog + CMSDK_WATCHDOG_LOCK) = CMSDK_WATCHDOG_KEY;
    REGISTER(watchdog + CMSDK_WATCHDOG_LOAD) = hz / 1000u * BOARD_WATCHDOG_MS;
    REGISTER(watchdog + CMSDK_WATCHDOG_CONTROL) = 3;
}

static void cmsdk_watchdog_feed(uint32_t watchdog) {
    REGISTER(watchdog + CMSDK_WATCHDOG_CLEAR) = 1;
    cortexm_watchdog_warned = 0;
}

#endif
