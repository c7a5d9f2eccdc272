#include "eembc.h"

#include <string.h>

#include "line.h"
#include "uart.h"

enum { PRINT_BYTES = 8 };

static struct {
    const struct eembc_model *model;
    char command[EEMBC_COMMAND + 1];
    uint32_t length;
    bool too_long;
    bool ready; /* `command` is whole and waits */
    char *next; /* behind the last word */
    uint32_t expected; /* bytes of `db load`; 0: none */
    uint32_t loaded;
    uint8_t input[EEMBC_INPUT];
    bool deaf; /* the line took nothing for a second: the rest of this answer is dropped */
} session;

/* Text out */

static void put(const char *text, uint32_t bytes) {
    if (!session.deaf) session.deaf = !uart_send(HOST_PORT, (const uint8_t *)text, bytes);
}

static void say(const char *text) { put(text, (uint32_t)strlen(text)); }

static void say_number(uint32_t value) {
    char digits[10];
    unsigned at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10u);
        value /= 10u;
    } while (value != 0);
    put(digits + at, (uint32_t)sizeof digits - at);
}

static void say_line(const char *text) {
    say(text);
    say("\r\n");
}

static void say_with_number(const char *before, uint32_t value, const char *after) {
    say(before);
    say_number(value);
    say_line(after);
}

static void say_in_brackets(const char *before, const char *text) {
    say(before);
    say(text);
    say_line("]");
}

/* What came over the line: nothing in it may end the line or confuse a terminal. */
static void say_received(const char *text) {
    for (; *text != 0; text++) put(*text < ' ' || *text > '~' ? "?" : text, 1);
}

/* Words in */

static char *word(void) {
    char *at = session.next;
    while (*at == ' ') at++;
    if (*at == 0) return 0;
    char *end = at;
    while (*end != 0 && *end != ' ') end++;
    session.next = *end == 0 ? end : end + 1;
    *end = 0;
    return at;
}

static bool number(const char *text, uint32_t *value) {
    uint32_t sum = 0;
    if (*text == 0) return false;
    for (; *text != 0; text++) {
        if (*text < '0' || *text > '9') return false;
        uint32_t digit = (uint32_t)(*text - '0');
        if (sum > (UINT32_MAX - digit) / 10u) return false;
        sum = sum * 10u + digit;
    }
    *value = sum;
    return true;
}

static int hex_digit(char character) {
    if (character >= '0' && character <= '9') return character - '0';
    if (character >= 'a' && character <= 'f') return character - 'a' + 10;
    if (character >= 'A' && character <= 'F') return character - 'A' + 10;
    return -1;
}

/* Take bytes until a command is whole. Line ends are what a terminal adds: a runner sends none. */
static bool collect(void) {
    uint8_t byte;
    port_poll();
    while (!session.ready && uart_take(HOST_PORT, &byte)) {
        if (byte == '%') {
            session.command[session.length] = 0;
            session.ready = true;
        } else if (byte == '\r' || byte == '\n') {
            continue;
        } else if (session.length < EEMBC_COMMAND) {
            session.command[session.length++] = byte == 0 ? '?' : (char)byte; /* a zero would end it */
        } else {
            session.too_long = true;
        }
    }
    return session.ready;
}

/* Commands */

static void say_lap(uint64_t ticks) { say_with_number("m-lap-us-", eembc_microseconds(ticks), ""); }

static void do_name(void) { say_in_brackets("m-name-dut-[", session.model->vendor); }

static void do_timestamp(void) { say_lap(port_ticks()); }

static void do_profile(void) {
    say_in_brackets("m-profile-[", session.model->profile);
    say_in_brackets("m-model-[", session.model->id);
}

static void do_results(void) {
    char text[EEMBC_FLOAT_TEXT];
    say("m-results-[");
    for (uint32_t i = 0; i < session.model->results; i++) {
        if (i != 0) say(",");
        eembc_float_text(text, session.model->result(i));
        say(text);
        port_watchdog_feed();
    }
    say_line("]");
}

static void db_load(void) {
    uint32_t bytes;
    const char *text = word();
    session.expected = session.loaded = 0;
    if (text == 0) {
        say_line("e-[Command 'db load' requires the # of bytes]");
    } else if (!number(text, &bytes) || bytes == 0 || bytes > EEMBC_INPUT) {
        say_with_number("e-[Command 'db load' takes 1 to ", EEMBC_INPUT, " bytes]");
    } else {
        session.expected = bytes;
        memset(session.input, 0, sizeof session.input);
        say_with_number("m-[Expecting ", bytes, " bytes]");
    }
}

static void db_print(void) {
    for (uint32_t i = 0; i < session.loaded; i++) {
        char text[3] = {"0123456789abcdef"[session.input[i] >> 4], "0123456789abcdef"[session.input[i] & 15], '-'};
        bool last = (i + 1u) % PRINT_BYTES == 0 || i + 1u == session.loaded;
        if (i % PRINT_BYTES == 0) say("m-buffer-");
        put(text, last ? 2 : 3);
        if (last) say_line("");
        port_watchdog_feed();
    }
}

/* All of it or nothing is taken. */
static void db_bytes(const char *hex) {
    uint32_t digits = (uint32_t)strlen(hex);
    if (session.expected == 0) {
        say_line("e-[Bytes without 'db load']");
    } else if (digits % 2u != 0) {
        say_line("e-[Insufficient number of hex digits]");
    } else if (digits / 2u > session.expected - session.loaded) {
        say_with_number("e-[More bytes than the ", session.expected, " of 'db load']");
    } else if (strspn(hex, "0123456789abcdefABCDEF") != digits) {
        say_line("e-[Invalid hex digit]");
    } else {
        for (uint32_t i = 0; i < digits; i += 2) {
            session.input[session.loaded++] = (uint8_t)(hex_digit(hex[i]) << 4 | hex_digit(hex[i + 1u]));
        }
        if (session.loaded == session.expected) say_line("m-load-done");
    }
}

static void do_db(void) {
    const char *what = word();
    if (what == 0) {
        say_line("e-[Command 'db' requires a subcommand]");
    } else if (strcmp(what, "load") == 0) {
        db_load();
    } else if (strcmp(what, "print") == 0) {
        db_print();
    } else {
        db_bytes(what);
    }
}

/* False when another command has come: a host that gave up need not wait for the end. */
static bool repeat(uint32_t count) {
    for (; count > 0; count--) {
        port_watchdog_feed();
        session.model->infer();
        if (collect()) return false;
    }
    return true;
}

/* The first lap is said when the second is known, so that the line takes no part of what is timed. */
static void infer(uint32_t count, uint32_t warmups) {
    session.model->load(session.input);
    say_with_number("m-warmup-start-", warmups, "");
    bool whole = repeat(warmups);
    if (whole) {
        say_line("m-warmup-done");
        say_with_number("m-infer-start-", count, "");
        (void)port_uart_drained(HOST_PORT);
        port_trigger(true);
        uint64_t began = port_ticks();
        whole = repeat(count);
        uint64_t ended = port_ticks();
        port_trigger(false);
        if (whole) {
            say_lap(began);
            say_lap(ended);
            say_line("m-infer-done");
            do_results();
        }
    }
    if (!whole) say_line("e-[Stopped by another command]");
}

static void do_infer(void) {
    uint32_t count = 1;
    uint32_t warmups = 10;
    const char *first = word();
    const char *second = first == 0 ? 0 : word();
    if (first != 0 && (!number(first, &count) || count == 0)) {
        say_line("e-[Inference iterations must be 1 to 4294967295]");
    } else if (second != 0 && !number(second, &warmups)) {
        say_line("e-[Inference warmups must be 0 to 4294967295]");
    } else if (session.loaded != session.expected) {
        say_line("e-[Input is not complete]");
    } else if (session.expected != 0 && session.expected != session.model->input_bytes) {
        say_with_number("e-[Input must have ", session.model->input_bytes, " bytes]");
    } else {
        infer(count, warmups);
    }
}

static void answer(void) {
    static const struct {
        const char *name;
        void (*act)(void);
    } commands[] = {
        {"name", do_name}, {"timestamp", do_timestamp}, {"profile", do_profile},
        {"db", do_db},     {"infer", do_infer},         {"results", do_results},
    };
    const char *name = word();
    if (name == 0) {
        say_line("e-[Empty command]");
        return;
    }
    for (unsigned i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            commands[i].act();
            return;
        }
    }
    say("e-[Unknown command: ");
    say_received(name);
    say_line("]");
}

static void end_answer(void) {
    say_line("m-ready");
    (void)port_uart_drained(HOST_PORT); /* on some ports this sends what is held back */
    session.deaf = false;
}

void eembc_open(const struct eembc_model *model) {
    memset(&session, 0, sizeof session);
    session.model = model;
    say_line("m-timestamp-mode-performance");
    do_timestamp();
    say_line("m-init-done");
    end_answer();
}

bool eembc_poll(void) {
    if (!collect()) return false;
    bool too_long = session.too_long;
    /* The next command may come in from here on; words of this one are used before that. */
    session.ready = session.too_long = false;
    session.length = 0;
    session.next = session.command;
    if (too_long) {
        say_with_number("e-[Command longer than ", EEMBC_COMMAND, " characters]");
    } else {
        answer();
    }
    end_answer();
    return true;
}
