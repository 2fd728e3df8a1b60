/* SPDX-License-Identifier: Apache-2.0 */
/* Workloads for probe_cost.py: loops KIND PATH OPERATIONS; prints operations done and nanoseconds taken.
 * In C, because an interpreter's own time would hide what a probe adds. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static char buffer[1 << 16] __attribute__((aligned(4096)));
static volatile char sink;

static long long now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void reads(int file, long operations, off_t size, size_t step)
{
    for (long i = 0; i < operations; i++)
        if (pread(file, buffer, step, (off_t)step * i % size) < 0)
            exit(1);
}

/* Nobody asked for this call: what it costs is the price that every program pays. */
static void other_calls(long operations)
{
    for (long i = 0; i < operations; i++)
        syscall(SYS_getppid);
}

/* Touches each page; without read-ahead, so that each page that is on disk is a fault of its own. */
static void faults(int file, long operations, off_t size)
{
    char *map = mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0);

    if (map == MAP_FAILED)
        exit(1);
    madvise(map, size, MADV_RANDOM);
    for (long i = 0; i < operations; i++)
        sink = map[i * 4096 % size];
}

int main(int count, char **words)
{
    const char *kind = count == 4 ? words[1] : "";
    int file = count == 4 ? open(words[2], O_RDONLY) : -1;
    long operations = count == 4 ? atol(words[3]) : 0;
    struct stat about;
    long long begin;

    if (file < 0 || fstat(file, &about) || about.st_size < 65536)
        return 1;
    begin = now();
    if (!strcmp(kind, "same"))
        reads(file, operations, 512, 512);
    else if (!strcmp(kind, "pages"))
        reads(file, operations, about.st_size, 4096);
    else if (!strcmp(kind, "blocks"))
        reads(file, operations, about.st_size, 65536);
    else if (!strcmp(kind, "calls"))
        other_calls(operations);
    else if (!strcmp(kind, "faults"))
        faults(file, operations, about.st_size);
    else
        return 1;
    printf("%ld %lld\n", operations, now() - begin);
    return 0;
}
