# What install.t and packaging/packages.t have in common: running commands, and what an installation must be
# good for, wherever it came from.
#
# The environment: MAKE, CC, PKG_CONFIG, OPENSSL_CFLAGS, OPENSSL_LIBS, with the usual meanings.
package Installed;
use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Find qw(find);
use File::Temp qw(tempdir);
use Test::More;

use lib dirname(abs_path(__FILE__));
use Files qw(slurp spit);

our @EXPORT = qw($top $scratch @make $said $complained $version $abi $name $share $present
    slurp spit run runs files_below dynamic ask prepare check_pkg_config check_wrapper);

our $top       = abs_path(dirname(abs_path(__FILE__)) . '/../..');
our $scratch   = abs_path(tempdir(CLEANUP => 1));
our @make      = split ' ', $ENV{MAKE} || 'make';
my @cc         = split ' ', $ENV{CC} || 'cc';
my @pkg_config = split ' ', $ENV{PKG_CONFIG} || 'pkg-config';
my @ssl_cflags = split ' ', $ENV{OPENSSL_CFLAGS} || '';
my @ssl_libs   = split ' ', $ENV{OPENSSL_LIBS} || '-lssl -lcrypto';

# Where we are called from must not decide where things go, nor what the programs find.
delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL DESTDIR PREFIX BINDIR LIBDIR INCLUDEDIR PKGCONFIGDIR DATADIR MANDIR
    LD_PRELOAD SSLSWEEP_VERBOSE SSLSWEEP_DISABLE PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR)};
$ENV{LC_ALL} = 'C';

# Runs a command: how it ended, and what it said on each output.
our ($said, $complained) = ('', '');

sub run {
    my (@command) = @_;
    my @files = map { "$scratch/$_" } qw(stdout stderr);
    defined(my $pid = fork) or die "fork: $!";
    if ($pid == 0) {
        open STDOUT, '>', $files[0] or die "stdout: $!";
        open STDERR, '>', $files[1] or die "stderr: $!";
        no warnings 'exec';
        exec { $command[0] } @command or print STDERR "$command[0]: $!\n";
        exit 127;
    }
    waitpid $pid, 0;
    ($said, $complained) = map { slurp($_) } @files;
    return $? & 127 ? 'signal ' . ($? & 127) : $? >> 8;
}

sub runs {
    my ($name, @command) = @_;
    return is(run(@command), 0, $name) || diag($said . $complained);
}

sub files_below {
    my ($root) = @_;
    my @found;
    find({ no_chdir => 1, wanted => sub { push @found, substr($_, 1 + length $root) if -l || !-d } }, $root);
    return [sort @found];
}

our ($version) = slurp("$top/Cargo.toml") =~ /^version = "(.*)"/m or die 'no version in Cargo.toml';
our $abi  = $version =~ /^0\.(\d+)/ ? "0.$1" : $version =~ /^(\d+)/ ? $1 : die $version;
our $name = "libsslsweep.so.$abi";
our $share = "libsslsweep-share.so.$abi";

# The program that is built with what was installed, and the one that knows nothing of it. Both say
# whether sslsweep is in the process, whose SSL_CTX_new they got, and their arguments.
my $plain = spit("$scratch/plain.c", <<'END');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <openssl/ssl.h>
#ifdef LINKED
# include <sslsweep.h>
#endif

int main(int argc, char **argv)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    if (!ctx)
        return 1;
#ifdef LINKED
    SSL_CTX_flush_sessions_ex(ctx, 0);
    const char *(*version)(void) = sslsweep_version;
#else
    const char *(*version)(void) = NULL;
    *(void **)&version = dlsym(RTLD_DEFAULT, "sslsweep_version");
#endif
    SSL_CTX_free(ctx);

    Dl_info theirs = { 0 }, ours = { 0 };
    SSL_CTX *(*new)(const SSL_METHOD *) = SSL_CTX_new;
    dladdr(*(void **)&new, &theirs);
    dladdr(*(void **)&version, &ours);
    int takes_over = version && theirs.dli_fbase == ours.dli_fbase;
    printf("sslsweep %s, SSL_CTX_new is %s\n", version ? version() : "absent", takes_over ? "sslsweep's" : "libssl's");

    const char *preload = getenv("LD_PRELOAD");
    printf("LD_PRELOAD %s\n", preload ? preload : "not set");
    printf("other %s\n", dlsym(RTLD_DEFAULT, "other_library") ? "present" : "absent");
    for (int i = 1; i < argc; i++)
        printf("[%s]\n", argv[i]);
    return 7;
}
END
our $present = "sslsweep $version, SSL_CTX_new is sslsweep's\n";
my $absent  = "sslsweep absent, SSL_CTX_new is libssl's\n";

sub build {
    my ($program, $flags, @libs) = @_;
    my @command = (@cc, '-Wall', '-Wextra', '-Werror', '-o', "$scratch/$program", @ssl_cflags, @$flags, $plain);
    return runs("$program is built", @command, @libs, '-ldl');
}

sub dynamic {
    my ($path, $tag) = @_;
    run('readelf', '-dW', $path) eq '0' or diag($complained);
    return [$said =~ /\($tag\)[^\[]*\[([^\]]*)\]/g];
}

# What pkg-config answers, as words.
sub ask {
    my (@question) = @_;
    my $status = run(@pkg_config, @question);
    is($status, 0, "pkg-config @question") or diag($complained);
    return split ' ', $said;
}

# Without a folder: where the system looks anyway.
sub check_pkg_config {
    my ($lib, $sysroot) = @_;
    local %ENV = %ENV;
    $ENV{PKG_CONFIG_PATH} = "$lib/pkgconfig" if defined $lib;
    $ENV{PKG_CONFIG_SYSROOT_DIR} = $sysroot if defined $sysroot;
    $ENV{LD_LIBRARY_PATH} = join ':', grep { defined && length } $lib, $ENV{LD_LIBRARY_PATH};

    is((ask('--modversion', 'sslsweep'))[0], $version, 'the version');
    my @cflags = ('-DLINKED', ask('--cflags', 'sslsweep'));
    my @shared = ask('--libs', 'sslsweep');
    my @static = ask('--libs', 'sslsweep-static');

    if (build('shared', \@cflags, @shared, @ssl_libs)) {
        is_deeply([grep { /sslsweep/ } @{ dynamic("$scratch/shared", 'NEEDED') }], [$name], 'it needs the SONAME');
        is(run("$scratch/shared"), 7, 'P1: the shared library runs');
        like($said, qr/^\Q$present\E/, 'it has sslsweep');
    }
    if (build('static', \@cflags, @static, @ssl_libs)) {
        is_deeply([grep { /sslsweep/ } @{ dynamic("$scratch/static", 'NEEDED') }], [], 'it needs no sslsweep');
        is(run("$scratch/static"), 7, 'P1: the static library runs');
        like($said, qr/^\Q$present\E/, 'it has sslsweep');
    }
    run(@pkg_config, '--libs', 'sslsweep', 'openssl');
    like($said, qr/-lsslsweep\b.*-lssl\b/, 'asked for both, sslsweep stays first');
}

sub check_wrapper {
    my ($sslsweep, $library) = @_;
    my $program = "$scratch/plain";

    is(run($program), 7, 'the program alone');
    like($said, qr/^\Q$absent\E/, 'it has no sslsweep');

    my @arguments = ('two words', '', '*', '-x', '--help', '$HOME', "line\nline");
    is(run($sslsweep, $program, @arguments), 7, 'P1: the exit status passes through the wrapper');
    is($said, "${present}LD_PRELOAD $library\nother absent\n" . join('', map { "[$_]\n" } @arguments),
        'it has sslsweep, and its arguments');
    is($complained, '', 'nothing is said');
    is(run($sslsweep, '--', $program), 7, 'after --');
    is(run($sslsweep, 'sh', '-c', 'kill -TERM $$'), 'signal 15', 'a signal passes through: the program is the process');
    is(run($sslsweep, $sslsweep, $program), 7, 'the wrapper in itself');
    like($said, qr/^\Q$present\E/, 'it has sslsweep');

    local $ENV{LD_PRELOAD} = "$scratch/other.so";
    is(run($sslsweep, $program), 7, 'with another library preloaded');
    is($said, "${present}LD_PRELOAD $library:$scratch/other.so\nother present\n", 'both are there, ours first');
}

# What the checks need, before anything is installed.
sub prepare {
    if (run(@pkg_config, '--version') ne '0') {
        BAIL_OUT("there is no @pkg_config: install it (the package pkg-config) or set PKG_CONFIG");
    }
    build('plain', [], @ssl_libs);
    my $other = spit("$scratch/other.c", "int other_library(void);\nint other_library(void) { return 1; }\n");
    runs('another library is built', @cc, '-shared', '-fPIC', '-o', "$scratch/other.so", $other);
}

1;
