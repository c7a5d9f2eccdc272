#include "cortexm.h"
#include "uart.h"

#ifdef BOARD_NETDUINOPLUS2
#include "../nor_ram.h"

#include "emulated.h"
#endif

enum {
    RCC = 0x40023800,
    RCC_CONTROL = RCC + 0x00,
    RCC_PLL = RCC + 0x04,
    RCC_CLOCK = RCC + 0x08,
    RCC_AHB1 = RCC + 0x30,
    RCC_APB1 = RCC + 0x40,
    RCC_APB2 = RCC + 0x44,
    RCC_STATUS = RCC + 0x74,
    FLASH_ACCESS = 0x40023C00,
    IWDG = 0x40003000,
    GPIO_A = 0x40020000,
    GPIO_B = 0x40020400,
    GPIO_MODE = 0x00,
    GPIO_SET = 0x18,
    GPIO_ALTERNATE = 0x20,
    USART_STATE = 0x00, /* bit 3: overrun, 5: byte received, 6: all sent, 7: transmitter empty */
    USART_DATA = 0x04,
    USART_BAUD = 0x08,
    USART_CONTROL = 0x0C,
    USART_ON = 1 << 13 | 1 << 5 | 1 << 3 | 1 << 2, /* enable, interrupt when received, send, receive */
};

struct usart {
    uint32_t at;
    uint32_t clock_hz;
};

FAST_DATA static struct usart usarts[BOARD_PORTS] = {
    {0x40011000, BOARD_CORE_HZ / 2u},
    {0x40004400, BOARD_CORE_HZ / 4u},
    {0x40004800, BOARD_CORE_HZ / 4u},
};

/* Until nothing is left: an emulator may put the next byte in while the last is read, and then asks no more. */
static inline void take(uint8_t port) {
    uint32_t at = usarts[port].at;
    for (uint32_t state = REGISTER(at + USART_STATE); (state & 0x28u) != 0; state = REGISTER(at + USART_STATE)) {
        if ((state & 8u) != 0) uart_counters.lost++;
        uint8_t byte = (uint8_t)REGISTER(at + USART_DATA); /* after the state: clears an overrun too */
        if ((state & 0x20u) != 0) uart_received(port, byte);
    }
}

FAST_CODE static void take_0(void) { take(0); }

FAST_CODE static void take_1(void) { take(1); }

FAST_CODE static void take_2(void) { take(2); }

const struct interrupt board_interrupts[] = {{37, take_0}, {38, take_1}, {39, take_2}};
const uint8_t board_interrupt_count = sizeof board_interrupts / sizeof board_interrupts[0];

/* Bounded: where nothing answers, as in QEMU, the clock is what it is. */
static void wait_for(uint32_t address, uint32_t mask, uint32_t value) {
    for (unsigned i = 0; i < 100000 && (REGISTER(address) & mask) != value; i++) {
    }
}

/* 16 MHz / 16 x 336 / 2 = 168 MHz; APB1 a quarter, APB2 half of it; five wait states, caches on. */
static void clock_start(void) {
    REGISTER(FLASH_ACCESS) = 0x705;
    REGISTER(RCC_PLL) = 16u | 336u << 6 | 0u << 16 | 7u << 24;
    REGISTER(RCC_CONTROL) |= 1u << 24;
    wait_for(RCC_CONTROL, 1u << 25, 1u << 25);
    REGISTER(RCC_CLOCK) = 5u << 10 | 4u << 13;
    REGISTER(RCC_CLOCK) |= 2u;
    wait_for(RCC_CLOCK, 3u << 2, 2u << 2);
}

/* Two bits of mode a pin: 2 alternate function, 1 output. Four bits of function: 7 is USART1 to 3. */
static void pin_to_usart(uint32_t gpio, unsigned pin) {
    uint32_t function = gpio + GPIO_ALTERNATE + 4u * (pin / 8u);
    REGISTER(gpio + GPIO_MODE) = (REGISTER(gpio + GPIO_MODE) & ~(3u << 2u * pin)) | 2u << 2u * pin;
    REGISTER(function) = (REGISTER(function) & ~(15u << 4u * (pin % 8u))) | 7u << 4u * (pin % 8u);
}

void port_start(void) {
    clock_start();
    REGISTER(RCC_AHB1) |= 3u;
    REGISTER(RCC_APB2) |= 1u << 4;
    REGISTER(RCC_APB1) |= 3u << 17;
    pin_to_usart(GPIO_A, 9);
    pin_to_usart(GPIO_A, 10);
    pin_to_usart(GPIO_A, 2);
    pin_to_usart(GPIO_A, 3);
    pin_to_usart(GPIO_B, 10);
    pin_to_usart(GPIO_B, 11);
    REGISTER(GPIO_B + GPIO_MODE) = (REGISTER(GPIO_B + GPIO_MODE) & ~3u) | 1u;
    cortexm_clock_start();
    for (unsigned i = 0; i < board_interrupt_count; i++) cortexm_interrupt_on(board_interrupts[i].number);
}

bool port_uart_open(uint8_t port, uint32_t baud) {
    const struct usart *usart = &usarts[port];
    uint32_t divider = (usart->clock_hz + baud / 2u) / baud;
    if (divider < 16) return false;
    REGISTER(usart->at + USART_CONTROL) = 0;
    REGISTER(usart->at + USART_BAUD) = divider;
    REGISTER(usart->at + USART_CONTROL) = USART_ON;
    uart_empty(port);
    return true;
}

bool port_uart_can_send(uint8_t port) { return (REGISTER(usarts[port].at + USART_STATE) & 0x80u) != 0; }

void port_uart_put(uint8_t port, uint8_t byte) { REGISTER(usarts[port].at + USART_DATA) = byte; }

bool port_uart_drained(uint8_t port) { return (REGISTER(usarts[port].at + USART_STATE) & 0x40u) != 0; }

/* 32 kHz / 32, counted down from BOARD_WATCHDOG_MS. Once started it cannot be stopped. */
void port_watchdog_start(void) {
    REGISTER(IWDG) = 0x5555;
    REGISTER(IWDG + 4) = 3;
    REGISTER(IWDG + 8) = BOARD_WATCHDOG_MS;
    REGISTER(IWDG) = 0xCCCC;
}

void port_watchdog_feed(void) { REGISTER(IWDG) = 0xAAAA; }

uint8_t port_reset_cause(void) {
    uint32_t status = REGISTER(RCC_STATUS);
    REGISTER(RCC_STATUS) = 1u << 24;
    if ((status & 1u << 29) != 0) return CAUSE_WATCHDOG;
    return (status & 1u << 27) != 0 ? CAUSE_POWER_ON : 0;
}

void port_trigger(bool on) { REGISTER(GPIO_B + GPIO_SET) = on ? 1u : 1u << 16; }
