/* Linker script of all Cortex-M ports, preprocessed with the figures of boards.mk.
 *
 * The stack is the lowest part of RAM and grows down: what overflows it leaves RAM and faults. All RAM above .bss is
 * the arena. */
ENTRY(start)
MEMORY {
    FLASH (rx) : ORIGIN = FLASH_AT, LENGTH = FLASH_BYTES
    RAM (rwx) : ORIGIN = RAM_AT, LENGTH = RAM_BYTES
#ifdef SLOT_AT
    SLOT (rw) : ORIGIN = SLOT_AT, LENGTH = SLOT_AREA
#endif
}
SECTIONS {
    memory_text = FLASH_AT;
    .text : {
        KEEP(*(.vectors))
        *(.text*)
        *(.rodata*)
        . = ALIGN(8);
    } > FLASH
    .ARM.exidx : { *(.ARM.exidx*) } > FLASH
    .stack (NOLOAD) : {
        memory_stack = .;
        . += STACK_BYTES;
        memory_stack_end = .;
    } > RAM
    .kept (NOLOAD) : {
        memory_kept = .;
        *(.ram_vectors) /* first: behind the stack they are aligned without a gap */
        *(.retained)
        . = ALIGN(8);
        memory_kept_end = .;
    } > RAM
    .data : ALIGN(8) {
        memory_data = .;
        *(.fast*)
        *(.data*)
        . = ALIGN(8);
        memory_data_end = .;
    } > RAM AT> FLASH
    memory_data_from = LOADADDR(.data);
    .bss (NOLOAD) : ALIGN(16) {
        memory_bss = .;
        *(.bss*)
        *(COMMON)
        . = ALIGN(16);
        memory_bss_end = .;
    } > RAM
#ifdef SLOT_AT
    .slot (NOLOAD) : { *(.slot) } > SLOT
    memory_uid = UID_AT;
    ASSERT(RAM_AT + RAM_BYTES <= SLOT_AT || SLOT_AT + SLOT_AREA <= RAM_AT, "RAM_BYTES reach into the slot")
#endif
    memory_arena_end = RAM_AT + RAM_BYTES;
    memory_ram_bytes = RAM_BYTES;
    memory_flash_bytes = FLASH_BYTES;
    memory_flash_used = SIZEOF(.text) + SIZEOF(.ARM.exidx) + SIZEOF(.data);
    /DISCARD/ : { *(.comment) }
}
