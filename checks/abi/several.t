#!/usr/bin/perl
# P3: several releases of libssl in one process. tests-c/presence/presence_several.c is built as a plug-in for each;
# its program loads them together, on stock and in the three ways under sslsweep.
#
#   one of each major version     their nodes tell the callers apart
#   all, each under its own name  as wheels bundle them: those of one major version have the same nodes, and only
#                                 the calling object tells them apart. Their structures differ, so that a
#                                 call which reached the wrong one would not go unnoticed.
#
# The environment:
#   VERSIONS      releases as tools/libssl.py names them; all by default
#   TEST_LIBDIR   where our library is
#   TEST_BUILD    where the harness built the program presence_several
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use Test::More;
use lib dirname(abs_path(__FILE__));
use Abi qw(versions slurp spit run $top);

$ENV{LC_ALL} = 'C';

my $libdir = abs_path($ENV{TEST_LIBDIR} || "$top/build/lib");
my $build  = abs_path($ENV{TEST_BUILD} || "$top/build/tests");
my $work   = tempdir(CLEANUP => 1);
my @ways   = ([stock => 'stock'], [preload => 'stock'], [shared => 'shared'], [static => 'static']);
my @source = map { "$top/tests-c/$_.c" } qw(presence/presence_several support/support support/handshake);

# Builds the plug-in for a libssl in some folder. Returns its path.
sub plugin {
    my ($name, $include, $folder, @libs) = @_;
    my $plugin = "$work/$name.so";
    my $ok = defined run(split(' ', $ENV{CC} || 'cc'), qw(-std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-deprecated-declarations -pthread -g -O1),
        '-DPLUGIN', '-fPIC', '-shared', '-Wl,-Bsymbolic', "-I$top/include", "-I$top/tests-c/support", "-I$include", '-o', $plugin, @source, @libs, '-ldl', "-Wl,-rpath,$folder");
    return $ok ? $plugin : fail("the plug-in for $name is built");
}

sub release {
    my ($version, $linkage) = @_;
    chomp(my $prefix = qx{python3 -B "$top/tools/libssl.py" "$version" "$linkage"});
    return -d $prefix ? $prefix : fail("$version $linkage is built");
}

# A copy of a release whose libraries have other names, of the same length as every copy of a name in them.
sub renamed {
    my ($version, $letter, $linkage) = @_;
    my $prefix = release($version, $linkage);
    make_path("$work/$letter");
    my @paths;
    for my $library (qw(ssl crypto)) {
        my $bytes = slurp("$prefix/lib/lib$library.so");
        $bytes =~ s/\blib(ssl|crypto)\.so\./lib$1-${letter}0./g;
        my ($soname) = $bytes =~ /\b(lib$library-${letter}0\.[0-9.]+)\0/ or return fail("$version has a soname");
        push @paths, spit("$work/$letter/$soname", $bytes);
    }
    return plugin("$version-$linkage-renamed", "$prefix/include", "$work/$letter", @paths);
}

sub check {
    my ($name, @plugins) = @_;
    subtest $name => sub {
        my %lines;
        for (@ways) {
            my ($way, $folder) = @$_;
            local $ENV{TEST_PLUGINS}    = join ':', @plugins;
            local $ENV{LD_LIBRARY_PATH} = $libdir;
            local $ENV{LD_PRELOAD}      = $way eq 'preload' ? "$libdir/libsslsweep.so" : '';
            my $text = run("$build/$folder/presence_several") // '';
            my @lines = grep { !/^#/ } split /\n/, $text;
            is(scalar(grep { $_ eq 'done' } @lines), scalar @plugins, "$way: every plug-in came to its end");
            is(scalar(grep { /^\+ ok C1 / } @lines), $way eq 'stock' ? 0 : scalar @plugins, "$way: whose cache it was");
            $lines{$way} = join "\n", grep { !/^\+/ } @lines;
        }
        is($lines{$_}, $lines{stock}, "$_ prints what stock prints") for qw(preload shared static);
    };
    return;
}

my @releases = map { my $v = $_; grep { $_ eq $v || index($_, "$v.") == 0 } split ' ', qx{python3 -B "$top/tools/libssl.py" list} } grep { $_ ne 'system' } versions();
my %major = map { substr($_, 0, 1) => $_ } @releases;
cmp_ok(scalar @releases, '>', 1, 'there are several releases');

for my $linkage (qw(symbolic plt)) {
    my @plugins = map { my $prefix = release($major{$_}, $linkage); plugin("$major{$_}-$linkage", "$prefix/include", "$prefix/lib", "-L$prefix/lib", '-lssl', '-lcrypto') } sort keys %major;
    check("$linkage: @major{sort keys %major}", @plugins);
}
my $letter = 'a';
for my $linkage (qw(symbolic plt)) {
    my @all = map { renamed($_, $letter++, $linkage) } @releases;
    check("$linkage, each under its own name: @releases", @all);
    check("$linkage, in the other order", reverse @all);
}

done_testing;
