/* What glibc has for programs that are compiled with _FORTIFY_SOURCE, as Debian's unwinder is, and musl has not. */
#include <stdarg.h>
#include <stdio.h>

int __vfprintf_chk(FILE *file, int flag, const char *format, va_list values);
int __vfprintf_chk(FILE *file, int flag, const char *format, va_list values)
{
    (void)flag;
    return vfprintf(file, format, values);
}

int __vsnprintf_chk(char *text, size_t most, int flag, size_t room, const char *format, va_list values);
int __vsnprintf_chk(char *text, size_t most, int flag, size_t room, const char *format, va_list values)
{
    (void)flag, (void)room;
    return vsnprintf(text, most, format, values);
}
