#!/usr/bin/perl
# Whether the library is in force, and whether it says the truth of that: relinked by pkg-config, by a linker that drops what seems
# unneeded; linked too late; preloaded alone, and behind a library that wraps SSL_CTX_new. With SSLSWEEP_VERBOSE=1 the line
# "has no effect" is there when it has none, and only then.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use Test::More;
use lib dirname(abs_path(__FILE__)) . '/support';
use Installed;

prepare();
my $prefix = "$scratch/effect";
runs('make install', @make, '--no-print-directory', '-C', $top, "PREFIX=$prefix", 'install') or BAIL_OUT('it cannot be installed');

# It names none of our functions but those that every server needs.
my $server = spit("$scratch/server.c", <<'C');
#include <openssl/ssl.h>
int main(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    SSL *ssl = SSL_new(ctx);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    return ssl == NULL;
}
C
my $wrapper = spit("$scratch/wrapper.c", <<'C');
#define _GNU_SOURCE
#include <dlfcn.h>
void *SSL_CTX_new(const void *method)
{
    void *(*next)(const void *);
    *(void **)&next = dlsym(RTLD_NEXT, "SSL_CTX_new");
    return next(method);
}
C
my @cc = (split(' ', $ENV{CC} || 'cc'), '-Wall', '-Werror');
$ENV{PKG_CONFIG_PATH} = "$prefix/lib/pkgconfig";
my @ours = ask('--cflags', '--libs', 'sslsweep');
my @path = ("-Wl,-rpath,$prefix/lib");
runs('the wrapper', @cc, '-shared', '-fPIC', '-o', "$scratch/wrapper.so", $wrapper, '-ldl');
runs('stock',       @cc, '-o', "$scratch/stock",    $server, '-lssl', '-lcrypto');
runs('relinked',    @cc, '-Wl,--as-needed', '-o', "$scratch/relinked", $server, @ours, @path, '-lssl', '-lcrypto');
runs('by pkg-config for both', @cc, '-Wl,--as-needed', '-o', "$scratch/both", $server, ask('--cflags', '--libs', 'sslsweep', 'openssl'), @path);
runs('too late',    @cc, '-o', "$scratch/late", $server, '-lssl', '-lcrypto', @ours, @path);
runs('static',      @cc, '-Wl,--as-needed', '-o', "$scratch/static", $server,
    ask('--cflags', '--libs', 'sslsweep-static'), '-lssl', '-lcrypto');

my $library = "$prefix/lib/libsslsweep.so";
# name, program, preloaded, in force, what comes first
for (
    ['relinked',                'relinked', '',                               1, undef],
    ['relinked for both',       'both',     '',                               1, undef],
    ['static',                  'static',   '',                               1, undef],
    ['linked behind libssl',    'late',     '',                               0, qr/libssl/],
    ['preloaded',               'stock',    $library,                         1, undef],
    ['preloaded and relinked',  'relinked', $library,                         1, undef],
    ['preloaded, linked late',  'late',     $library,                         1, undef],
    ['behind a wrapper',        'stock',    "$scratch/wrapper.so:$library",   0, qr/wrapper\.so/],
    ['before a wrapper',        'stock',    "$library:$scratch/wrapper.so",   1, undef],
  ) {
    my ($name, $program, $preload, $in_force, $first) = @$_;
    local $ENV{SSLSWEEP_VERBOSE} = 1;
    local $ENV{LD_PRELOAD}       = $preload;
    is(run("$scratch/$program"), 0, "$name: it runs") or next;
    like($complained, qr/^sslsweep\[\d+\]: version /m, 'the library is there');
    my $said_so = $complained =~ /took over the internal session cache/ ? 1 : 0;
    is($said_so, $in_force, $in_force ? 'and in force' : 'and without effect');
    if ($first) {
        like($complained, qr/^sslsweep\[\d+\]: has no effect: \S*$first\S* was loaded first/m, 'as it says');
    } else {
        unlike($complained, qr/has no effect/, 'and does not say otherwise');
    }
}

done_testing;
