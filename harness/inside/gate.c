/* Test which system calls an instance allows: call each number once, in a child process, with harmless arguments.
 * Prints one line per number: the number, then `0` (it returned), `E` and an errno, or `S` and a signal.
 *
 * Every argument is -1, which is no valid address, descriptor, length or set of flags. The few calls that would block,
 * create something or return ENOSYS for -1 have other arguments. A call without arguments that acts on the whole host
 * (sync) is not made and prints `-`. A filter that denies a call shows as EPERM, ENOSYS or SIGSYS. A missing capability
 * also shows as EPERM, and a call that the kernel does not implement as ENOSYS.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LAST 469
#define SECONDS 1 /* for calls that block */

static int word;

/* -1 for all calls except those that would succeed, or that return ENOSYS for -1. */
static long call(long number) {
    switch (number) {
    case SYS_init_module: return syscall(number, NULL, 0L, NULL); /* no module is so short: ENOEXEC */
    case SYS_kill: return syscall(number, 0x7fffffffL, 0L);       /* no process has that number: ESRCH */
    case SYS_msgget: return syscall(number, 0x74617265L, 0L);     /* looked up, not made: ENOENT */
    case SYS_futex: return syscall(number, &word, 1L, 0L);        /* wakes nobody */
#ifdef SYS_modify_ldt
    case SYS_modify_ldt: return syscall(number, 0L, NULL, 0L);    /* reads nothing */
#endif
    default: return syscall(number, -1L, -1L, -1L, -1L, -1L, -1L);
    }
}

int main(void) {
    setsid(); /* without a controlling terminal vhangup has no effect; fails if this is already a session leader */
    for (long number = 0; number <= LAST; number++) {
        int status;
        if (number == SYS_sync) {
            printf("%ld -\n", number);
            continue;
        }
        fflush(stdout);
        pid_t child = fork();
        if (child < 0) return 1;
        if (child == 0) {
            alarm(SECONDS);
            errno = 0;
            long got = call(number);
            _exit(got == -1 && errno > 0 && errno < 255 ? errno : 0);
        }
        if (waitpid(child, &status, 0) != child) return 1;
        if (WIFSIGNALED(status))
            printf("%ld S%d\n", number, WTERMSIG(status));
        else if (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 255) /* 255: the call was exit(-1) */
            printf("%ld 0\n", number);
        else
            printf("%ld E%d\n", number, WEXITSTATUS(status));
    }
    return fflush(stdout) ? 1 : 0;
}
