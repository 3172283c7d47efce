/* Which system calls a place lets through: each number is called once, in a child of its own, with arguments that cannot
 * do anything. Prints a line for each: its number, then `0` (it returned), `E` and an errno, or `S` and a signal.
 *
 * Every argument is -1, no address, descriptor, length or set of flags that any call takes; the few that would wait,
 * make something, or answer ENOSYS to that have arguments of their own. None is called that takes no argument and acts
 * on the whole host (sync): it prints `-`. A filter that refuses shows as EPERM, ENOSYS or SIGSYS; so do a missing
 * capability (EPERM) and a call that this kernel has not (ENOSYS), and the reader of this output must know that.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LAST 469
#define SECONDS 1 /* for those that wait */

static int word;

/* -1 for all but the calls that would not fail, or would not show that they are there. */
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
    setsid(); /* no terminal to hang up; where this fails, that is so already */
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
        else if (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 255) /* 255: exit itself, asked for -1 */
            printf("%ld 0\n", number);
        else
            printf("%ld E%d\n", number, WEXITSTATUS(status));
    }
    return fflush(stdout) ? 1 : 0;
}
