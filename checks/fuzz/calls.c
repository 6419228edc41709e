/* Makes API calls out of a string of bytes, and holds what comes of each against a naive model of what
 * docs/compatibility.md promises. Four bytes are a call; one that cannot be made is left out. What a program
 * would see of each call is also written into a log, which on stock libssl is the same.
 *
 * The first byte is the kind of the input:
 *
 *   odd    lockstep: no calls that stock libssl answers in another way on purpose, and none that it does not
 *          bear. `lockstep` guards each of them, and names the promise.
 *   even   alone: anything goes, callbacks that make further calls among it; only the model is asked.
 *
 * The model is told of a call before it is made, so that it is right inside the callbacks as well. */
#include "calls.h"

#include "handshake.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTEXTS 3
#define OURS 32                /* sessions that are made here; each two have one key */
#define OBJECTS (OURS + 64)    /* and those that handshakes make */
#define FIRST_HANDSHAKE OURS
#define FRAMES 8               /* calls inside callbacks inside calls */

/* ---- The model ---- */

struct key {
    int version;
    unsigned length;
    unsigned char id[SSL_MAX_SSL_SESSION_ID_LENGTH];
};

static struct object {
    SSL_SESSION *session;
    struct key key;
    int held;      /* a reference is ours */
    int freed;     /* libssl has freed it */
    int resumable; /* -1: stock has evicted it (C19) */
} object[OBJECTS];
static int objects; /* so many from FIRST_HANDSHAKE on are in use */

struct entry {
    int object;
    int by_object; /* lost its id while stored, and is found by what it is (C18) */
    long expiry;
    unsigned long since; /* its place among equals */
};

static struct context {
    SSL_CTX *ctx;
    int held, version, reenters, serves, copies;
    long room, full;
    unsigned long born;
    int callback; /* a remove callback is set */
    unsigned mode;
    int count;
    struct entry stored[OBJECTS];
} context[CONTEXTS];

/* The callbacks that a call must make, in this order (F6). */
static struct frame {
    struct context *c;
    int count, next;
    int wanted[OBJECTS];
    int flushed;  /* those that a flush took: marked */
    int any_order;
    int batches;  /* many leave, a batch after the other (F12): not all are out of the cache yet */
    int may_lack; /* the callback was taken away meanwhile */
} frame[FRAMES];
static int frames;

/* The remove callbacks that run, and what each was called for: removing that again, or what has its key, is
 * nothing (C5). */
static struct running {
    unsigned long born; /* of its context */
    int object;
} running[FRAMES];
static int runs;

static struct {
    const unsigned char *at, *end;
    int lockstep, sized, lists, lets_go, calm; /* calm: callbacks make no calls */
    unsigned long now;
    char *log;
    size_t used, room;
    unsigned long calls;
    const char *doing;
} run;

static int fate_index = -1;
static SSL_CTX *client[2];
static struct saved {
    SSL_SESSION *session;
    int object; /* the server's own */
} saved[4];

static void note(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void note(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(run.log + run.used, run.room - run.used, fmt, args);
    va_end(args);
    if (n > 0 && run.used + (size_t)n < run.room)
        run.used += (size_t)n;
}

/* On stock nothing is required: what it logs is compared. */
static void require(int ok, const char *what)
{
    if (ok || !sweeping())
        return;
    fprintf(stderr, "calls: after\n%s", run.log);
    fprintf(stderr, "calls: call %lu, %s: not as the model has it: %s\n", run.calls, run.doing, what);
    abort();
}

/* 1 where stock differs on purpose, so that the call is for inputs that run alone. */
static int lockstep(const char *promise)
{
    (void)promise;
    return run.lockstep;
}

static int same_key(const struct key *a, const struct key *b)
{
    return a->version == b->version && a->length == b->length && memcmp(a->id, b->id, a->length) == 0;
}

static long expiry_of(int o)
{
    long time = SSL_SESSION_get_time(object[o].session), timeout = SSL_SESSION_get_timeout(object[o].session), sum;
    return __builtin_add_overflow(time, timeout, &sum) ? (timeout < 0 ? LONG_MIN : LONG_MAX) : sum;
}

static struct entry *find_object(struct context *c, int o)
{
    for (int i = 0; i < c->count; i++)
        if (c->stored[i].object == o)
            return &c->stored[i];
    return NULL;
}

static struct entry *find_key(struct context *c, const struct key *key)
{
    for (int i = 0; i < c->count; i++)
        if (!c->stored[i].by_object && same_key(&object[c->stored[i].object].key, key))
            return &c->stored[i];
    return NULL;
}

static int holders(int o)
{
    int n = 0;
    for (struct context *c = context; c < context + CONTEXTS; c++)
        n += c->ctx != NULL && find_object(c, o) != NULL;
    return n;
}

/* By us or by a cache. Not asked of libssl, since a list keeps what is in it (C14). */
static int is_kept(int o)
{
    return object[o].held || holders(o) > 0;
}

static void forget(struct context *c, struct entry *e)
{
    memmove(e, e + 1, (size_t)(&c->stored[--c->count] - e) * sizeof *e);
}

static void enter(struct context *c, int o)
{
    c->stored[c->count++] = (struct entry){o, 0, expiry_of(o), run.now++};
}

static struct entry *earliest(struct context *c)
{
    struct entry *least = NULL;
    for (struct entry *e = c->stored; e < c->stored + c->count; e++)
        if (least == NULL || e->expiry < least->expiry || (e->expiry == least->expiry && e->since < least->since))
            least = e;
    return least;
}

static void move_to(struct entry *e, long expiry)
{
    if (e->expiry != expiry) {
        e->expiry = expiry;
        e->since = run.now++;
    }
}

static void expiry_changed(int o)
{
    for (struct context *c = context; c < context + CONTEXTS; c++) {
        struct entry *e = c->ctx != NULL ? find_object(c, o) : NULL;
        if (e != NULL)
            move_to(e, expiry_of(o));
    }
}

/* A session without an id never is. */
static int is_marked_rightly(int o)
{
    int resumable = object[o].resumable && object[o].key.length > 0;
    return SSL_SESSION_is_resumable(object[o].session) == resumable;
}

/* Whether libssl's own arithmetic (C6, by release) comes to the same. */
static int is_ordinary(int o)
{
    long time = SSL_SESSION_get_time(object[o].session), timeout = SSL_SESSION_get_timeout(object[o].session);
    return time >= 0 && time < 1L << 33 && timeout >= 0 && timeout < 1L << 31;
}

static struct frame *expect_calls(struct context *c)
{
    struct frame *f = &frame[frames++];
    memset(f, 0, sizeof *f);
    f->c = c;
    return f;
}

static void want(struct frame *f, int o)
{
    if (f->c->callback)
        f->wanted[f->count++] = o;
}

static void calls_made(struct frame *f)
{
    /* Also those whose callback was taken away before their turn. */
    for (int i = f->next; f->may_lack && f->flushed && i < f->count; i++)
        if (object[f->wanted[i]].key.length > 0)
            object[f->wanted[i]].resumable = 0;
    require(f == &frame[frames - 1], "calls end in the order in which they began");
    require(f->next == f->count || f->may_lack, "a remove callback is lacking");
    frames--;
}

/* ---- Callbacks ---- */

static int number_of(const SSL_SESSION *session)
{
    return (int)(size_t)SSL_SESSION_get_ex_data(session, fate_index) - 1;
}

static void on_free(void *parent, void *n, CRYPTO_EX_DATA *data, int index, long l, void *p)
{
    (void)parent, (void)data, (void)index, (void)l, (void)p;
    if (n != NULL)
        object[(size_t)n - 1].freed++;
}

/* libssl copies sessions on its own; a copy is another object. */
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
static int on_dup(CRYPTO_EX_DATA *to, const CRYPTO_EX_DATA *from, void **n, int index, long l, void *p)
#else
static int on_dup(CRYPTO_EX_DATA *to, const CRYPTO_EX_DATA *from, void *n, int index, long l, void *p)
#endif
{
    (void)to, (void)from, (void)index, (void)l, (void)p;
    *(void **)n = NULL;
    return 1;
}

static void step(void);

static void remove_callback(SSL_CTX *ctx, SSL_SESSION *session)
{
    struct frame *f = frames > 0 ? &frame[frames - 1] : NULL;
    int o = number_of(session);
    require(f != NULL, "a remove callback out of nowhere");
    if (sweeping()) {
        require(f->c->ctx == ctx || f->c->ctx == NULL, "the context of a remove callback");
        require(f->next < f->count, "a remove callback too many");
        int i = f->next;
        while ((f->any_order || f->may_lack) && i < f->count && f->wanted[i] != o)
            i++;
        require(i < f->count && f->wanted[i] == o, "whose remove callback it is");
        if (f->any_order) {
            f->wanted[i] = f->wanted[f->next];
            f->wanted[f->next] = o;
            i = f->next;
        }
        f->next = i + 1;
        require(object[o].freed == 0 && object[o].session == session, "the session of a remove callback");
        if (f->flushed && object[o].key.length > 0)
            object[o].resumable = 0;
        require(is_marked_rightly(o), "whether a session that leaves is marked");
        if (f->c->held > 0)
            require(SSL_CTX_sess_number(ctx) == f->c->count || (f->batches && SSL_CTX_sess_number(ctx) > f->c->count),
                    "SSL_CTX_sess_number inside a callback");
    } else if (f != NULL) {
        f->wanted[f->next++] = o; /* for the log alone */
        object[o].resumable = f->flushed ? 0 : -1;
    }
    if (f != NULL && f->c->reenters && !run.calm && frames < FRAMES - 1) {
        running[runs++] = (struct running){f->c->born, o};
        step();
        runs--;
    }
}

static void remember_key(int o)
{
    const unsigned char *id = SSL_SESSION_get_id(object[o].session, &object[o].key.length);
    memcpy(object[o].key.id, id, object[o].key.length);
    object[o].key.version = SSL_SESSION_get_protocol_version(object[o].session);
}

/* The object of a session that libssl has made; -1 when there is no room for another one. */
static int adopt(SSL_SESSION *session)
{
    int o = number_of(session);
    if (o >= 0)
        return o;
    if (objects == OBJECTS)
        return -1;
    o = objects++;
    object[o] = (struct object){.session = session, .held = 0, .resumable = SSL_SESSION_is_resumable(session)};
    remember_key(o);
    if (!SSL_SESSION_set_ex_data(session, fate_index, (void *)(size_t)(o + 1)))
        give_up("SSL_SESSION_set_ex_data");
    return o;
}

/* The session that the client of a handshake offers, found by the program itself. */
static int offered;

static SSL_SESSION *get_callback(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    struct context *c = context;
    while (c->ctx != SSL_get_SSL_CTX(ssl))
        c++;
    note(" get");
    if (!c->serves || offered < 0 || (unsigned)length != object[offered].key.length
        || memcmp(id, object[offered].key.id, (unsigned)length) != 0)
        return NULL;
    *copy = c->copies;
    if (!c->copies)
        SSL_SESSION_up_ref(object[offered].session);
    return object[offered].session;
}

static int new_callback(SSL *ssl, SSL_SESSION *session)
{
    struct context *c = context;
    while (c->ctx != SSL_get_SSL_CTX(ssl))
        c++;
    int o = adopt(session);
    if (o < 0)
        give_up("too many sessions of handshakes");
    note(" new");
    if (!(c->mode & SSL_SESS_CACHE_NO_INTERNAL_STORE)) {
        require(find_object(c, o) == NULL, "a new session is new");
        enter(c, o);
    }
    object[o].held = o % 2; /* every other reference is kept */
    return object[o].held;
}

/* ---- Making things ---- */

static void make_key(int n, struct key *key)
{
    static const unsigned char lengths[] = {32, 32, 32, 32, 1, 4, 8, 31, 32, 32, 32, 16, 0, 32, 5, 32};
    memset(key, 0, sizeof *key);
    key->version = n == 3 || n == 9 ? TLS1_3_VERSION : TLS1_2_VERSION;
    key->length = lengths[n];
    if (key->length == 0 && lockstep("C18"))
        key->length = 17;
    memset(key->id, 'x', key->length);
    if (n < 3) /* they differ in their last byte; 3 is the same as 0 but for its version */
        key->id[31] = (unsigned char)n;
    if (n >= 8) /* 11 is the beginning of 10, 9 is 8 of another version */
        memset(key->id, n == 9 ? 8 : n == 11 ? 10 : n, key->length);
}

static void make_object(int o)
{
    struct object *made = &object[o];
    memset(made, 0, sizeof *made);
    make_key(o % 16, &made->key);
    made->session = make_session(made->key.version, made->key.id, made->key.length, 1024 + 64 * o, 640 + o);
    made->held = made->resumable = 1;
    if (!SSL_SESSION_set_ex_data(made->session, fate_index, (void *)(size_t)(o + 1)))
        give_up("SSL_SESSION_set_ex_data");
}

/* An object that can be used, by a byte; our own are made when first used, and again when all let go. */
static int an_object(unsigned byte)
{
    int count = OURS + objects - FIRST_HANDSHAKE, o = (int)byte % count;
    if (o < OURS && (object[o].session == NULL || object[o].freed))
        make_object(o);
    if (object[o].freed || (!object[o].held && holders(o) == 0))
        return -1;
    return o;
}

static struct context *a_context(unsigned byte)
{
    struct context *c = &context[byte % CONTEXTS];
    if (c->held > 0)
        return c;
    if (c->ctx != NULL)
        return NULL; /* on its way out */
    memset(c, 0, sizeof *c);
    c->version = c == context + CONTEXTS - 1 ? TLS1_3_VERSION : TLS1_2_VERSION;
    c->ctx = hs_server(c->version, WITHOUT_TICKETS);
    c->held = 1;
    c->born = run.now++;
    c->mode = SSL_SESS_CACHE_SERVER;
    SSL_CTX_sess_set_new_cb(c->ctx, new_callback);
    return c;
}

/* ---- The log ---- */

static int ascending(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* F6, C2: callbacks as a set, since stock's order differs by release. */
static void note_calls(const struct frame *f)
{
    int called[OBJECTS];
    memcpy(called, f->wanted, sizeof called);
    qsort(called, (size_t)f->next, sizeof *called, ascending);
    for (int i = 0; i < f->next; i++)
        note(" -%d", called[i]);
}

static void note_state(struct context *c)
{
    if (c != NULL && c->held > 0)
        note(" (%ld)", SSL_CTX_sess_number(c->ctx));
    note("\n");
}

static void doing(const char *what, int c, int o)
{
    run.doing = what;
    note("%s", what);
    if (c >= 0)
        note(" %c", 'A' + c);
    if (o >= 0)
        note(" %d", o);
}

#define INDEX(c) ((int)((c) - context))

/* ---- Calls ---- */

static void add(struct context *c, int o)
{
    struct entry *same = find_key(c, &object[o].key), *own = find_object(c, o);
    if (holders(o) > 0 && own == NULL && lockstep("C17"))
        return;
    int update = (c->mode & SSL_SESS_CACHE_UPDATE_TIME) != 0, was_calm = run.calm, many = c->room > 0 && c->count > c->room;
    /* What is stored again after several had to leave depends on what their callbacks do. */
    run.calm |= many || update;
    doing("add", INDEX(c), o);
    struct frame *f = expect_calls(c);
    int stored = own == NULL;
    f->batches = many;
    if (stored) {
        int replaces = same != NULL;
        if (replaces)
            forget(c, same);
        /* C1, C2: those that expire first make room, but not for one that takes another's place. */
        long most = replaces ? c->room : c->room - 1;
        while (c->room > 0 && c->count > (replaces && !many ? LONG_MAX : most < c->room - 1 ? most : c->room - 1)) {
            struct entry *e = earliest(c);
            want(f, e->object);
            c->full++;
            if (!sweeping())
                object[e->object].resumable = -1;
            forget(c, e);
        }
        enter(c, o);
    }
    int result = SSL_CTX_add_session(c->ctx, object[o].session);
    require(result == stored, "what SSL_CTX_add_session returns");
    if (update)
        expiry_changed(o);
    note(" = %d", result);
    note_calls(f);
    calls_made(f);
    run.calm = was_calm;
    note_state(c);
}

static void take(struct context *c, int o)
{
    doing("remove", INDEX(c), o);
    struct frame *f = expect_calls(c);
    int is_nothing = object[o].key.length == 0;
    for (int i = 0; i < runs; i++)
        is_nothing |= running[i].born == c->born
            && (running[i].object == o || same_key(&object[running[i].object].key, &object[o].key));
    struct entry *e = is_nothing ? NULL : find_key(c, &object[o].key);
    int found = e != NULL;
    if (!is_nothing)
        want(f, o);
    if (e != NULL)
        forget(c, e);
    f->flushed = 1;
    /* Its last reference may be the cache's. */
    SSL_SESSION_up_ref(object[o].session);
    int result = SSL_CTX_remove_session(c->ctx, object[o].session);
    if (object[o].key.length > 0)
        object[o].resumable = 0;
    require(is_marked_rightly(o), "what is removed is marked");
    SSL_SESSION_free(object[o].session);
    require(result == found, "what SSL_CTX_remove_session returns");
    note(" = %d", result);
    note_calls(f);
    calls_made(f);
    note_state(c);
}

static void take_due(struct context *c, struct frame *f, time_t tm)
{
    struct entry *e;
    while ((e = earliest(c)) != NULL && (tm == 0 || e->expiry < tm)) {
        want(f, e->object);
        if (object[e->object].key.length > 0)
            object[e->object].resumable = 0;
        forget(c, e);
    }
}

static void flush_it(struct context *c, time_t tm)
{
    doing("flush", INDEX(c), -1);
    note(" %ld", (long)tm);
    struct frame *f = expect_calls(c);
    f->flushed = 1;
    int marked[OBJECTS];
    for (int o = 0; o < OBJECTS; o++)
        marked[o] = object[o].resumable;
    take_due(c, f, tm);
    /* They are marked one by one, each before its callback. */
    for (int i = 0; i < f->count; i++)
        object[f->wanted[i]].resumable = marked[f->wanted[i]];
    flush(c->ctx, tm);
    note_calls(f);
    calls_made(f);
    note_state(c);
}

static void set_size(struct context *c, unsigned a, unsigned b)
{
    static const long sizes[] = {0, 1, 2, 3, 5, 8, 20, 40};
    long size = sizes[a % 8];
    /* C1, C2: by what expires first, and exactly so, only from 3.0 on and but for one. Those of handshakes
     * expire together. */
    if (lockstep("C2") && (!libssl_since(0x300) || objects > FIRST_HANDSHAKE))
        return;
    run.sized = 1;
    doing("size", INDEX(c), -1);
    note(" %ld", size);
    if (b % 8 == 0 && !lockstep("C1")) {
        require(SSL_CTX_sess_set_cache_size(c->ctx, -1 - (long)b) == 0, "a negative size is refused");
    }
    SSL_CTX_sess_set_cache_size(c->ctx, size == 0 ? 0 : size_to_hold(size));
    require(SSL_CTX_sess_get_cache_size(c->ctx) == size, "the size reads back");
    c->room = size;
    note_state(c);
}

static void set_mode(struct context *c, unsigned a)
{
    unsigned mode = a & (SSL_SESS_CACHE_BOTH | SSL_SESS_CACHE_NO_AUTO_CLEAR);
    if (a & 4)
        mode |= SSL_SESS_CACHE_NO_INTERNAL_LOOKUP;
    if (a & 8)
        mode |= SSL_SESS_CACHE_NO_INTERNAL_STORE;
    if (a & 16 && !lockstep("C6"))
        mode |= SSL_SESS_CACHE_UPDATE_TIME;
    doing("mode", INDEX(c), -1);
    long former = SSL_CTX_set_session_cache_mode(c->ctx, mode);
    require(former == (long)c->mode, "the former mode");
    require(SSL_CTX_get_session_cache_mode(c->ctx) == (long)mode, "the mode reads back");
    note(" %x, was %lx", mode, former);
    c->mode = mode;
    note_state(c);
}

static void set_time(int o, unsigned a, unsigned b)
{
    long value = 64 * (long)(16 + a % 128), result;
    if (a >= 240 && !lockstep("C6, F9")) {
        static const long odd[] = {0, -1, 1, LONG_MAX, LONG_MIN, LONG_MAX - 1, 18446744073L, 18446744074L, 2000000000000L, 9223372036L};
        value = odd[b % 10];
    }
    doing("time", -1, o);
    result = (long)SSL_SESSION_set_time(object[o].session, value);
    expiry_changed(o);
    note(" %ld = %d, is %ld\n", value, result != 0, (long)SSL_SESSION_get_time(object[o].session));
}

static void set_timeout(int o, unsigned a, unsigned b)
{
    /* Each object has seconds of its own, so that stock evicts the same one among equals. */
    long value = 64 * (long)(a % 64) + o % 64;
    if (a >= 232 && !lockstep("C6")) {
        static const long odd[] = {0, -1, 1, LONG_MAX, LONG_MIN, LONG_MAX - 1000, 18446744073L, 640, 640, 640};
        value = odd[b % 10];
    }
    doing("timeout", -1, o);
    long result = SSL_SESSION_set_timeout(object[o].session, value);
    expiry_changed(o);
    note(" %ld = %d, is %ld\n", value, result != 0, SSL_SESSION_get_timeout(object[o].session));
}

/* C18: a stored session gets another id, or none; what had that id leaves without a callback. */
static void set_id(int o, unsigned a)
{
    struct key key;
    if (lockstep("C18") || o >= OURS)
        return;
    make_key((int)a % 16, &key);
    doing("id", -1, o);
    note(" %d\n", (int)a % 16);
    int other_version = key.version != object[o].key.version;
    for (int half = 0; half < 1 + other_version; half++) {
        struct key was = object[o].key, is = key;
        if (half == 0)
            is.version = was.version;
        for (struct context *c = context; c < context + CONTEXTS; c++) {
            struct entry *e = c->ctx != NULL ? find_object(c, o) : NULL;
            int by_object = is.length == 0;
            if (e == NULL || (e->by_object ? by_object : !by_object && same_key(&was, &is)))
                continue;
            e->by_object = 1; /* not in its own way */
            struct entry *displaced = by_object ? NULL : find_key(c, &is);
            if (displaced != NULL)
                forget(c, displaced);
            e = find_object(c, o);
            e->by_object = by_object;
            e->since = run.now++;
        }
        object[o].key = is;
        if (half == 0)
            require(SSL_SESSION_set1_id(object[o].session, is.id, is.length), "SSL_SESSION_set1_id");
        else
            require(SSL_SESSION_set_protocol_version(object[o].session, is.version), "SSL_SESSION_set_protocol_version");
    }
}

static void set_callback(struct context *c, unsigned a)
{
    c->callback = a % 4 != 0;
    c->reenters = a % 4 == 3 && !lockstep("F5");
    for (struct frame *f = frame; f < frame + frames; f++)
        f->may_lack |= f->c == c && !c->callback;
    doing("callback", INDEX(c), -1);
    note(" %d\n", c->callback);
    SSL_CTX_sess_set_remove_cb(c->ctx, c->callback ? remove_callback : NULL);
    require((SSL_CTX_sess_get_remove_cb(c->ctx) != NULL) == c->callback, "the callback reads back");
}

/* C9: the program has a cache of its own, too. */
static void set_get_callback(struct context *c, unsigned a)
{
    c->serves = a % 3 != 0;
    c->copies = a % 3 == 1;
    doing("serve", INDEX(c), -1);
    note(" %u\n", a % 3);
    SSL_CTX_sess_set_get_cb(c->ctx, a % 4 == 3 && !c->serves ? NULL : get_callback);
}

static int listed[OBJECTS], list_count;

static void on_listed(void *session)
{
    listed[list_count++] = number_of(session);
}

static void list(struct context *c)
{
    if (run.lets_go && lockstep("C14"))
        return;
    run.lists = 1;
    OPENSSL_LHASH *table = (OPENSSL_LHASH *)SSL_CTX_sessions(c->ctx);
    list_count = 0;
    OPENSSL_LH_doall(table, on_listed);
    qsort(listed, (size_t)list_count, sizeof *listed, ascending);
    doing("list", INDEX(c), -1);
    for (int i = 0; i < list_count; i++)
        note(" %d", listed[i]);
    require(list_count == c->count, "how many are listed");
    for (int i = 0; i < list_count; i++)
        require(find_object(c, listed[i]) != NULL && (i == 0 || listed[i] != listed[i - 1]), "which are listed");
    note_state(c);
}

static void has_matching(struct context *c, unsigned a)
{
    struct key key;
    make_key((int)a % 16, &key);
    SSL *ssl = SSL_new(c->ctx);
    if (ssl == NULL)
        give_up("SSL_new");
    key.version = SSL_version(ssl);
    doing("matching", INDEX(c), -1);
    int result = SSL_has_matching_session_id(ssl, key.id, key.length);
    require(result == (find_key(c, &key) != NULL), "SSL_has_matching_session_id");
    note(" %d = %d\n", (int)a % 16, result);
    SSL_free(ssl);
}

static void up_ref(struct context *c)
{
    if (c->held < 3 && SSL_CTX_up_ref(c->ctx))
        c->held++;
}

/* C15. The last reference may go inside a callback (F5): what calls around this one have still to make of
 * callbacks, this one makes. */
static void free_context(struct context *c)
{
    doing("free", INDEX(c), -1);
    SSL_CTX *ctx = c->ctx;
    if (--c->held > 0) {
        note(" one of several\n");
        SSL_CTX_free(ctx);
        return;
    }
    struct frame *f = expect_calls(c);
    f->flushed = 1;
    int marked[OBJECTS];
    for (int o = 0; o < OBJECTS; o++)
        marked[o] = object[o].resumable;
    take_due(c, f, 0);
    for (int i = 0; i < f->count; i++)
        object[f->wanted[i]].resumable = marked[f->wanted[i]];
    for (struct frame *around = frame; around < f; around++)
        if (around->c == c) {
            for (; around->next < around->count; around->count--)
                f->wanted[f->count++] = around->wanted[around->count - 1];
            f->any_order = 1;
        }
    int was_calm = run.calm;
    run.calm |= f->any_order;
    SSL_CTX_free(ctx);
    run.calm = was_calm;
    note_calls(f);
    calls_made(f);
    note("\n");
    c->ctx = NULL;
    c->count = 0;
}

static void let_go(int o)
{
    /* C14: a session that is listed stays until the next list. */
    if (!object[o].held || (run.lists && lockstep("C14")))
        return;
    run.lets_go = 1;
    doing("let go", -1, o);
    note("\n");
    object[o].held = 0;
    SSL_SESSION_free(object[o].session);
}

/* A whole connection, which may resume a saved session, and may be lost at its end. */
static void handshake(struct context *c, unsigned a, unsigned b)
{
    struct saved *slot = &saved[a % 4];
    int resumes = a & 16, lost = b % 8 == 0, was_calm = run.calm;
    /* C8 and C9 are for the harness; frames > 0: libssl itself may hold locks meanwhile. */
    if (objects + 4 > OBJECTS || (run.sized && lockstep("C2")) || c->room > 0 || frames > 0)
        return;
    int s = resumes && slot->session != NULL && is_kept(slot->object) ? slot->object : -1;
    struct entry *e = s >= 0 ? find_object(c, s) : NULL;
    long now = (long)time(NULL);
    /* A session that nobody holds cannot be served. */
    if (s >= 0 && c->serves
        && ((!object[s].held && holders(s) == 0) || !is_ordinary(s) || expiry_of(s) < now + 60 || (holders(s) > 0 && e == NULL && lockstep("C17"))))
        return;
    if (s >= 0 && (object[s].resumable != 1 || SSL_SESSION_get_protocol_version(slot->session) != c->version
                   || (e != NULL && (!is_ordinary(s) || (e->expiry >= now && e->expiry < now + 60)))))
        return;
    run.calm = 1;
    doing("handshake", INDEX(c), s);
    /* C9: what has expired is not resumed. */
    int looks = e != NULL && !(c->mode & SSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
    offered = s;
    struct frame *f = expect_calls(c);
    f->flushed = 1;
    hs_result wanted = HS_FULL;
    if (looks && e->expiry < now) {
        if (c->version == TLS1_2_VERSION) { /* with 1.3 libssl leaves it there */
            want(f, s);
            forget(c, e);
            object[s].resumable = 0;
        }
    } else if (looks) {
        wanted = HS_RESUMED;
    } else if (s >= 0 && c->serves) {
        wanted = HS_RESUMED;
        if (e == NULL && !(c->mode & SSL_SESS_CACHE_NO_INTERNAL_STORE))
            enter(c, s);
    }
    int version = c->version == TLS1_3_VERSION;
    if (client[version] == NULL)
        client[version] = hs_client(c->version);
    hs_pair pair = hs_new(c->ctx, client[version], s >= 0 ? slot->session : NULL);
    hs_result result = hs_drive(&pair);
    note(" = %s", hs_word(result));
    require(result != HS_FAILED, "a handshake fails");
    require(result == wanted, "what is resumed");
    note_calls(f);
    calls_made(f);
    SSL_SESSION *next = SSL_get1_session(pair.client), *server = SSL_get_session(pair.server);
    f = expect_calls(c);
    f->flushed = 1;
    if (lost && server != NULL) {
        int o = adopt(server);
        if (o < 0)
            give_up("too many sessions of handshakes");
        struct entry *bad = find_key(c, &object[o].key);
        if (object[o].key.length > 0) {
            want(f, o);
            if (bad != NULL)
                forget(c, bad);
            object[o].resumable = 0;
        }
        note(", lost");
        hs_drop(&pair);
    } else {
        hs_close(&pair);
    }
    note_calls(f);
    calls_made(f);
    /* The server's own: of TLS 1.3 the one whose id is the ticket. */
    const unsigned char *id;
    unsigned length;
    size_t ticket = 0;
    SSL_SESSION_get0_ticket(next, &id, &ticket);
    length = (unsigned)ticket;
    if (length != SSL_MAX_SSL_SESSION_ID_LENGTH)
        id = SSL_SESSION_get_id(next, &length);
    int own = -1;
    for (int o = FIRST_HANDSHAKE; o < objects; o++)
        if (object[o].key.length == length && length > 0 && memcmp(object[o].key.id, id, length) == 0)
            own = o;
    if (own >= 0 && is_kept(own)) {
        SSL_SESSION_free(slot->session);
        *slot = (struct saved){next, own};
    } else {
        SSL_SESSION_free(next);
    }
    note(", accepted %ld, hits %ld + %ld, misses %ld, timeouts %ld", SSL_CTX_sess_accept_good(c->ctx),
         SSL_CTX_sess_hits(c->ctx), SSL_CTX_sess_cb_hits(c->ctx), SSL_CTX_sess_misses(c->ctx),
         SSL_CTX_sess_timeouts(c->ctx));
    run.calm = was_calm;
    note_state(c);
}

/* F1, F9: around what is stored, and at the ends of the types. */
static time_t a_time(struct context *c, unsigned a, unsigned b)
{
    static const time_t odd[] = {0, -1, LONG_MIN, LONG_MAX, LONG_MAX - 1, 18446744073, 18446744074, 9223372036, 4294967296, 2147483648};
    if (a >= 224)
        return lockstep("F9") ? 0 : odd[b % 10];
    if (a >= 128 && c->count > 0) {
        long expiry = c->stored[b % (unsigned)c->count].expiry;
        int far = expiry < 0 || expiry > 1000000;
        if (far && (lockstep("F9") || expiry == LONG_MAX || expiry == LONG_MIN))
            return 1;
        return expiry + (a % 3) - 1;
    }
    return 1024 + 64 * (time_t)(a % 128) + b % 64;
}

static void step(void)
{
    if (run.end - run.at < 4) {
        run.at = run.end;
        return;
    }
    unsigned what = run.at[0] % 32, a = run.at[1], b = run.at[2], d = run.at[3];
    run.at += 4;
    run.calls++;
    if (frames >= FRAMES - 1)
        return;
    struct context *c = a_context(a);
    int o = an_object(b);
    if (c == NULL || o < 0)
        return;
    switch (what) {
    case 0: case 1: case 2: case 3: case 4: case 5: case 6: case 7: case 8: case 9: add(c, o); break;
    case 10: case 11: take(c, o); break;
    case 12: case 13: flush_it(c, a_time(c, b, d)); break;
    case 14: set_size(c, b, d); break;
    case 15: set_mode(c, b); break;
    case 16: case 17: set_time(o, d, a); break;
    case 18: case 19: set_timeout(o, d, a); break;
    case 20: set_id(o, d); break;
    case 21: case 22: set_callback(c, b); break;
    case 23: list(c); break;
    case 24: has_matching(c, b); break;
    case 25: up_ref(c); break;
    case 26: free_context(c); break;
    case 27: let_go(o); break;
    case 28: set_get_callback(c, b); break;
    case 29: case 30: handshake(c, b, d); break;
    default: add(c, o); break;
    }
    for (struct context *each = context; each < context + CONTEXTS; each++)
        if (each->held > 0) {
            require(SSL_CTX_sess_number(each->ctx) == each->count, "SSL_CTX_sess_number");
            require(SSL_CTX_sess_cache_full(each->ctx) == each->full, "SSL_CTX_sess_cache_full");
        }
    for (int i = 0; i < objects; i++)
        require(!object[i].freed || (!object[i].held && holders(i) == 0), "a session is freed too early");
}

static void begin(void)
{
    if (fate_index < 0)
        fate_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, on_dup, on_free);
    memset(object, 0, sizeof object);
    memset(context, 0, sizeof context);
    objects = FIRST_HANDSHAKE;
    frames = runs = 0;
}

static void end(void)
{
    for (struct context *c = context; c < context + CONTEXTS; c++)
        while (c->held > 0)
            free_context(c);
    for (int i = 0; i < 4; i++) {
        SSL_SESSION_free(saved[i].session);
        saved[i] = (struct saved){0};
    }
    for (int o = 0; o < objects; o++) {
        if (object[o].session == NULL)
            continue;
        if (object[o].held && !object[o].freed) {
            require(is_marked_rightly(o), "who is marked at the end");
            SSL_SESSION_free(object[o].session);
        }
        require(object[o].freed == 1, "each session is freed once at the end");
    }
    require(no_errors(), "an error is left in the queue");
    ERR_clear_error();
}

unsigned long calls_run(const unsigned char *data, size_t size, char *log, size_t room, int *in_lockstep)
{
    memset(&run, 0, sizeof run);
    run.log = log, run.room = room;
    log[0] = '\0';
    if (size > 0) {
        run.at = data + 1, run.end = data + size;
        run.lockstep = data[0] & 1;
    }
    *in_lockstep = run.lockstep;
    run.doing = "nothing";
    begin();
    while (run.at < run.end)
        step();
    run.calm = 1;
    end();
    return run.calls;
}

int calls_sweeping(void)
{
    return sweeping();
}
