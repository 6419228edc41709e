/* Between calls.c and fuzz_targets/calls.rs. */
#ifndef FUZZ_CALLS_H
#define FUZZ_CALLS_H

#include <stddef.h>

/* Makes the calls that the bytes stand for and writes what came of them into the log, a line for each. Returns
 * their number; *in_lockstep: the log must be what it is on stock libssl. Under sslsweep the process ends by
 * abort() when something is not as the model has it. */
unsigned long calls_run(const unsigned char *data, size_t size, char *log, size_t room, int *in_lockstep);

/* 1 when sslsweep is in force in this process. */
int calls_sweeping(void);

#endif
