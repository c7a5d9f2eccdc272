/* A port for tests inside one process: slot memory whose power can fail, and lines that end in buffers. */
#ifndef FAKE_PORT_H
#define FAKE_PORT_H

#include <setjmp.h>

#include "port.h"

#include "nor_ram.h"

extern struct nor_ram fake_nor;
extern unsigned long fake_operations;

/* The power goes at this operation of the slot memory (0: never): longjmp to fake_power. */
extern unsigned long fake_cut_at;
extern jmp_buf fake_power;

void fake_reset(void);

#endif
