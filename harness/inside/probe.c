/* Small benchmarks of kernel entry and memory, for rates that no packaged tool measures with explicit sizes.
 * One thread, time-bounded; prints `name=value` lines in base units (1/s, s, bytes/s).
 *
 *   probe MODE --seconds=S [--mib=M] [--pages=small|huge] [--drag=SHARE]
 *
 *   spin      one chain of dependent integer operations; memory and SMT siblings hardly affect it
 *   syscall   getppid by syscall(2)
 *   pipe      two processes on one CPU pass one byte back and forth: two context switches per round trip
 *   exec      vfork, execve of this static binary, wait
 *   fork      fork, _exit, wait, of a process with M MiB of written memory
 *   fault     first write to each page of M MiB of anonymous memory
 *   munmap    munmap of M MiB of written memory; only munmap is timed
 *   mprotect  mprotect of M MiB of written memory to read-only and back
 *   stream    copy, scale, add and triad over three arrays of M MiB (bytes counted as STREAM counts them)
 *   chase     dependent loads, one per cache line, along one random cycle through M MiB
 *   gups      updates of random words of M MiB (a power of two), as RandomAccess of the HPC Challenge makes them
 *   linpack   a dense system of equations that fills M MiB, solved by LU factorization with partial pivoting
 *
 * `--pages` selects small pages (MADV_NOHUGEPAGE) or huge pages, regardless of the kernel's default.
 * `--drag` makes `spin` slower by a known amount: after each batch it idles for SHARE of the batch's time before it
 * reads the clock, and prints the total idle time (`dragged`).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINE 64

static double seconds = 1, drag = 0;
static size_t bytes = 0, page = 4096;
static int advice = MADV_NOHUGEPAGE;
static const char *self;

static void die(const char *what) {
    fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void rate(const char *what, double count, double elapsed) {
    if (!(elapsed > 0) || !(count > 0)) die("nothing was measured");
    printf("operations=%.0f\nelapsed=%.9f\n%s_per_second=%.6f\nseconds_per_%s=%.12f\n", count, elapsed, what,
           count / elapsed, what, elapsed / count);
}

/* Short operations are counted in batches, so that the overhead of reading the clock is negligible. */
#define TIMED(batch, count, elapsed, operation)             \
    do {                                                    \
        double begin = now(), end = begin;                  \
        do {                                                \
            for (int i_ = 0; i_ < (batch); i_++) operation; \
            (count) += (batch);                             \
            end = now();                                    \
        } while (end - begin < seconds);                    \
        (elapsed) = end - begin;                            \
    } while (0)

static char *map(size_t length) {
    char *area = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED) die("mmap");
    /* EINVAL: a kernel without huge pages uses small pages anyway. */
    if (madvise(area, length, advice) && !(errno == EINVAL && advice == MADV_NOHUGEPAGE)) die("madvise");
    return area;
}

static void touch(char *area, size_t length) {
    for (size_t at = 0; at < length; at += page) ((volatile char *)area)[at] = 1;
}

static char *written(size_t length) {
    char *area = map(length);
    touch(area, length);
    return area;
}

static void reap(pid_t child) {
    int status;
    if (child < 0) die("fork");
    if (waitpid(child, &status, 0) != child) die("waitpid");
    if (status != 0) { errno = ECHILD; die("a child failed"); }
}

static void probe_syscall(void) {
    double count = 0, elapsed;
    TIMED(1000, count, elapsed, syscall(SYS_getppid));
    rate("syscall", count, elapsed);
}

static void pin(void) {
    cpu_set_t set, one;
    CPU_ZERO(&set);
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof set, &set)) die("sched_getaffinity");
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set)) { CPU_SET(cpu, &one); break; }
    if (sched_setaffinity(0, sizeof one, &one)) die("sched_setaffinity");
}

static void exchange(int to, int from) {
    char byte = 0;
    if (write(to, &byte, 1) != 1 || read(from, &byte, 1) != 1) die("pipe");
}

static void probe_pipe(void) {
    int there[2], back[2];
    double trips = 0, elapsed;
    char byte;
    pin();
    if (pipe(there) || pipe(back)) die("pipe");
    pid_t child = fork();
    if (child == 0) {
        close(there[1]);
        while (read(there[0], &byte, 1) == 1)
            if (write(back[1], &byte, 1) != 1) _exit(1);
        _exit(0);
    }
    TIMED(100, trips, elapsed, exchange(there[1], back[0]));
    close(there[1]);
    reap(child);
    rate("switch", 2 * trips, elapsed);
}

static void run_self(void) {
    char *argv[] = {(char *)self, "exit", NULL}, *environment[] = {NULL};
    pid_t child = vfork();
    if (child == 0) {
        execve(self, argv, environment);
        _exit(127);
    }
    reap(child);
}

static void probe_exec(void) {
    double count = 0, elapsed;
    TIMED(1, count, elapsed, run_self());
    rate("exec", count, elapsed);
}

static void fork_once(void) {
    pid_t child = fork();
    if (child == 0) _exit(0);
    reap(child);
}

static void probe_fork(void) {
    double count = 0, elapsed;
    written(bytes);
    TIMED(1, count, elapsed, fork_once());
    rate("fork", count, elapsed);
}

static uint64_t draw(uint64_t *state) { /* xorshift64: Marsaglia 2003, "Xorshift RNGs" */
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static void probe_spin(void) {
    enum { BATCH = 20000 };
    uint64_t state = 88172645463325252ull;
    double count = 0, dragged = 0, begin = now(), end = begin;
    do {
        for (int i = 0; i < BATCH; i++) draw(&state);
        __asm__ volatile("" : "+r"(state)); /* prevents the compiler from removing the computation */
        double worked = now(), until = worked + drag * (worked - end);
        for (end = worked; end < until;) end = now();
        dragged += end - worked;
        count += BATCH;
    } while (end - begin < seconds);
    printf("dragged=%.9f\n", dragged);
    rate("spin", count, end - begin);
}

/* Rounds until `seconds` have passed in total; only the named part is timed. */
static void probe_pages(int unmap) {
    double pages = 0, elapsed = 0, start = now();
    do {
        char *area = map(bytes);
        double begin = now();
        touch(area, bytes);
        double middle = now();
        if (munmap(area, bytes)) die("munmap");
        elapsed += unmap ? now() - middle : middle - begin;
        pages += (double)(bytes / page);
    } while (now() - start < seconds);
    rate(unmap ? "page" : "fault", pages, elapsed);
}

static void probe_mprotect(void) {
    char *area = written(bytes);
    double calls = 0, elapsed;
    TIMED(1, calls, elapsed,
          if (mprotect(area, bytes, PROT_READ) || mprotect(area, bytes, PROT_READ | PROT_WRITE)) die("mprotect"));
    rate("page", calls * 2 * (double)(bytes / page), elapsed);
}

static void probe_stream(void) {
    size_t n = bytes / sizeof(double);
    double *restrict a = (double *)map(bytes), *restrict b = (double *)map(bytes), *restrict c = (double *)map(bytes);
    double spent[4] = {0}, rounds = 0;
    for (size_t i = 0; i < n; i++) { a[i] = 1; b[i] = 2; c[i] = 0; }
    double start = now(), at[5];
    do {
        at[0] = now();
        /* A plain loop: memcpy of the C library selects its stores by the cache size that CPUID reports. */
        for (size_t i = 0; i < n; i++) {
            c[i] = a[i];
            __asm__ volatile("" ::: "memory");
        }
        at[1] = now();
        for (size_t i = 0; i < n; i++) b[i] = 0.5 * c[i];
        __asm__ volatile("" ::: "memory"); /* prevents the compiler from fusing the loops */
        at[2] = now();
        for (size_t i = 0; i < n; i++) c[i] = a[i] + b[i];
        __asm__ volatile("" ::: "memory");
        at[3] = now();
        for (size_t i = 0; i < n; i++) a[i] = b[i] + 0.25 * c[i];
        __asm__ volatile("" ::: "memory");
        at[4] = now();
        for (int k = 0; k < 4; k++) spent[k] += at[k + 1] - at[k];
        rounds++;
    } while (now() - start < seconds);
    const char *names[] = {"copy", "scale", "add", "triad"};
    const double arrays[] = {2, 2, 3, 3};
    printf("rounds=%.0f\nchecksum=%.9f\n", rounds, a[n / 2]);
    for (int k = 0; k < 4; k++)
        printf("%s_bytes_per_second=%.0f\n", names[k], arrays[k] * (double)bytes * rounds / spent[k]);
}

static void probe_chase(void) {
    size_t lines = bytes / LINE;
    char *area = written(bytes);
    uint64_t state = 88172645463325252ull;
    double loads = 0, elapsed;
    for (size_t i = 0; i < lines; i++) *(size_t *)(area + i * LINE) = i;
    for (size_t i = lines - 1; i > 0; i--) { /* Sattolo's shuffle: a single cycle through all lines */
        size_t j = draw(&state) % i, *x = (size_t *)(area + i * LINE), *y = (size_t *)(area + j * LINE), swap = *x;
        *x = *y;
        *y = swap;
    }
    volatile size_t sink;
    size_t at = 0;
    TIMED(10000, loads, elapsed, at = *(volatile size_t *)(area + at * LINE));
    sink = at;
    (void)sink;
    rate("load", loads, elapsed);
}

/* The generator and the update are those of HPC Challenge's RandomAccess: 128 streams over x^64 + x^2 + x + 1. */
static void probe_gups(void) {
    enum { STREAMS = 128 };
    if (bytes & (bytes - 1)) { errno = EINVAL; die("--mib"); }
    uint64_t *table = (uint64_t *)written(bytes), streams[STREAMS], mask = bytes / sizeof *table - 1;
    double updates = 0, elapsed;
    for (uint64_t i = 0; i < STREAMS; i++) streams[i] = (i + 1) * 0x9e3779b97f4a7c15u;
    TIMED(100000, updates, elapsed, {
        uint64_t *one = &streams[i_ % STREAMS];
        *one = *one << 1 ^ ((int64_t)*one < 0 ? 7 : 0);
        table[*one & mask] ^= *one;
    });
    rate("update", updates, elapsed);
}

/* By columns, as LINPACK's dgefa; the last column of `a` is the right-hand side and becomes the solution. */
static void solve(double *a, size_t n) {
    for (size_t k = 0; k < n; k++) {
        double *pivots = a + k * n;
        size_t best = k;
        for (size_t i = k + 1; i < n; i++)
            if (pivots[i] * pivots[i] > pivots[best] * pivots[best]) best = i;
        double swap = pivots[k], pivot = pivots[best];
        pivots[best] = swap, pivots[k] = pivot;
        for (size_t i = k + 1; i < n; i++) pivots[i] /= pivot;
        for (size_t j = k + 1; j <= n; j++) {
            double *column = a + j * n, factor = column[best];
            column[best] = column[k], column[k] = factor;
            for (size_t i = k + 1; i < n; i++) column[i] -= factor * pivots[i];
        }
    }
    double *x = a + n * n;
    for (size_t k = n; k-- > 0;) {
        x[k] /= a[k * n + k];
        for (size_t i = 0; i < k; i++) x[i] -= x[k] * a[k * n + i];
    }
}

/* The right-hand side is the sum of the columns, so that the solution is all ones. Only the solver is timed. */
static void probe_linpack(void) {
    size_t n = 1;
    while ((n + 1) * (n + 2) * sizeof(double) <= bytes) n++;
    double *a = (double *)written(bytes), size = (double)n, flops = 0, elapsed = 0;
    do {
        uint64_t random = 1;
        memset(a + n * n, 0, n * sizeof *a);
        for (size_t at = 0; at < n * n; at++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            a[at] = (double)(random >> 40) * 0x1p-24 - 0.5;
            a[n * n + at % n] += a[at];
        }
        double begin = now();
        solve(a, n);
        elapsed += now() - begin;
        flops += size * size * (2 * size / 3 + 2);
        for (size_t i = 0; i < n; i++)
            if (!(a[n * n + i] > 0.999999 && a[n * n + i] < 1.000001)) { errno = EDOM; die("a wrong solution"); }
    } while (elapsed < seconds);
    rate("flop", flops, elapsed);
}

static void options(int argc, char **argv) {
    static const struct option known[] = {{"seconds", required_argument, NULL, 's'},
                                          {"mib", required_argument, NULL, 'm'},
                                          {"pages", required_argument, NULL, 'p'},
                                          {"drag", required_argument, NULL, 'd'},
                                          {NULL, 0, NULL, 0}};
    char *rest = "";
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        errno = EINVAL;
        if (option == 's') {
            seconds = strtod(optarg, &rest);
            if (*rest || !(seconds > 0) || seconds > 3600) die("--seconds");
        } else if (option == 'm') {
            bytes = (size_t)strtoul(optarg, &rest, 10) << 20;
            if (*rest || bytes == 0 || bytes > (size_t)1 << 40) die("--mib");
        } else if (option == 'p') {
            if (strcmp(optarg, "small") && strcmp(optarg, "huge")) die("--pages");
            advice = strcmp(optarg, "huge") ? MADV_NOHUGEPAGE : MADV_HUGEPAGE;
        } else if (option == 'd') {
            drag = strtod(optarg, &rest);
            if (*rest || !(drag >= 0) || drag > 1) die("--drag");
        } else
            exit(2);
    }
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "exit")) return 0;
    self = "/proc/self/exe";
    page = (size_t)sysconf(_SC_PAGESIZE);
    options(argc, argv);
    static const struct { const char *name; int sized; } modes[] = {
        {"spin", 0}, {"syscall", 0}, {"pipe", 0}, {"exec", 0}, {"fork", 1}, {"fault", 1}, {"munmap", 1}, {"mprotect", 1},
        {"stream", 1}, {"chase", 1}, {"gups", 1}, {"linpack", 1}};
    int found = -1;
    for (int i = 0; i < 12; i++)
        if (!strcmp(mode, modes[i].name)) found = i;
    if (found < 0 || (modes[found].sized && bytes == 0)) {
        fprintf(stderr, "probe: usage: probe MODE --seconds=S [--mib=M] [--pages=small|huge] [--drag=SHARE]\n");
        return 2;
    }
    switch (found) {
    case 0: probe_spin(); break;
    case 1: probe_syscall(); break;
    case 2: probe_pipe(); break;
    case 3: probe_exec(); break;
    case 4: probe_fork(); break;
    case 5: probe_pages(0); break;
    case 6: probe_pages(1); break;
    case 7: probe_mprotect(); break;
    case 8: probe_stream(); break;
    case 9: probe_chase(); break;
    case 10: probe_gups(); break;
    default: probe_linpack(); break;
    }
    return fflush(stdout) ? 1 : 0;
}
