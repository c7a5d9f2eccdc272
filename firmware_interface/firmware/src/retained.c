#include "retained.h"

#include <string.h>

enum { CHECK = 0x4B454550 };

uint8_t retained_open(void) {
    struct retained *kept = port_retained();
    uint8_t cause = CAUSE_POWER_ON;
    if (kept->check == CHECK) {
        cause = kept->intent != 0 ? kept->intent : port_reset_cause();
        if (cause == 0) cause = CAUSE_EXTERNAL;
    } else {
        memset(kept, 0, sizeof *kept);
        kept->check = CHECK;
    }
    if (cause == CAUSE_WATCHDOG && kept->intent == 0) {
        /* The watchdog reset the board without an interrupt before it: all we know is the phase. */
        kept->fault_kind = FAULT_WATCHDOG;
        kept->fault_phase = kept->phase;
        kept->fault_operator = kept->operator_now;
        kept->fault_boot = kept->boots;
        kept->fault_pc = kept->fault_lr = kept->fault_status = kept->fault_address = 0;
    }
    kept->intent = 0;
    kept->boots++;
    kept->phase = PHASE_START;
    return cause;
}

void retained_fault(uint8_t kind, uint32_t pc, uint32_t lr, uint32_t status, uint32_t address) {
    struct retained *kept = port_retained();
    kept->fault_kind = kind;
    kept->fault_phase = kept->phase;
    kept->fault_operator = kept->operator_now;
    kept->fault_boot = kept->boots;
    kept->fault_pc = pc;
    kept->fault_lr = lr;
    kept->fault_status = status;
    kept->fault_address = address;
    kept->intent = kind == FAULT_WATCHDOG ? CAUSE_WATCHDOG : CAUSE_FAULT;
    port_reset();
}

void retained_phase(enum phase phase) { port_retained()->phase = (uint8_t)phase; }
