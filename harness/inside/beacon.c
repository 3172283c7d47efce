/* beacon PATH WORD [PROGRAM ARGUMENT...]
 *
 * Writes the line "WORD <seconds of CLOCK_MONOTONIC>" to PATH (a character device, or a unix socket that it connects
 * to) in one write. Then it executes PROGRAM. Without PROGRAM it sleeps until SIGTERM with PATH open, so that the host
 * detects the end of the instance. It ignores all errors, because it may be PID 1, which must not exit.
 *
 * As /init, the first program of a guest, it is `beacon /dev/ttyS1 userspace /init.sh`. If that is no serial port, as
 * in a Xen guest, it writes to /dev/hvc1.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static int open_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int channel = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (channel < 0)
        return -1;
    if (strlen(path) < sizeof address.sun_path) {
        strcpy(address.sun_path, path);
        if (connect(channel, (struct sockaddr *)&address, sizeof address) == 0)
            return channel;
    }
    close(channel);
    return -1;
}

static int open_device(const char *path)
{
    /* O_NONBLOCK: an open of a serial port without carrier would block. O_NOCTTY: it must not become the terminal. */
    int channel = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct termios line;

    if (channel < 0)
        return -1;
    fcntl(channel, F_SETFL, 0);
    if (tcgetattr(channel, &line) == 0) {
        cfmakeraw(&line); /* a terminal would turn the newline into two bytes */
        line.c_cflag |= CLOCAL;
        line.c_cflag &= ~HUPCL;
        cfsetspeed(&line, B115200);
        tcsetattr(channel, TCSANOW, &line);
    }
    return channel;
}

static int announce(const char *path, const char *word)
{
    char text[128];
    struct stat kind;
    struct timespec now;
    int channel, length;

    if (stat(path, &kind) != 0)
        return -1;
    channel = S_ISSOCK(kind.st_mode) ? open_socket(path) : open_device(path);
    if (channel < 0)
        return -1;
    clock_gettime(CLOCK_MONOTONIC, &now);
    length = snprintf(text, sizeof text, "%.64s %lld.%09ld\n", word, (long long)now.tv_sec, now.tv_nsec);
    if (write(channel, text, length) != length) {
        close(channel);
        return -1;
    }
    return channel;
}

static void leave(int signal)
{
    (void)signal;
    _exit(0);
}

int main(int count, char **arguments)
{
    static char *as_init[] = {"/init", "/dev/ttyS1", "userspace", "/init.sh", NULL};

    if (strcmp(arguments[0], "/init") == 0) {
        arguments = as_init;
        count = 4;
    }
    if (count < 3)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    if (count == 3)
        signal(SIGTERM, leave);
    if (announce(arguments[1], arguments[2]) < 0 && arguments == as_init)
        announce("/dev/hvc1", arguments[2]);
    if (count > 3) {
        signal(SIGPIPE, SIG_DFL);
        execv(arguments[3], arguments + 3);
        if (getpid() != 1)
            return 127;
    }
    for (;;)
        pause();
}
