/* SPDX-License-Identifier: Apache-2.0 */
/* Workloads of the benches: loops KIND PATH OPERATIONS THREADS; prints the nanoseconds on a processor of one operation
 * (what others do on it meanwhile does not count). With 0 threads it does OPERATIONS for each line that it reads, in
 * pieces, and prints the nanoseconds of one operation in the fastest piece: what disturbs only adds, and a piece is
 * short enough to be left in peace. In C, because an interpreter's own time would hide what a probe adds. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static __thread char buffer[1 << 16] __attribute__((aligned(4096)));
static volatile char sink;

#define PIECE 1000

static long long own_time(void)
{
    struct timespec time;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void reads(int file, long operations, off_t size, size_t step)
{
    for (long i = 0; i < operations; i++)
        if (pread(file, buffer, step, (off_t)step * i % size) < 0)
            exit(1);
}

/* As many reads of a file that is in no page cache that anybody looks up (tmpfs): its type has to be found otherwise. */
static void reads_in_memory(long operations)
{
    int file = memfd_create("memory", 0);

    if (file < 0 || write(file, buffer, 4096) != 4096)
        exit(1);
    reads(file, operations, 512, 512);
    close(file);
}

/* What goes nowhere takes the kernel next to no time, so that what is added shows best. */
static void writes_to_null(long operations)
{
    int nowhere = open("/dev/null", O_WRONLY);

    for (long i = 0; i < operations; i++)
        if (write(nowhere, buffer, 64) < 0)
            exit(1);
    close(nowhere);
}

/* This call is not followed: its cost is what every program pays. */
static void other_calls(long operations)
{
    for (long i = 0; i < operations; i++)
        syscall(SYS_getppid);
}

/* What busy servers do all the time: short calls, every second one with a file. */
static void mixed_calls(long operations)
{
    int nowhere = open("/dev/null", O_WRONLY);

    for (long i = 0; i < operations; i++)
        if (i % 2)
            syscall(SYS_getppid);
        else if (write(nowhere, buffer, 64) < 0)
            exit(1);
    close(nowhere);
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

/* Takes memory page by page, as a heap that grows does. */
static void fresh(long operations)
{
    for (long i = 0; i < operations;) {
        char *map = mmap(NULL, 4096 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (map == MAP_FAILED)
            exit(1);
        madvise(map, 4096 * 4096, MADV_NOHUGEPAGE);
        for (long page = 0; page < 4096 && i < operations; page++, i++)
            map[page * 4096] = 1;
        munmap(map, 4096 * 4096);
    }
}

struct job {
    const char *kind;
    int file;
    long operations;
    off_t size;
    pthread_barrier_t *begin;
};

static void work(const struct job *job)
{
    if (!strcmp(job->kind, "same"))
        reads(job->file, job->operations, 512, 512);
    else if (!strcmp(job->kind, "pages"))
        reads(job->file, job->operations, job->size, 4096);
    else if (!strcmp(job->kind, "blocks"))
        reads(job->file, job->operations, job->size, 65536);
    else if (!strcmp(job->kind, "memory"))
        reads_in_memory(job->operations);
    else if (!strcmp(job->kind, "null"))
        writes_to_null(job->operations);
    else if (!strcmp(job->kind, "calls"))
        other_calls(job->operations);
    else if (!strcmp(job->kind, "mix"))
        mixed_calls(job->operations);
    else if (!strcmp(job->kind, "faults"))
        faults(job->file, job->operations, job->size);
    else if (!strcmp(job->kind, "fresh"))
        fresh(job->operations);
    else
        exit(1);
}

static void *thread(void *argument)
{
    const struct job *job = argument;
    long long begin;

    pthread_barrier_wait(job->begin);
    begin = own_time();
    work(job);
    return (void *)(own_time() - begin);
}

/* Nanoseconds of all threads. */
static long long together(struct job *job, int threads)
{
    pthread_barrier_t begin;
    pthread_t started[64];
    long long sum = 0;
    void *taken;

    pthread_barrier_init(&begin, NULL, threads);
    job->begin = &begin;
    for (int i = 0; i < threads; i++)
        if (pthread_create(&started[i], NULL, thread, job))
            exit(1);
    for (int i = 0; i < threads; i++) {
        pthread_join(started[i], &taken);
        sum += (long long)taken;
    }
    return sum;
}

static long long now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* Nanoseconds of the fastest piece. */
static long long fastest(const struct job *piece, long pieces)
{
    long long least = LLONG_MAX;

    for (long i = 0; i < pieces; i++) {
        long long begin = now(), taken;

        work(piece);
        taken = now() - begin;
        least = taken < least ? taken : least;
    }
    return least;
}

static void on_request(struct job *job)
{
    long pieces = (job->operations + PIECE - 1) / PIECE;

    job->operations = PIECE;
    while (getchar() != EOF) {
        printf("%.3f\n", (double)fastest(job, pieces) / PIECE);
        fflush(stdout);
    }
}

int main(int count, char **words)
{
    struct job job = {.kind = count == 5 ? words[1] : "", .file = count == 5 ? open(words[2], O_RDONLY) : -1};
    int threads = count == 5 ? atoi(words[4]) : 0;
    struct stat about;

    job.operations = count == 5 ? atol(words[3]) : 0;
    if (job.file < 0 || fstat(job.file, &about) || about.st_size < 65536 || threads < 0 || threads > 64)
        return 1;
    job.size = about.st_size;
    if (threads == 0)
        on_request(&job);
    else
        printf("%.3f\n", (double)together(&job, threads) / threads / job.operations);
    return 0;
}
