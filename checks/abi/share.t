#!/usr/bin/perl
# The share library: one exported function, nothing of OpenSSL needed, small, and hardened as the core is.
#
# The environment: TEST_LIBDIR, where our libraries are.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use Test::More;
use lib dirname(abs_path(__FILE__));
use Abi qw(slurp run $top);

$ENV{LC_ALL} = 'C';

my $libdir = $ENV{TEST_LIBDIR} || "$top/build/lib";
my ($version) = slurp("$top/Cargo.toml") =~ /^version = "(.*)"/m;
my $abi = $version =~ /^(0\.\d+|[1-9]\d*)/ ? $1 : 'unknown';
my $library = "$libdir/libsslsweep-share.so.$version";

sub output { my $text = run(@_); return $text // BAIL_OUT("@_ failed: build the library first") }

is(readlink "$libdir/libsslsweep-share.so.$abi", "libsslsweep-share.so.$version", 'its link is beside it');
ok(!-e "$libdir/libsslsweep-share.so", 'no link for linkers: nobody links with it');

my @exported = map { (split)[-1] } grep { !/ A \S+$/ } split /\n/, output('nm', '-D', '--defined-only', $library);
is_deeply([map { s/@.*//r } @exported], ['sslsweep_share'], 'one function is exported');

my $dynamic = output('readelf', '-dW', $library);
my @needed  = $dynamic =~ /\(NEEDED\)[^\[]*\[([^\]]*)\]/g;
ok(scalar @needed, 'the dynamic section is understood');
is_deeply([grep { !/^(?:libgcc_s|libc|libm|libpthread|libdl|ld-linux[-\w]*)\.so\.\d+$/ } @needed], [],
    'P3: only the C library and the unwinder are needed, neither libssl nor libcrypto, nor the core');
like($dynamic, qr/\(SONAME\)[^\[]*\[libsslsweep-share\.so\.\Q$abi\E\]/, 'the SONAME has the number of the ABI');
unlike($dynamic, qr/TEXTREL/, 'no text relocations');
like($dynamic, qr/\bBIND_NOW\b|\bNOW\b/, 'all is bound when it is opened');
# A library that is opened later need not get room for thread-locals of the initial-exec model.
unlike($dynamic, qr/STATIC_TLS/, 'no static thread-local storage');
unlike($dynamic, qr/\((?:RPATH|RUNPATH)\)/, 'no search path of the machine that built it');
# The core keeps addresses of its functions.
like($dynamic, qr/\bNODELETE\b/, 'it cannot be unloaded');

my $segments = output('readelf', '-lW', $library);
like($segments, qr/^\s*GNU_RELRO\s/m, 'the tables are read-only once bound');
unlike($segments, qr/^\s*GNU_STACK\s.*\sRWE\s/m, 'the stack is not executable');

my @imported = map { (split)[-1] =~ s/@.*//r } split /\n/, output('nm', '-D', '--undefined-only', $library);
ok(scalar(grep { $_ eq '__cxa_finalize' } @imported), 'the imports are understood');
is_deeply([grep { /^__cxa_thread_atexit/ } @imported], [], 'P8, P10: no destructors of thread-local data');
# The core hands over what is needed of libssl. dl_iterate_phdr is the unwinder's.
is_deeply([grep { /^_?dl/ && $_ ne 'dl_iterate_phdr' } @imported], [], 'P8: the dynamic loader is not asked');
is_deeply([grep { /^(?:pthread_create|socket|connect|clone|fork|execve?)$/ } @imported], [], 'no thread, no socket, no process');

my $scratch = tempdir(CLEANUP => 1);
output('strip', '-o', "$scratch/stripped", $library);
# By Rust 1.95 it has 405 KB, and by Rust 1.85, whose standard library is larger, 443 KB.
cmp_ok(-s "$scratch/stripped", '<=', 460 * 1024, 'stripped it has at most 460 KB') && note(-s _, ' bytes');

# What panics say names source files.
output('strip', '--strip-debug', '-o', "$scratch/installed", $library);
my $home = $ENV{CARGO_HOME} || "$ENV{HOME}/.cargo";
for my $folder ($top, $home) {
    ok(index(slurp("$scratch/installed"), "$folder/") < 0, "nothing in it names $folder");
}

done_testing;
