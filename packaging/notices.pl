#!/usr/bin/perl
# notices.pl: prints the notices that the command's binary has to come with: the licences, and whose they are, of the
# crates inside that are not given under Apache-2.0, whose text is ours.
use strict;
use warnings;

my $home  = $ENV{CARGO_HOME} || "$ENV{HOME}/.cargo";
my @cargo = split ' ', $ENV{CARGO} || 'cargo';
open my $tree, '-|', @cargo, qw(tree --locked -p sslsweep-cli -e), 'normal,no-proc-macro', '--prefix', 'none', '-f', '{p};{l}'
    or die "cargo tree: $!\n";
my %license;
while (<$tree>) {
    my ($crate, $version, $license) = /^(\S+) v([0-9.]+\S*)(?: .*)?;(.*?)(?: \(\*\))?$/ or die "cargo tree says: $_";
    $license{"$crate-$version"} = $license if $license !~ /Apache-2\.0/;
}
close $tree or die "cargo tree failed\n";

print "The command sslsweep holds crates with the licences below, beside those under Apache-2.0.\n";
for my $crate (sort keys %license) {
    # In an archive of `make dist` the crates are beside the sources.
    my ($folder) = grep { -d } glob "vendor/$crate $home/registry/src/*/$crate";
    defined $folder or die "notices: $crate is neither in vendor nor in $home/registry: run cargo fetch\n";
    my @texts = sort grep { -f } glob "$folder/{LICENSE,LICENCE,COPYING,license}*";
    @texts or die "notices: $crate has no licence\n";
    # Of a choice one is enough.
    my ($text) = ((grep { /MIT/i } @texts), @texts);
    open my $file, '<', $text or die "$text: $!\n";
    local $/;
    print "\n---- $crate ($license{$crate}) ----\n\n", <$file>;
}
