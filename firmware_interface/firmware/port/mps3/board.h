/* Arm MPS3 with FPGA image AN547 (Cortex-M55), as QEMU plays it. */
#ifndef BOARD_H
#define BOARD_H

#include "../cmsdk_board.h"

#define BOARD_NAME "mps3-an547"
#define BOARD_CORE "cortex-m55"

#define BOARD_TICK_HZ 32000000u
#define BOARD_CORE_HZ 32000000u
#define BOARD_BAUD_MOST 2000000u
#define BOARD_INTERRUPTS 64

#endif
