#!/usr/bin/perl
# `make dist`: the archive is the same when made again, and builds, installs and works without a network and without crates of this
# machine. As root the build has no network at all; otherwise cargo alone is told so.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use Test::More;
use lib dirname(abs_path(__FILE__)) . '/../tests-c/support';
use Installed;

my $archive = "$top/build/dist/sslsweep-$version.tar.gz";
sub dist { return runs('make dist', @make, '--no-print-directory', '-C', $top, 'dist') }

dist() or BAIL_OUT('there is no archive');
my $first = slurp($archive);
umask 077;
dist();
umask 022;
ok(slurp($archive) eq $first, 'the same, byte for byte, when it is made again');

runs('it unpacks', 'tar', '-C', $scratch, '-xzf', $archive);
my $tree = "$scratch/sslsweep-$version";
run('tar', '-tvzf', $archive);
is_deeply([grep { !m{ 0/0 +\d+ \S+ \S+ sslsweep-\Q$version\E/} } split /\n/, $said], [], 'all of it is below one folder and root\'s');
my @tracked = split /\0/, do { run('git', '-C', $top, 'ls-tree', '-rz', '--name-only', 'HEAD'); $said };
cmp_ok(scalar @tracked, '>', 100, 'files of HEAD');
is_deeply([grep { !-e "$tree/$_" && !-l "$tree/$_" } @tracked], [], 'all are in it');

mkdir "$scratch/$_" or die "$_: $!" for qw(home cargo);
# Of rustup's settings, that it has a toolchain; of cargo's, nothing.
local %ENV = (PATH => $ENV{PATH}, LC_ALL => 'C', HOME => "$scratch/home", CARGO_HOME => "$scratch/cargo", CARGO_NET_OFFLINE => 'true',
    RUSTUP_HOME => $ENV{RUSTUP_HOME} // "$ENV{HOME}/.rustup");
my @alone = run('unshare', '-n', 'true') eq '0' ? ('unshare', '-n') : ();
diag(@alone ? 'built without a network' : 'built with CARGO_NET_OFFLINE alone: taking the network away needs root');
runs('it builds and installs', @alone, @make, '--no-print-directory', '-C', $tree, 'install', "PREFIX=$scratch/prefix") or BAIL_OUT('it does not build');
is(run("$scratch/prefix/bin/sslsweep", '--version'), 0, 'the command runs');
is($said, "sslsweep $version\n", 'and is this version');
prepare();
check_wrapper("$scratch/prefix/bin/sslsweep", "$scratch/prefix/lib/$name");
run('grep', '-rlF', $scratch, "$scratch/prefix/lib/$name", "$scratch/prefix/share/sslsweep/NOTICES");
is($said, '', 'nothing in it tells where it was built');
is(slurp("$scratch/prefix/share/sslsweep/NOTICES"), slurp("$top/build/NOTICES"), 'its notices are those of a checkout');

done_testing;
