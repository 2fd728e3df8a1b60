/* SPDX-License-Identifier: Apache-2.0 */
/* A read of an empty pipe that a handled signal interrupts after 0.1 s, with SA_RESTART: handlers ACTION. Data comes
 * after 0.3 s. Prints the process id and what the read returned, as JSON.
 *
 * left: the handler leaves the read behind for good (siglongjmp), and a second one is made from the same place, whose
 * data is there. within: another signal, without SA_RESTART, is handled while the first handler runs. */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static sigjmp_buf place;
static int ends[2];

static void leave(int number)
{
    siglongjmp(place, number);
}

static void do_nothing(int number)
{
    (void)number;
}

static void raise_another(int number)
{
    (void)number;
    raise(SIGUSR1);
}

static void handle(int number, void (*handler)(int), int flags)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_handler = handler;
    action.sa_flags = flags;
    sigaction(number, &action, NULL);
}

static __attribute__((noinline)) long read_once(void)
{
    char room[100];
    struct iovec vector = {room, sizeof(room)};

    return readv(ends[0], &vector, 1);
}

static void write_later(void)
{
    struct timespec pause = {0, 300000000};

    if (fork())
        return;
    nanosleep(&pause, NULL);
    _exit(write(ends[1], "data", 4) != 4);
}

int main(int count, char **words)
{
    struct itimerval once = {{0, 0}, {0, 100000}};
    int leaves = count == 2 && !strcmp(words[1], "left");
    volatile int left = 0;
    struct timespec pause = {0, 400000000};
    long result;

    if (pipe(ends))
        return 1;
    handle(SIGUSR1, do_nothing, 0);
    handle(SIGALRM, leaves ? leave : raise_another, SA_RESTART);
    write_later();
    if (sigsetjmp(place, 1)) {
        left = 1;
        nanosleep(&pause, NULL);
    } else {
        setitimer(ITIMER_REAL, &once, NULL);
    }
    result = read_once();
    printf("{\"pid\": %d, \"result\": [%ld], \"left\": %d}", getpid(), result, left);
    return 0;
}
