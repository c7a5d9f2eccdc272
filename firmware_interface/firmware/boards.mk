# Boards with a Cortex-M core: compiler flags, memory (origin and length of flash, RAM, slot), sources of the port.
# The linker enforces the limits. A bench that plays a smaller board sets some of them for the boards it names:
#   make BUILD=DIR mps2-an386 RAM_BYTES=98304 SLOT_BYTES=524288
# builds DIR/mps2-an386-ram98304-slot524288/firmware.elf. FLASH_BYTES limits the firmware's own flash; SLOT_BYTES are
# whole sectors. The posix boards take the same limits.

RAM_BYTES ?=
FLASH_BYTES ?=
SLOT_BYTES ?=
LIMITS := $(RAM_BYTES:%=-ram%)$(FLASH_BYTES:%=-flash%)$(SLOT_BYTES:%=-slot%)
LIMIT_FLAGS := $(RAM_BYTES:%=-DLIMIT_RAM_BYTES=%) $(FLASH_BYTES:%=-DLIMIT_FLASH_BYTES=%) \
    $(SLOT_BYTES:%=-DBOARD_SLOT_BYTES=%)

BOARDS := mps2-an386 mps2-an500 mps3-an547 lm3s6965evb stm32f405 netduinoplus2

CORTEXM_SOURCES := port/cortexm/startup.c

mps2-an386_RAM := $(or $(RAM_BYTES),262144)
mps2-an386_FLASH := $(or $(FLASH_BYTES),524288)
mps2-an386_PORT := mps2
mps2-an386_FLAGS := -mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16 -DBOARD_AN386
mps2-an386_MEMORY = -DFLASH_AT=0x0 -DFLASH_BYTES=$(mps2-an386_FLASH) -DRAM_AT=0x20000000 \
    -DRAM_BYTES=$(mps2-an386_RAM) -DSTACK_BYTES=4096 -DSLOT_AT=0x21000000 -DSLOT_AREA=0x110000 -DUID_AT=0x21F00000
mps2-an386_SOURCES := $(CORTEXM_SOURCES) port/mps2/board.c port/nor_ram.c

mps2-an500_RAM := $(or $(RAM_BYTES),524288)
mps2-an500_FLASH := $(or $(FLASH_BYTES),1048576)
mps2-an500_PORT := mps2
mps2-an500_FLAGS := -mcpu=cortex-m7 -mfloat-abi=hard -mfpu=fpv5-d16 -DBOARD_AN500
mps2-an500_MEMORY = -DFLASH_AT=0x0 -DFLASH_BYTES=$(mps2-an500_FLASH) -DRAM_AT=0x20000000 \
    -DRAM_BYTES=$(mps2-an500_RAM) -DSTACK_BYTES=4096 -DSLOT_AT=0x60000000 -DSLOT_AREA=0x110000 -DUID_AT=0x60F00000
mps2-an500_SOURCES := $(mps2-an386_SOURCES)

mps3-an547_RAM := $(or $(RAM_BYTES),524288)
mps3-an547_FLASH := $(or $(FLASH_BYTES),524288)
mps3-an547_PORT := mps3
mps3-an547_FLAGS := -mcpu=cortex-m55 -mfloat-abi=hard
mps3-an547_MEMORY = -DFLASH_AT=0x0 -DFLASH_BYTES=$(mps3-an547_FLASH) -DRAM_AT=0x30000000 \
    -DRAM_BYTES=$(mps3-an547_RAM) -DSTACK_BYTES=4096 -DSLOT_AT=0x31000000 -DSLOT_AREA=0x110000 -DUID_AT=0x31200000
mps3-an547_SOURCES := $(CORTEXM_SOURCES) port/mps3/board.c port/nor_ram.c

# 64 KB of RAM play both the board's RAM and its slot.
lm3s6965evb_RAM := $(or $(RAM_BYTES),40960)
lm3s6965evb_FLASH := $(or $(FLASH_BYTES),262144)
lm3s6965evb_PORT := lm3s6965evb
lm3s6965evb_FLAGS := -mcpu=cortex-m3
lm3s6965evb_MEMORY = -DFLASH_AT=0x0 -DFLASH_BYTES=$(lm3s6965evb_FLASH) -DRAM_AT=0x20000000 \
    -DRAM_BYTES=$(lm3s6965evb_RAM) -DSTACK_BYTES=2048 -DSLOT_AT=0x2000A000 -DSLOT_AREA=0x5800 -DUID_AT=0x2000FFE0
lm3s6965evb_SOURCES := $(CORTEXM_SOURCES) port/lm3s6965evb/board.c port/nor_ram.c

# The chip: slot in flash, watchdog IWDG. Flash: 64 KB of code, 64 KB that hold the header of the slot, 896 KB of slot.
stm32f405_RAM := $(or $(RAM_BYTES),131072)
stm32f405_FLASH := $(or $(FLASH_BYTES),65536)
stm32f405_PORT := stm32f405
stm32f405_FLAGS := -mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16
stm32f405_MEMORY = -DFLASH_AT=0x08000000 -DFLASH_BYTES=$(stm32f405_FLASH) -DRAM_AT=0x20000000 \
    -DRAM_BYTES=$(stm32f405_RAM) -DSTACK_BYTES=4096
stm32f405_SOURCES := $(CORTEXM_SOURCES) port/stm32f405/board.c port/stm32f405/flash.c

# The same register code in QEMU, whose flash cannot be written: the slot lies in RAM that the chip has elsewhere.
netduinoplus2_RAM := $(or $(RAM_BYTES),131072)
netduinoplus2_FLASH := $(or $(FLASH_BYTES),1048576)
netduinoplus2_PORT := stm32f405
netduinoplus2_FLAGS := $(stm32f405_FLAGS) -DBOARD_NETDUINOPLUS2
netduinoplus2_MEMORY = -DFLASH_AT=0x08000000 -DFLASH_BYTES=$(netduinoplus2_FLASH) -DRAM_AT=0x20000000 \
    -DRAM_BYTES=$(netduinoplus2_RAM) -DSTACK_BYTES=4096 -DSLOT_AT=0x20020000 -DSLOT_AREA=0xF800 -DUID_AT=0x2002FFE0
netduinoplus2_SOURCES := $(CORTEXM_SOURCES) port/stm32f405/board.c port/nor_ram.c
