# What the checks beside it share: checks/abi/symbols.tsv, files and commands.
package Abi;
use strict;
use warnings;
use Exporter qw(import);
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use Test::More;

use lib dirname(abs_path(__FILE__)) . '/../../tests-c/support';
use Files qw(slurp spit);

our @EXPORT_OK = qw(symbols nodes is_plain versions slurp spit run $top);

our $top = abs_path(dirname(abs_path(__FILE__)) . '/../..');

# Runs a command; what it printed, if it went well.
sub run {
    my (@command) = @_;
    open my $pipe, '-|', 'sh', '-c', 'exec "$@" 2>&1', 'sh', @command or die "sh: $!";
    my $text = do { local $/; <$pipe> } // '';
    return $text if close $pipe;
    diag("@command\n$text");
    return;
}

# The libssl to hold ours against: VERSIONS, or all.
sub versions { return split ' ', $ENV{VERSIONS} || 'system ' . qx{python3 -B "$top/tools/libssl.py" list} }

# In the order of the file: { name, since, presence, why }.
sub symbols {
    my @rows = map { [split /\t/, $_, -1] } grep { !/^#/ } split /\n/, slurp("$top/checks/abi/symbols.tsv");
    return map { { name => $_->[0], since => $_->[1], presence => $_->[2], why => $_->[3] } } @rows;
}

# The version nodes that a function which libssl has had since this version stands under.
sub nodes {
    my ($since) = @_;
    return () if $since eq 'own';
    my ($major, $minor, $patch) = (split(/\./, $since), 0);
    my @first = $major == 1 ? ("OPENSSL_${major}_${minor}_$patch", 'OPENSSL_3.0.0') : ("OPENSSL_$major.$minor.0");
    return (@first, 'OPENSSL_4.0.0');
}

# Whether the shared library has this name without a version, by checks/abi/nodes.map.
sub is_plain {
    my ($name) = @_;
    my ($globals) = slurp("$top/checks/abi/nodes.map") =~ /^SSLSWEEP \{\s*global:(.*?)local:/ms;
    return scalar grep { my $pattern = quotemeta s/\s//gr; $pattern =~ s/\\\*/.*/g; length && $name =~ /^$pattern$/ } split /;/, $globals;
}

1;
