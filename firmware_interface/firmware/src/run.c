#include "run.h"

#include <string.h>

#include "link.h"
#include "port.h"
#include "retained.h"
#include "runtime.h"

static struct {
    struct run_figures figures;
    uint32_t wanted;
    uint64_t began; /* of this inference */
    uint64_t ended; /* of the one before */
    bool active;
    bool stream;
    bool inside; /* an inference has begun */
    bool ended_flag;
} run;

enum code run_start(uint32_t runs, bool stream) {
    if (!stream && !runtime_loaded()) return CODE_WRONG_STATE;
    memset(&run, 0, sizeof run);
    run.wanted = runs;
    run.stream = stream;
    run.figures.least = UINT64_MAX;
    run.ended = port_ticks();
    run.active = true;
    if (!stream && runs == 0) return CODE_BAD_MESSAGE;
    return CODE_NONE;
}

void run_stop(void) {
    if (run.inside) port_trigger(false);
    runtime_restart();
    run.ended_flag = run.active && !run.stream;
    run.active = run.inside = false;
}

bool run_active(void) { return run.active; }

bool run_streaming(void) { return run.active && run.stream; }

const struct run_figures *run_figures(void) { return &run.figures; }

bool run_ended(void) {
    bool ended = run.ended_flag;
    run.ended_flag = false;
    return ended;
}

static bool begin(void) {
    if (run.stream && !link_take_inputs()) return false;
    run.began = port_ticks();
    run.inside = true;
    port_trigger(true);
    return true;
}

static void end(void) {
    uint64_t now = port_ticks();
    uint64_t ticks = now - run.began;
    port_trigger(false);
    run.inside = false;
    run.figures.waited += run.began - run.ended; /* only now, so that both sums end with an inference */
    run.ended = now;
    run.figures.done++;
    run.figures.ticks += ticks;
    if (ticks < run.figures.least) run.figures.least = ticks;
    if (ticks > run.figures.most) run.figures.most = ticks;
    if (run.stream) link_give_outputs();
    if (!run.stream && run.figures.done == run.wanted) {
        run.active = false;
        run.ended_flag = true;
    }
}

/* Not inlined, so that sizes by file stay true. */
__attribute__((noinline)) bool run_poll(void) {
    if (!run.active) return false;
    if (!run.inside) {
        if (run.wanted != 0 && run.figures.done == run.wanted) return false;
        if (!begin()) return false;
    }
    port_retained()->operator_now = runtime_operator();
    retained_phase(PHASE_OPERATOR);
    if (runtime_step()) end();
    return true;
}
