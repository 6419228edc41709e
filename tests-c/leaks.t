#!/usr/bin/perl
# LeakSanitizer in a program that is built with AddressSanitizer, with the library preloaded or linked: sessions that a
# living context has stored are no leaks, whether its tables are small, large, grown or shrunk; what the program itself
# loses still is one.
#
# The environment: TEST_LIBDIR, as for harness.t; CC, OPENSSL_CFLAGS, OPENSSL_LIBS.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use Test::More;
use lib dirname(abs_path(__FILE__)) . '/support';
use Installed;

my $libdir  = abs_path($ENV{TEST_LIBDIR} || "$top/build/lib");
my @cc      = split ' ', $ENV{CC} || 'cc';
my @cflags  = split ' ', $ENV{OPENSSL_CFLAGS} || '';
my @openssl = split ' ', $ENV{OPENSSL_LIBS} || '-lssl -lcrypto';
$ENV{ASAN_OPTIONS} = 'detect_leaks=1:exitcode=99:verify_asan_link_order=0';

# Grows to a number of sessions, and shrinks; a third argument: loses a pointer.
my $source = spit("$scratch/leaks.c", <<'END');
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

static SSL_CTX *ctx;
static void *volatile lost;

static void fill(unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        SSL_SESSION *session = SSL_SESSION_new();
        SSL_SESSION_set1_id(session, (unsigned char *)&i, sizeof i);
        SSL_SESSION_set_protocol_version(session, TLS1_2_VERSION);
        SSL_SESSION_set_time(session, 1000);
        SSL_SESSION_set_timeout(session, i % 2 ? 100 : 200);
        SSL_CTX_add_session(ctx, session);
        SSL_SESSION_free(session);
    }
}

int main(int argc, char **argv)
{
    unsigned many = (unsigned)atoi(argv[1]);
    if (argc > 2) {
        lost = malloc(4711);
        lost = NULL;
    }
    ctx = SSL_CTX_new(TLS_method());
    SSL_CTX_sess_set_cache_size(ctx, 0);
    fill(0, many);
    SSL_CTX_flush_sessions(ctx, 1150);
    fill(many, many + 10);
    printf("stored %ld\n", SSL_CTX_sess_number(ctx));
    return 0;
}
END

my @build = (@cc, qw(-g -w -fsanitize=address), @cflags, $source, '-o');
plan skip_all => 'the compiler has no AddressSanitizer: ' . substr $complained, 0, 200
    if run(@build, "$scratch/leaks", @openssl) != 0;
is(run(@build, "$scratch/linked", "-L$libdir", '-Wl,--no-as-needed', '-lsslsweep', '-Wl,--as-needed', @openssl), 0, 'linked too')
    or diag($complained);
my ($runtime) = `ldd $scratch/leaks` =~ /=> (\S*libasan\S*)/;
plan skip_all => 'the runtime of AddressSanitizer is in the program' unless $runtime;

# That the tool is on: otherwise all that follows would be worth nothing.
is(run("$scratch/leaks", 20, 'lose'), 99, 'on stock a lost pointer is a leak');
unless (like($complained, qr/4711 byte/, 'which is said')) {
    diag($complained);
    done_testing;
    exit;
}

for my $how ('preloaded', 'linked') {
    local $ENV{LD_PRELOAD} = "$runtime $libdir/libsslsweep.so" if $how eq 'preloaded';
    local $ENV{LD_LIBRARY_PATH} = join ':', $libdir, $ENV{LD_LIBRARY_PATH} // () if $how eq 'linked';
    my $program = $how eq 'preloaded' ? "$scratch/leaks" : "$scratch/linked";
    for my $many (20, 2_000, 100_000) {
        is(run($program, $many), 0, "$how, $many sessions: no leak") or diag(substr $complained, 0, 2000);
        is($said, sprintf("stored %d\n", $many / 2 + 10), 'and they are stored');
    }
    local $ENV{SSLSWEEP_VERBOSE} = 1;
    is(run($program, 2_000, 'lose'), 99, "$how: a lost pointer is a leak");
    like($complained, qr/4711 byte.*in 1 object/, 'that one');
    like($complained, qr/^SUMMARY: \w+: 4711 byte\(s\) leaked in 1 allocation/m, 'and nothing else');
    like($complained, qr/^sslsweep\[\d+\]: took over/m, 'under sslsweep');
}
done_testing;
