/* What outlives a reset. */
#ifndef RETAINED_H
#define RETAINED_H

#include "port.h"

/* At the start: make it good after a power-on, count the boot, return why the board started. */
uint8_t retained_open(void);

/* From a fault handler: keep the report and restart the board. */
_Noreturn void retained_fault(uint8_t kind, uint32_t pc, uint32_t lr, uint32_t status, uint32_t address);

void retained_phase(enum phase phase);

#endif
