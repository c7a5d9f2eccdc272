/* CRC-32 as in zlib: polynomial 0xEDB88320, reflected, inverted at both ends. */
#ifndef CRC32_H
#define CRC32_H

#include <stdint.h>

uint32_t crc32(const uint8_t *data, uint32_t bytes);

#endif
