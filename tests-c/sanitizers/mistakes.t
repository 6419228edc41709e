#!/usr/bin/perl
# Was the tool really on? It must report each mistake that mistakes.c can make, in each way, and name sslsweep
# where sslsweep came upon it; and report nothing when there is no mistake.
#
# The environment: TEST_BUILD, TEST_LIBDIR, TEST_WAYS and TEST_VALGRIND as for harness.t. Without a valgrind
# command line it is the compiler's sanitizers that are asked, of which the library must then bear the marks.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use Test::More;
use lib dirname(abs_path(__FILE__)) . '/../support';
use Files qw(slurp);

my ($build, $libdir) = map { abs_path($_) } @ENV{qw(TEST_BUILD TEST_LIBDIR)};
my @ways     = split ' ', $ENV{TEST_WAYS};
my @valgrind = split ' ', $ENV{TEST_VALGRIND} || '';
my %folder   = (stock => 'stock', preload => 'stock', shared => 'shared', static => 'static');

# Mistake: what the tool calls it, whether sslsweep is on its stack.
my %reports = @valgrind
    ? (
    'use-after-free' => [qr/Invalid read.*free'd/s,                                             1],
    'overflow'       => [qr/Invalid read.*0 bytes after a block of size 24/s,          1],
    'uninitialised'  => [qr/depends on uninitialised value|Use of uninitialised value/,         1],
    'leak'           => [qr/definitely lost: [1-9]/,                                            0],
    )
    : (
    'use-after-free' => [qr/ERROR: AddressSanitizer: heap-use-after-free/,  1],
    'overflow'       => [qr/ERROR: AddressSanitizer: heap-buffer-overflow/, 1],
    'leak'           => [qr/ERROR: LeakSanitizer: detected memory leaks/,   0],
    'undefined'      => [qr/runtime error: signed integer overflow/,        0],
    );

# Exit status, and what was said.
sub run {
    my ($way, @mistake) = @_;
    my $report = "$build/mistakes.report";
    unlink $report;
    defined(my $pid = fork) or die "fork: $!";
    if ($pid == 0) {
        $ENV{LD_LIBRARY_PATH} = join ':', $libdir, grep { defined && length } $ENV{LD_LIBRARY_PATH};
        $ENV{LD_PRELOAD} = "$libdir/libsslsweep.so" if $way eq 'preload';
        $ENV{ASAN_OPTIONS} .= ':log_path=stderr' unless @valgrind;
        open STDOUT, '>', $report or die "$report: $!";
        open STDERR, '>&', \*STDOUT or die "stderr: $!";
        exec(@valgrind, @valgrind ? '--error-exitcode=99' : (), "$build/$folder{$way}/mistakes", @mistake) or exit 127;
    }
    waitpid $pid, 0;
    return ($?, slurp($report));
}

if (!@valgrind) {
    for my $library (map { "$libdir/libsslsweep.$_" } qw(so a)) {
        my $dynamic = $library =~ /so$/ ? '-D' : '-A';
        like(`nm $dynamic $library 2>/dev/null`, qr/ U __asan_report_load8\n/, "$library is instrumented");
    }
}
for my $way (@ways) {
    my ($status, $said) = run($way);
    ok($status == 0 && $said =~ /^done$/m, "$way: no mistake, no report") or diag($said);
    for my $mistake (sort keys %reports) {
        my ($report, $inside) = @{ $reports{$mistake} };
        ($status, $said) = run($way, $mistake);
        ok($status != 0, "$way: $mistake fails");
        ok($said =~ $report, "$way: $mistake is reported") or diag(substr $said, 0, 4000);
        ok($said =~ /(?:by 0x|at 0x|#\d).*sslsweep::/, "$way: and where in sslsweep") if $inside;
    }
}
done_testing;
