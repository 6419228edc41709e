#!/usr/bin/perl
# The examples compile without a warning, and do what they say: alone, preloaded, and linked with what was built and
# with what was installed, through pkg-config. The environment is that of Installed.pm.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(basename dirname);
use Test::More;
use lib dirname(abs_path(__FILE__)) . '/support';
use Installed;

my @cc     = split ' ', $ENV{CC} || 'cc';
my @cflags = (qw(-std=c11 -Wall -Wextra -Werror), split ' ', $ENV{OPENSSL_CFLAGS} || '');
my @libs   = (split(' ', $ENV{OPENSSL_LIBS} || '-lssl -lcrypto'), '-ldl');
my $libdir = abs_path($ENV{TEST_LIBDIR} || "$top/build/lib");

# What each prints without sslsweep, and with it.
my %prints = (
    flush_idle => [
        qr/\Aflushed with libssl, in one go\n10000 sessions are left\n\z/,
        qr/\A(?:flushed \d+, \d+ are still due\n)+10000 sessions are left\n\z/,
    ],
    statistics => [
        qr/\Ano sslsweep here: libssl counts \d+ sessions\n\z/,
        qr/\Asessions +600\nlimit +1000\ndue +0\nstores +1200\nhits +0\nmisses +0\nexternal hits +0\nevictions +200\nflushed +400\n/,
    ],
    sessions => [qr/\Ano sslsweep here\n\z/, qr/\Avisited 100, removed 25, 75 are left\n\z/],
);
my @examples = map { basename($_, '.c') } glob "$top/examples/*.c";
is_deeply([sort @examples], [sort keys %prints], 'each example is known here');

sub build {
    my ($example, $way, @link) = @_;
    return runs("$example, $way, is built", @cc, @cflags, '-o', "$scratch/$example.$way", "$top/examples/$example.c", @link);
}

sub prints {
    my ($example, $way, $pattern, $name) = @_;
    is(run("$scratch/$example.$way"), 0, "$example, $name, runs");
    like($said, $pattern, 'and does what it says') or diag($complained);
    is($complained, '', 'without a complaint');
    return $said;
}

# Batches: what a flush on a budget removed adds up.
sub adds_up {
    my ($text) = @_;
    my $sum = 0;
    $sum += $_ for $text =~ /^flushed (\d+),/mg;
    is($sum, 10000, 'in all it flushes what is due');
}

my $stage = "$scratch/stage";
runs('make install', @make, '--no-print-directory', '-C', $top, 'install', 'PREFIX=/usr', "DESTDIR=$stage");

for my $example (sort keys %prints) {
    my ($without, $with) = @{ $prints{$example} };
    if (build($example, 'plain', "-I$top/include", @libs)) {
        prints($example, 'plain', $without, 'alone');
        local $ENV{LD_PRELOAD} = "$libdir/libsslsweep.so";
        my $text = prints($example, 'plain', $with, 'preloaded');
        adds_up($text) if $example eq 'flush_idle';
        like($text, qr/^flushes +(?:<|>=) \d+ us: 1\n(?:batches +(?:<|>=) \d+ us: \d+\n)+\z/m, 'with histograms')
            if $example eq 'statistics';
    }
    # A program need not name a function of ours, so the linker is told to keep the library.
    my @keep = ('-Wl,--push-state,--no-as-needed', '-lsslsweep', '-Wl,--pop-state');
    if (build($example, 'built', "-I$top/include", "-L$libdir", @keep, @libs)) {
        local $ENV{LD_LIBRARY_PATH} = join ':', grep { defined && length } $libdir, $ENV{LD_LIBRARY_PATH};
        prints($example, 'built', $with, 'linked');
    }
    local $ENV{PKG_CONFIG_PATH} = "$stage/usr/lib/pkgconfig";
    local $ENV{PKG_CONFIG_SYSROOT_DIR} = $stage;
    local $ENV{LD_LIBRARY_PATH} = join ':', grep { defined && length } "$stage/usr/lib", $ENV{LD_LIBRARY_PATH};
    prints($example, 'shared', $with, 'linked by pkg-config')
        if build($example, 'shared', ask('--cflags', '--libs', 'sslsweep'), @libs);
    prints($example, 'static', $with, 'linked statically')
        if build($example, 'static', '-rdynamic', ask('--cflags', '--libs', 'sslsweep-static'), @libs); # for dlsym
}

done_testing;
