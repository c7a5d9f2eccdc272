/* Running the model: so many times on what its inputs hold, or frame by frame as links bring and take tensors. */
#ifndef RUN_H
#define RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "catalogue.h"

struct run_figures {
    uint32_t done;
    uint64_t ticks;
    uint64_t least;
    uint64_t most;
    uint64_t waited; /* streaming: ticks between inferences */
};

/* `stream`: inputs and outputs go by the links. `runs` 0: until stopped (streaming only). */
enum code run_start(uint32_t runs, bool stream);
void run_stop(void);
bool run_active(void);
bool run_streaming(void);
const struct run_figures *run_figures(void);

/* One operator, if there is something to run; true when there was. */
bool run_poll(void);

/* True once after a run that was not streaming has ended. */
bool run_ended(void);

#endif
