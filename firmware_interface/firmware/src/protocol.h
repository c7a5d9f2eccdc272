/* Sessions, repeats and answers; what each request does stands in requests.c. */
#ifndef PROTOCOL_H
#define PROTOCOL_H

#include "frame.h"
#include "port.h"

/* A request's answer: a handler fills the payload and says type and length; the default is OK. */
struct answer {
    uint8_t type;
    uint32_t bytes;
    uint8_t *payload;
    bool later; /* the answer comes when the run has ended */
};

typedef enum code request_handler(const struct frame *request, struct answer *answer);

enum {
    REQUEST_FREE = 1,    /* needs no session */
    REQUEST_RUNNING = 2, /* may come while the model runs */
};

struct request {
    uint8_t type;
    uint8_t bytes; /* of the payload, at least */
    uint8_t more;  /* the payload may be longer */
    uint8_t rules;
    request_handler *handle;
};

extern const struct request requests[];
extern const uint8_t request_count;

void protocol_open(uint8_t cause);

/* Baud fallback, answers that come later; true when something was done. */
bool protocol_poll(void);

/* For the handlers. */
uint8_t protocol_cause(void);
uint32_t protocol_baud(void);
enum code protocol_attach(uint64_t lease, uint16_t session);

/* After the answer has left. */
void protocol_reset_after(uint8_t how);
void protocol_baud_after(uint32_t baud);

/* Forget model, links and runs. */
void requests_reset(void);

/* The payload of RAN. */
uint32_t requests_ran(uint8_t *payload);

#endif
