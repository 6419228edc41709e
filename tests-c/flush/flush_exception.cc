// The two things that flush_exception.c cannot say in C.
extern "C" int caught(void (*call)(void *), void *argument)
{
    try {
        call(argument);
        return 0;
    } catch (int number) {
        return number;
    }
}

extern "C" void throw_number(int number)
{
    throw number;
}
