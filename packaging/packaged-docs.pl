#!/usr/bin/perl
# packaged-docs.pl INTO LIBDIR DATADIR: the documents of a package, as they are true there: the library and the
# scripts are where the package has them, and what a link leads to is beside it, or there is no link.
use strict;
use warnings;
use File::Basename qw(basename dirname);
use File::Copy qw(copy);

my @texts    = qw(README.md CHANGELOG.md docs/compatibility.md docs/operations.md docs/metrics.md);
my @pictures = qw(docs/plots/top.svg);

my ($into, $libdir, $datadir) = @ARGV;
@ARGV == 3 or die "usage: packaged-docs.pl INTO LIBDIR DATADIR\n";
chdir dirname(__FILE__) . '/..' or die "the sources: $!\n";
# Debian's tools give the changelog another name.
my %there = map { basename($_) => 1 } @pictures, grep { $_ ne 'CHANGELOG.md' } @texts;

sub link_to {
    my ($mark, $words, $target) = @_;
    return "$mark\[$words]($target)" if $target =~ /^https:/;
    my $name = basename($target);
    return $there{$name} ? "$mark\[$words]($name)" : $words;
}

for my $text (@texts) {
    open my $from, '<', $text or die "$text: $!\n";
    open my $to, '>', "$into/" . basename($text) or die "$into: $!\n";
    while (my $line = <$from>) {
        $line =~ s{/usr/local/lib\b}{$libdir}g;
        $line =~ s{/usr/local/share\b}{$datadir}g;
        $line =~ s{\bdocs/bpftrace/}{$datadir/sslsweep/bpftrace/}g;
        $line =~ s/(!?)\[([^\]]*)\]\(([^)\s]+)\)/link_to($1, $2, $3)/ge;
        print {$to} $line;
    }
    close $to or die "$into: $!\n";
}
copy($_, "$into/" . basename($_)) or die "$_: $!\n" for @pictures;
