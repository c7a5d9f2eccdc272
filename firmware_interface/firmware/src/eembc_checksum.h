#ifndef EEMBC_CHECKSUM_H
#define EEMBC_CHECKSUM_H

#include "eembc.h"

extern const struct eembc_model eembc_checksum_model;

#endif
