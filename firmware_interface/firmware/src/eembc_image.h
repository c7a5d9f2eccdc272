/* A network behind the commands of a benchmark runner: an int8 image that is linked into the firmware. Its file is made
 * by firmware_interface/eembc_network.py. */
#ifndef EEMBC_IMAGE_H
#define EEMBC_IMAGE_H

#include "eembc.h"

/* How bytes of a stimulus become the network's input. */
enum eembc_stimulus {
    STIMULUS_PIXELS, /* 0 to 255: less 128 */
    STIMULUS_INT8,   /* as they are */
    STIMULUS_FLOAT,  /* float32: quantised */
};

struct eembc_network {
    const uint8_t *image; /* 16-aligned */
    uint32_t image_bytes;
    enum eembc_stimulus stimulus;
    uint8_t error; /* 1: the one result is the mean squared difference of input and output; else the output's elements */
    float input_scale, output_scale;
    int32_t input_zero, output_zero;
};

extern const struct eembc_network eembc_network;
extern const struct eembc_model eembc_image_model;

/* False where the image is not for this firmware, or its RAM is not there. */
bool eembc_image_open(void);

#endif
