/* Arm MPS2 with FPGA images AN386 (Cortex-M4) and AN500 (Cortex-M7), as QEMU plays them. */
#ifndef BOARD_H
#define BOARD_H

#include "../cmsdk_board.h"

#ifdef BOARD_AN500
#define BOARD_NAME "mps2-an500"
#define BOARD_CORE "cortex-m7"
#else
#define BOARD_NAME "mps2-an386"
#define BOARD_CORE "cortex-m4"
#endif

#define BOARD_TICK_HZ 25000000u
#define BOARD_CORE_HZ 25000000u
#define BOARD_BAUD_MOST 1562500u
#define BOARD_INTERRUPTS 32

#endif
