#include "cortexm.h"

#include "retained.h"
#include "uart.h"

extern uint8_t memory_stack[], memory_stack_end[], memory_data[], memory_data_end[], memory_bss[], memory_bss_end[];
extern uint8_t memory_arena_end[], memory_kept[], memory_kept_end[];
extern const uint8_t memory_data_from[], memory_ram_bytes[], memory_flash_bytes[], memory_flash_used[];

int main(void);
void start(void);
void fault_taken(const uint32_t *frame, uint32_t watchdog);

enum { CORE_VECTORS = 16, PAINT = 0xC5 };

#define SYSTICK_CONTROL REGISTER(0xE000E010)
#define SYSTICK_RELOAD REGISTER(0xE000E014)
#define SYSTICK_VALUE REGISTER(0xE000E018)
#define NVIC_ENABLE(number) REGISTER(0xE000E100u + 4u * ((number) / 32u))
#define SCB_ICSR REGISTER(0xE000ED04)
#define SCB_VTOR REGISTER(0xE000ED08)
#define SCB_AIRCR REGISTER(0xE000ED0C)
#define SCB_SHCSR REGISTER(0xE000ED24)
#define SCB_CFSR REGISTER(0xE000ED28)
#define SCB_HFSR REGISTER(0xE000ED2C)
#define SCB_MMFAR REGISTER(0xE000ED34)
#define SCB_BFAR REGISTER(0xE000ED38)
#define SCB_CPACR REGISTER(0xE000ED88)

static struct retained kept RETAINED;
static volatile uint32_t wraps;
volatile uint8_t cortexm_watchdog_warned;

/* In RAM, because flash may be busy when an interrupt comes. */
static handler *vectors[CORE_VECTORS + BOARD_INTERRUPTS] __attribute__((section(".ram_vectors"), aligned(512)));

struct retained *port_retained(void) { return &kept; }

/* Finds the frame that the processor pushed, on whichever stack, and goes on in C. */
#define FAULT_ENTRY(watchdog)                                                                                  \
    __asm volatile(                                                                                            \
        "tst lr, #4\n ite eq\n mrseq r0, msp\n mrsne r0, psp\n movs r1, #" #watchdog "\n ldr r2, =fault_taken\n bx r2\n")

__attribute__((naked)) static void fault_handler(void) { FAULT_ENTRY(0); }

__attribute__((naked)) void cortexm_watchdog_handler(void) { FAULT_ENTRY(1); }

/* A stack overflow leaves no frame: then only the registers of the fault are told. */
__attribute__((used)) void fault_taken(const uint32_t *frame, uint32_t watchdog) {
    enum { LR = 5, PC = 6, STACKING_FAILED = 1 << 12 | 1 << 4 };
    if (watchdog != 0 && cortexm_watchdog_warned == 0) {
        port_watchdog_feed();
        cortexm_watchdog_warned = 1;
        return; /* from the exception */
    }
    uint32_t status = SCB_CFSR;
    uint32_t address = (status & 0x80u) != 0 ? SCB_MMFAR : SCB_BFAR;
    bool whole = (uintptr_t)frame >= (uintptr_t)memory_stack && (uintptr_t)frame < (uintptr_t)memory_stack_end &&
                 (status & STACKING_FAILED) == 0;
    __asm volatile("msr msp, %0" ::"r"(memory_stack_end));
    if (watchdog == 0 && status == 0) status = SCB_HFSR;
    retained_fault(watchdog != 0 ? FAULT_WATCHDOG : FAULT_EXCEPTION, whole ? frame[PC] : 0, whole ? frame[LR] : 0,
                   status, watchdog != 0 ? 0 : address);
}

FAST_CODE static void systick_handler(void) { wraps++; }

FAST_CODE static void unexpected(void) {
    for (;;) { /* an interrupt that nobody asked for: the watchdog tells */
    }
}

static void set_vectors(void) {
    for (unsigned i = 0; i < CORE_VECTORS + BOARD_INTERRUPTS; i++) vectors[i] = unexpected;
    for (unsigned i = 2; i < 7; i++) vectors[i] = fault_handler;
    vectors[15] = systick_handler;
    for (unsigned i = 0; i < board_interrupt_count; i++) {
        /* Number 0xFFF2 is the NMI: CORE_VECTORS less than none. */
        vectors[(uint16_t)(board_interrupts[i].number + CORE_VECTORS)] = board_interrupts[i].handle;
    }
    SCB_VTOR = (uint32_t)(uintptr_t)vectors;
    __asm volatile("dsb\nisb");
}

__attribute__((naked)) void start(void) {
    /* An emulator's reset may come in with any stack. */
    __asm volatile("ldr r0, =memory_stack_end\n mov sp, r0\n ldr r0, =started\n bx r0\n");
}

__attribute__((used)) static _Noreturn void started(void) {
    uintptr_t here;
    __asm volatile("cpsid i\n mov %0, sp" : "=r"(here));
    for (volatile uint8_t *at = memory_stack; (uintptr_t)at < here - 64; at++) *at = PAINT;
    const uint8_t *from = memory_data_from;
    for (volatile uint8_t *to = memory_data; to < memory_data_end; to++) *to = *from++;
    for (volatile uint8_t *to = memory_bss; to < memory_bss_end; to++) *to = 0;
#ifdef __ARM_FP
    SCB_CPACR |= 0xFu << 20;
    __asm volatile("dsb\nisb");
#endif
    set_vectors();
    __asm volatile("cpsie i");
    (void)main();
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static const uintptr_t first_vectors[CORE_VECTORS] = {
    (uintptr_t)memory_stack_end, (uintptr_t)start,         (uintptr_t)fault_handler, (uintptr_t)fault_handler,
    (uintptr_t)fault_handler,    (uintptr_t)fault_handler, (uintptr_t)fault_handler,
};

void cortexm_clock_start(void) {
    SYSTICK_RELOAD = 0xFFFFFF;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 7;
}

void cortexm_interrupt_on(uint16_t number) { NVIC_ENABLE(number) = 1u << (number % 32u); }

/* A wrap that has not been counted yet, because interrupts are off or this is one, shows as pending. */
uint64_t port_ticks(void) {
    uint32_t high;
    uint32_t value;
    bool pending;
    do {
        high = wraps;
        value = SYSTICK_VALUE;
        pending = (SCB_ICSR & 1u << 26) != 0;
        if (pending) value = SYSTICK_VALUE;
    } while (high != wraps);
    return ((uint64_t)high + pending) << 24 | (0xFFFFFFu - value);
}

void port_poll(void) {}

void port_idle(void) {
    __asm volatile("cpsid i");
    if (!uart_waiting()) BOARD_SLEEP();
    __asm volatile("cpsie i");
}

_Noreturn void port_reset(void) {
    __asm volatile("dsb");
    SCB_AIRCR = 0x05FA0004;
    for (;;) {
    }
}

_Noreturn void port_hang(void) {
    for (;;) {
    }
}

void port_crash(void) { __asm volatile("udf #0"); }

void port_memory(struct port_memory *memory) {
    const uint8_t *at = memory_stack;
    while (at < memory_stack_end && *at == PAINT) at++;
    memory->ram_limit = (uint32_t)(uintptr_t)memory_ram_bytes;
    memory->data = (uint32_t)(memory_data_end - memory_data);
    memory->bss = (uint32_t)(memory_bss_end - memory_bss + memory_kept_end - memory_kept);
    memory->stack = (uint32_t)(memory_stack_end - memory_stack);
    memory->stack_used = (uint32_t)(memory_stack_end - at);
    memory->flash_limit = (uint32_t)(uintptr_t)memory_flash_bytes;
    memory->flash_used = (uint32_t)(uintptr_t)memory_flash_used;
    memory->arena = memory_bss_end;
    memory->arena_bytes = (uint32_t)(memory_arena_end - memory_bss_end);
}
