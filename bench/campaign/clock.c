/* Preloaded, it moves the clock of the calendar by the seconds that stand, as an int64, in the file that QAFM_CLOCK
 * names. What measures time is left alone; what waits until a time of the calendar waits as long as it would have. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *moved;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("QAFM_CLOCK");
    int descriptor = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *page = descriptor < 0 ? MAP_FAILED : mmap(NULL, sizeof *moved, PROT_READ, MAP_SHARED, descriptor, 0);
    moved = page == MAP_FAILED ? NULL : page;
    if (descriptor >= 0) close(descriptor);
}

static int64_t ahead(void) { return moved ? *moved : 0; }

static struct timespec real(const struct timespec *until) {
    struct timespec then = *until;
    then.tv_sec -= ahead();
    return then;
}

/* Of a function that glibc has in several versions, dlsym may find the oldest. */
#define NEXT(function, version)                                         \
    static __typeof__(function) *next;                                  \
    if (!next) next = dlvsym(RTLD_NEXT, #function, version);            \
    if (!next) next = dlsym(RTLD_NEXT, #function)

int clock_gettime(clockid_t clock, struct timespec *now) {
    NEXT(clock_gettime, "GLIBC_2.17");
    int failed = next(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    NEXT(gettimeofday, "GLIBC_2.2.5");
    int failed = next(now, zone);
    if (!failed) now->tv_sec += ahead();
    return failed;
}

time_t time(time_t *kept) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (kept) *kept = now.tv_sec;
    return now.tv_sec;
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
    NEXT(pthread_cond_timedwait, "GLIBC_2.3.2");
    /* Of a condition that measures, the time is small: no calendar has it. */
    struct timespec then = until->tv_sec - ahead() > 946684800 ? real(until) : *until;
    return next(condition, mutex, &then);
}

int pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *until) {
    NEXT(pthread_mutex_timedlock, "GLIBC_2.2.5");
    struct timespec then = real(until);
    return next(mutex, &then);
}

int sem_timedwait(sem_t *semaphore, const struct timespec *until) {
    NEXT(sem_timedwait, "GLIBC_2.2.5");
    struct timespec then = real(until);
    return next(semaphore, &then);
}
