/* Usage: board [--uid HEX] [--nor FILE] [--cut-after N] [--max-baud N] [--uart N=unix:PATH|tcp:PORT|pty]...
 *
 * A UART on a socket listens; one peer at a time, and another may come when it has gone. A reset executes the program
 * again with the same open files, so that memory is fresh, lines stay and the process keeps its number.
 *   --nor        the slot's memory, kept between runs
 *   --cut-after  the power goes (exit 70) at slot operation N, which is left half done
 *   --max-baud   a line that garbles what goes faster */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "port.h"
#include "retained.h"
#include "uart.h"

#include "../nor_ram.h"

/* What the limit leaves. */
enum { ARENA_BYTES = (LIMIT_RAM_BYTES - BOARD_STACK_BYTES - sizeof uart_rings) & ~15u };
_Static_assert(ARENA_BYTES < LIMIT_RAM_BYTES, "LIMIT_RAM_BYTES is below what the board itself takes");

enum { EXIT_USAGE = 64, EXIT_SYSTEM = 71, EXIT_POWER_CUT = 70, IDLE_MS = 20 };

static struct {
    struct nor_ram *nor;
    struct retained *kept;
    struct timespec began;
    const char *uid;
    unsigned long cut_after;
    unsigned long max_baud;
    unsigned long operations;
    char **arguments;
    volatile bool warned;
} process = {.uid = "00000000"};

struct line {
    int listener;
    int peer;
    uint32_t baud;
    uint8_t out[4096];
    size_t held;
};

static struct line lines[BOARD_PORTS];
static _Alignas(16) uint8_t arena[ARENA_BYTES];

static void fail(const char *what) {
    perror(what);
    exit(EXIT_SYSTEM);
}

/* Open files over a reset are told to the next life by their numbers in the environment. */
static int kept_file(const char *name, unsigned index) {
    char key[32];
    (void)snprintf(key, sizeof key, "BOARD_%s_%u", name, index);
    const char *text = getenv(key);
    return text == 0 ? -1 : atoi(text);
}

static void keep_file(const char *name, unsigned index, int file) {
    char key[32];
    char text[16];
    (void)snprintf(key, sizeof key, "BOARD_%s_%u", name, index);
    (void)snprintf(text, sizeof text, "%d", file);
    if (file < 0 ? unsetenv(key) : setenv(key, text, 1)) fail("environment");
}

static void open_memories(const char *nor_path) {
    int kept = kept_file("KEPT", 0);
    int nor = kept_file("NOR", 0);
    if (kept < 0) {
        kept = memfd_create("retained", 0);
        nor = nor_path == 0 ? memfd_create("nor", 0) : open(nor_path, O_RDWR | O_CREAT, 0600);
        if (kept < 0 || nor < 0 || ftruncate(kept, sizeof(struct retained)) || ftruncate(nor, sizeof(struct nor_ram))) {
            fail(nor_path == 0 ? "memory" : nor_path);
        }
        keep_file("KEPT", 0, kept);
        keep_file("NOR", 0, nor);
    }
    process.kept = mmap(0, sizeof(struct retained), PROT_READ | PROT_WRITE, MAP_SHARED, kept, 0);
    process.nor = mmap(0, sizeof(struct nor_ram), PROT_READ | PROT_WRITE, MAP_SHARED, nor, 0);
    if (process.kept == MAP_FAILED || process.nor == MAP_FAILED) fail("mmap");
}

static int listen_unix(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        fail(path);
    }
    memcpy(address.sun_path, path, strlen(path));
    (void)unlink(path);
    int file = socket(AF_UNIX, SOCK_STREAM, 0);
    if (file < 0 || bind(file, (struct sockaddr *)&address, sizeof address) || listen(file, 1)) fail(path);
    return file;
}

static int listen_tcp(const char *text) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    int one = 1;
    address.sin_port = htons((uint16_t)strtoul(text, 0, 10));
    int file = socket(AF_INET, SOCK_STREAM, 0);
    if (file < 0 || setsockopt(file, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ||
        bind(file, (struct sockaddr *)&address, bytes) || listen(file, 1) ||
        getsockname(file, (struct sockaddr *)&address, &bytes)) {
        fail("tcp");
    }
    (void)printf("tcp %u\n", ntohs(address.sin_port));
    return file;
}

static int open_pty(void) {
    struct termios settings;
    int file = posix_openpt(O_RDWR | O_NOCTTY);
    if (file < 0 || grantpt(file) || unlockpt(file) || tcgetattr(file, &settings)) fail("pty");
    cfmakeraw(&settings);
    if (tcsetattr(file, TCSANOW, &settings)) fail("pty");
    (void)printf("pty %s\n", ptsname(file));
    return file;
}

static void open_line(const char *text) {
    unsigned port = (unsigned)(text[0] - '0');
    if (port >= BOARD_PORTS || text[1] != '=') exit(EXIT_USAGE);
    const char *where = text + 2;
    struct line *line = &lines[port];
    line->listener = kept_file("LISTENER", port);
    line->peer = kept_file("PEER", port);
    if (line->listener >= 0 || line->peer >= 0) return;
    if (strncmp(where, "unix:", 5) == 0) {
        line->listener = listen_unix(where + 5);
    } else if (strncmp(where, "tcp:", 4) == 0) {
        line->listener = listen_tcp(where + 4);
    } else if (strcmp(where, "pty") == 0) {
        line->peer = open_pty();
    } else {
        exit(EXIT_USAGE);
    }
}

/* The first time-out since the last feed is a warning: time goes on for a process that is kept from running. */
static void on_signal(int number, siginfo_t *info, void *context) {
    (void)context;
    bool watchdog = number == SIGALRM;
    if (watchdog && !process.warned) {
        port_watchdog_feed();
        process.warned = true;
        return;
    }
    retained_fault(watchdog ? FAULT_WATCHDOG : FAULT_EXCEPTION, 0, 0, (uint32_t)number,
                   watchdog ? 0 : (uint32_t)(uintptr_t)info->si_addr);
}

static void take_signals(void) {
    static const int numbers[] = {SIGALRM, SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, 0);
    for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++) (void)sigaction(numbers[i], &action, 0);
    (void)signal(SIGPIPE, SIG_IGN);
}

/* Before main(): what a real board's hardware does. */
__attribute__((constructor)) static void power(int count, char **arguments) {
    const char *nor = 0;
    process.arguments = arguments;
    for (unsigned port = 0; port < BOARD_PORTS; port++) lines[port].listener = lines[port].peer = -1;
    for (int i = 1; i < count; i += 2) {
        if (i + 1 == count) exit(EXIT_USAGE);
        const char *value = arguments[i + 1];
        if (strcmp(arguments[i], "--uid") == 0) {
            process.uid = value;
        } else if (strcmp(arguments[i], "--nor") == 0) {
            nor = value;
        } else if (strcmp(arguments[i], "--cut-after") == 0) {
            process.cut_after = strtoul(value, 0, 10);
        } else if (strcmp(arguments[i], "--max-baud") == 0) {
            process.max_baud = strtoul(value, 0, 10);
        } else if (strcmp(arguments[i], "--uart") == 0) {
            open_line(value);
        } else {
            exit(EXIT_USAGE);
        }
    }
    if (strlen(process.uid) > 32) exit(EXIT_USAGE);
    open_memories(nor);
    take_signals();
    (void)printf("ready\n");
    (void)fflush(stdout);
}

void port_start(void) { (void)clock_gettime(CLOCK_MONOTONIC, &process.began); }

uint64_t port_ticks(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)(now.tv_sec - process.began.tv_sec) * BOARD_TICK_HZ + (uint64_t)now.tv_nsec -
           (uint64_t)process.began.tv_nsec;
}

static void close_peer(struct line *line) {
    (void)close(line->peer);
    line->peer = -1;
    line->held = 0;
}

static void flush(struct line *line) {
    size_t sent = 0;
    while (sent < line->held && line->peer >= 0) {
        ssize_t count = write(line->peer, line->out + sent, line->held - sent);
        if (count > 0) {
            sent += (size_t)count;
        } else if (errno == EAGAIN || errno == EINTR) {
            struct pollfd wait = {.fd = line->peer, .events = POLLOUT};
            if (poll(&wait, 1, 100) == 0) break;
        } else if (line->listener >= 0) {
            close_peer(line);
        } else {
            break; /* nobody has the terminal open */
        }
    }
    if (line->peer < 0 || sent >= line->held) sent = line->held;
    memmove(line->out, line->out + sent, line->held - sent);
    line->held -= sent;
}

bool port_uart_open(uint8_t port, uint32_t baud) {
    uart_empty(port);
    lines[port].baud = baud;
    return baud >= BOARD_BAUD_LEAST && baud <= BOARD_BAUD_MOST;
}

bool port_uart_can_send(uint8_t port) {
    struct line *line = &lines[port];
    if (line->held == sizeof line->out) flush(line);
    return line->held < sizeof line->out;
}

static bool garbled(const struct line *line) { return process.max_baud != 0 && line->baud > process.max_baud; }

void port_uart_put(uint8_t port, uint8_t byte) {
    struct line *line = &lines[port];
    if (line->peer >= 0) line->out[line->held++] = garbled(line) ? (uint8_t)(byte ^ 0x5A) : byte;
    if (byte == 0) flush(line);
}

bool port_uart_drained(uint8_t port) {
    flush(&lines[port]);
    return lines[port].held == 0;
}

static void receive(uint8_t port) {
    struct line *line = &lines[port];
    uint8_t bytes[1024];
    ssize_t count = read(line->peer, bytes, sizeof bytes);
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) {
        if (line->listener >= 0) close_peer(line);
        return;
    }
    for (ssize_t i = 0; i < count; i++) uart_received(port, garbled(line) ? bytes[i] ^ 0x5A : bytes[i]);
}

static void accept_peer(struct line *line) {
    int one = 1;
    line->peer = accept4(line->listener, 0, 0, SOCK_NONBLOCK);
    if (line->peer >= 0) (void)setsockopt(line->peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void wait_for_lines(int timeout_ms) {
    struct pollfd wait[BOARD_PORTS];
    for (unsigned i = 0; i < BOARD_PORTS; i++) {
        /* A UART's bytes that find no room are lost; a socket's wait, as QEMU's do. */
        bool room = uart_rings[i].head - uart_rings[i].tail <= BOARD_RING_BYTES - 1024u;
        wait[i].fd = lines[i].peer >= 0 ? (room ? lines[i].peer : -1) : lines[i].listener;
        wait[i].events = POLLIN;
        wait[i].revents = 0;
    }
    if (poll(wait, BOARD_PORTS, timeout_ms) <= 0) return;
    for (uint8_t i = 0; i < BOARD_PORTS; i++) {
        if ((wait[i].revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
        if (lines[i].peer >= 0) {
            receive(i);
        } else {
            accept_peer(&lines[i]);
        }
    }
}

void port_poll(void) { wait_for_lines(0); }

void port_idle(void) {
    bool only_terminals = true;
    for (unsigned i = 0; i < BOARD_PORTS; i++) only_terminals = only_terminals && lines[i].listener < 0;
    if (only_terminals) (void)usleep(1000); /* a terminal that nobody has open is always ready */
    wait_for_lines(IDLE_MS);
}

void port_watchdog_start(void) { port_watchdog_feed(); }

void port_watchdog_feed(void) {
    const struct itimerval period = {.it_value = {.tv_sec = BOARD_WATCHDOG_MS / 1000}};
    (void)setitimer(ITIMER_REAL, &period, 0);
    process.warned = false;
}

_Noreturn void port_reset(void) {
    const struct itimerval off = {.it_value = {.tv_sec = 0}};
    (void)setitimer(ITIMER_REAL, &off, 0);
    for (unsigned port = 0; port < BOARD_PORTS; port++) {
        keep_file("LISTENER", port, lines[port].listener);
        keep_file("PEER", port, lines[port].peer);
    }
    (void)execv("/proc/self/exe", process.arguments);
    fail("exec");
    abort();
}

_Noreturn void port_hang(void) {
    for (;;) (void)pause();
}

void port_crash(void) { (void)raise(SIGSEGV); }

uint8_t port_reset_cause(void) { return 0; }

struct retained *port_retained(void) { return process.kept; }

void port_memory(struct port_memory *memory) {
    *memory = (struct port_memory){
        .ram_limit = LIMIT_RAM_BYTES,
        .bss = sizeof uart_rings, /* the rest is the host's affair */
        .stack = BOARD_STACK_BYTES,
        .flash_limit = LIMIT_FLASH_BYTES,
        .arena = arena,
        .arena_bytes = sizeof arena,
    };
}

const char *port_uid(void) { return process.uid; }

void port_trigger(bool on) { (void)on; }

const uint8_t *port_slot_header(void) { return process.nor->header; }

const uint8_t *port_slot_data(void) { return process.nor->data; }

bool port_slot_erase(const uint8_t *sector) { return nor_ram_erase(process.nor, sector); }

bool port_slot_program(const uint8_t *at, const uint8_t *data, uint32_t bytes) {
    return nor_ram_program(process.nor, at, data, bytes);
}

void nor_ram_operation(void) {
    process.operations++;
    if (process.operations == process.cut_after) _exit(EXIT_POWER_CUT);
}
