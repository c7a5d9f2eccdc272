#include "fake_port.h"

#include <string.h>

struct nor_ram fake_nor;
unsigned long fake_operations;
unsigned long fake_cut_at;
jmp_buf fake_power;

extern const uint8_t build_hash[32];
const uint8_t build_hash[32] = {0};

static struct retained kept;
static _Alignas(16) uint8_t arena[65536];

void fake_reset(void) {
    memset(&kept, 0, sizeof kept);
    fake_operations = fake_cut_at = 0;
}

void nor_ram_operation(void) {
    fake_operations++;
    if (fake_operations == fake_cut_at) longjmp(fake_power, 1);
}

void port_start(void) {}
uint64_t port_ticks(void) {
    static uint64_t ticks; /* a second in a thousand looks, so that what waits for time gets on */
    return ticks += BOARD_TICK_HZ / 1000u;
}
bool port_uart_open(uint8_t port, uint32_t baud) { return port < BOARD_PORTS && baud != 0; }
bool port_uart_can_send(uint8_t port) { return port < BOARD_PORTS; }
void port_uart_put(uint8_t port, uint8_t byte) {
    (void)port;
    (void)byte;
}
bool port_uart_drained(uint8_t port) { return port < BOARD_PORTS; }
void port_poll(void) {}
void port_idle(void) {}
void port_watchdog_start(void) {}
void port_watchdog_feed(void) {}
_Noreturn void port_reset(void) { longjmp(fake_power, 2); }
_Noreturn void port_hang(void) { longjmp(fake_power, 3); }
void port_crash(void) { longjmp(fake_power, 4); }
uint8_t port_reset_cause(void) { return 0; }
struct retained *port_retained(void) { return &kept; }
void port_memory(struct port_memory *memory) {
    memset(memory, 0, sizeof *memory);
    memory->arena = arena;
    memory->arena_bytes = sizeof arena;
}
const char *port_uid(void) { return "00"; }
void port_trigger(bool on) { (void)on; }
const uint8_t *port_slot_header(void) { return fake_nor.header; }
const uint8_t *port_slot_data(void) { return fake_nor.data; }
bool port_slot_erase(const uint8_t *sector) { return nor_ram_erase(&fake_nor, sector); }
bool port_slot_program(const uint8_t *at, const uint8_t *data, uint32_t bytes) {
    return nor_ram_program(&fake_nor, at, data, bytes);
}
