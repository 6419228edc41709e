/* Preloaded into the command by stat.t: writes a byte to the file $OPENED for each time that $WATCHED is opened. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int open64(const char *path, int flags, ...)
{
    const char *watched = getenv("WATCHED"), *opened = getenv("OPENED");
    va_list rest;
    va_start(rest, flags);
    int mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, int) : 0;
    va_end(rest);
    if (watched != NULL && opened != NULL && strcmp(path, watched) == 0) {
        int file = (int)syscall(SYS_openat, AT_FDCWD, opened, O_WRONLY | O_APPEND | O_CREAT, 0600);
        if (write(file, "x", 1) != 1)
            abort();
        close(file);
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
