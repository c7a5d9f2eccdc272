/* Slot memory in the chip's flash: sector 4 (64 KB) holds the header, sectors 5 to 11 (128 KB each) the image.
 *
 * While the one bank is busy nothing can be fetched from it, so what waits here and every interrupt that may come
 * stand in RAM; the vectors do, too. Received bytes are not lost meanwhile. */
#include "cortexm.h"

enum {
    HEADER = 0x08010000,
    DATA = 0x08020000,
    FIRST_DATA_SECTOR = 5,
    CHIP_NUMBER = 0x1FFF7A10,
    FLASH = 0x40023C00,
    FLASH_KEY = FLASH + 0x04,
    FLASH_STATE = FLASH + 0x0C,
    FLASH_CONTROL = FLASH + 0x10,
    BUSY = 1 << 16,
    FAILED = 0xF2, /* sequence, parallelism, alignment, protection, operation */
    PROGRAM = 1,
    ERASE = 2,
    WORDS = 2 << 8,
    GO = 1 << 16,
    LOCK = -0x7FFFFFFF - 1,
    IWDG = 0x40003000,
};

FAST_CODE static void wait(void) {
    while ((REGISTER(FLASH_STATE) & BUSY) != 0) REGISTER(IWDG) = 0xAAAA;
}

FAST_CODE static void erase(uint32_t sector) {
    REGISTER(FLASH_CONTROL) = ERASE | WORDS | sector << 3;
    REGISTER(FLASH_CONTROL) |= GO;
    wait();
}

FAST_CODE static void program(uint32_t at, const uint8_t *data, uint32_t words) {
    REGISTER(FLASH_CONTROL) = PROGRAM | WORDS;
    for (uint32_t i = 0; i < words; i++, data += 4, at += 4) {
        uint32_t word = data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
        REGISTER(at) = word;
        wait();
    }
}

static void unlock(void) {
    if ((REGISTER(FLASH_CONTROL) & (uint32_t)LOCK) != 0) {
        REGISTER(FLASH_KEY) = 0x45670123;
        REGISTER(FLASH_KEY) = 0xCDEF89AB;
    }
    REGISTER(FLASH_STATE) = FAILED;
}

static bool lock(void) {
    bool good = (REGISTER(FLASH_STATE) & FAILED) == 0;
    REGISTER(FLASH_CONTROL) = (uint32_t)LOCK;
    return good;
}

/* The data cache keeps what it read before. */
static void forget_cache(void) {
    REGISTER(FLASH) &= ~(1u << 10);
    REGISTER(FLASH) |= 1u << 12;
    REGISTER(FLASH) &= ~(1u << 12);
    REGISTER(FLASH) |= 1u << 10;
}

const uint8_t *port_slot_header(void) { return (const uint8_t *)HEADER; }

const uint8_t *port_slot_data(void) { return (const uint8_t *)DATA; }

bool port_slot_erase(const uint8_t *at) {
    uint32_t place = (uint32_t)(uintptr_t)at;
    uint32_t sector = FIRST_DATA_SECTOR - 1;
    if (place != HEADER) {
        if (place < DATA || place >= DATA + BOARD_SLOT_BYTES || place % BOARD_SECTOR_BYTES != 0) return false;
        sector = FIRST_DATA_SECTOR + (place - DATA) / BOARD_SECTOR_BYTES;
    }
    unlock();
    erase(sector);
    bool good = lock();
    forget_cache();
    return good;
}

bool port_slot_program(const uint8_t *at, const uint8_t *data, uint32_t bytes) {
    uint32_t place = (uint32_t)(uintptr_t)at;
    if (place < HEADER || place % 4u != 0 || bytes % 4u != 0 || bytes > DATA + BOARD_SLOT_BYTES - place) return false;
    unlock();
    program(place, data, bytes / 4u);
    bool good = lock();
    forget_cache();
    return good;
}

const char *port_uid(void) {
    static char text[25];
    const uint8_t *number = (const uint8_t *)CHIP_NUMBER;
    for (unsigned i = 0; i < 24; i++) text[i] = "0123456789abcdef"[number[i / 2] >> (i % 2 != 0 ? 0 : 4) & 15];
    return text;
}
