#include "figures.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

const char *path_of(pid_t pid)
{
    static char path[64];
    char name[64], stat[1024] = "";
    unsigned long long start = 0;
    snprintf(name, sizeof name, "/proc/%d/stat", (int)pid);
    int file = open(name, O_RDONLY);
    if (file < 0 || read(file, stat, sizeof stat - 1) <= 0)
        give_up("%s", name);
    close(file);
    /* Fields from the third on: the second is in brackets, with anything in it. */
    if (sscanf(strrchr(stat, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
               &start) != 1)
        give_up("%s is not understood", name);
    snprintf(path, sizeof path, "/dev/shm/sslsweep.%d.%llu", (int)pid, start);
    return path;
}

int there(const char *path)
{
    struct stat found;
    return lstat(path, &found) == 0;
}

const volatile uint64_t *view(const char *path)
{
    int file = open(path, O_RDWR | O_NOFOLLOW);
    if (file < 0)
        give_up("%s: %s", path, strerror(errno));
    void *words = mmap(NULL, WORDS * 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (words == MAP_FAILED)
        give_up("mmap");
    return words;
}

const volatile uint64_t *mine;

/* Whether a process owns something that is complete. */
static int owns(pid_t pid, uint64_t owner)
{
    return (owner & ((UINT64_C(1) << READY_BITS) - 1)) == ((uint64_t)pid | UINT64_C(1) << 32);
}

const volatile uint64_t *process_of(pid_t pid)
{
    for (int i = 0; i < PROCESSES; i++)
        if (owns(pid, mine[TABLE + i * PROCESS + OWNER]))
            return mine + TABLE + i * PROCESS;
    return NULL;
}

const volatile uint64_t *process(void)
{
    const volatile uint64_t *place = process_of(getpid());
    if (place == NULL)
        give_up("this process is not in the table");
    return place;
}

static const volatile uint64_t nothing[BLOCK];

const volatile uint64_t *block(int number)
{
    if (number < FIRST)
        return process() + PROCESS + (number - FIRST) * BLOCK;
    number -= FIRST;
    return owns(getpid(), mine[OWNERS + number]) ? mine + POOL + number * BLOCK : nothing;
}

const volatile uint64_t *newest(void)
{
    for (int i = FIRST; i < FIRST + BLOCKS; i++)
        if (block(i)[NUMBER] == process()[BEGUN])
            return block(i);
    give_up("the newest context has no block");
}

uint64_t total(int word)
{
    uint64_t sum = 0;
    for (int i = 0; i < FIRST + BLOCKS; i++)
        sum += block(i)[word];
    return sum;
}

void ask(pid_t pid, uint64_t request)
{
    const volatile uint64_t *place = process_of(pid);
    if (place == NULL)
        give_up("no process to ask");
    /* A view can be written to as well, which nothing but this does. */
    __atomic_store_n((uint64_t *)place + REQUEST, request, __ATOMIC_RELEASE);
}

uint64_t new_request(int what)
{
    static uint64_t last;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t next = ((uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec) & ~UINT64_C(1);
    last = next > last ? next : last + 2;
    return last | (what == ALL);
}

uint64_t lookups(const volatile uint64_t *is, int word)
{
    uint64_t sum = is[word];
    for (int stripe = 0; stripe < STRIPES; stripe++)
        sum += is[FIGURES + stripe * STRIPE + word - HITS];
    return sum;
}

void same(const char *what, uint64_t is, uint64_t wanted)
{
    better("O4", is == wanted, "%s: %llu, wanted %llu", what, (unsigned long long)is, (unsigned long long)wanted);
}
