# What the checks beside it share: abi/symbols.tsv, files and commands.
package Abi;
use strict;
use warnings;
use Exporter qw(import);
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use Test::More;

use lib dirname(dirname(abs_path(__FILE__))) . '/tests-c';
use Files qw(slurp spit);

our @EXPORT_OK = qw(symbols nodes versions slurp spit run $top);

our $top = dirname(dirname(abs_path(__FILE__)));

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
sub versions { return split ' ', $ENV{VERSIONS} || 'system ' . qx{sh "$top/scripts/libssl.sh" list} }

# In the order of the file: { name, since, presence, why }.
sub symbols {
    my @rows = map { [split /\t/, $_, -1] } grep { !/^#/ } split /\n/, slurp("$top/abi/symbols.tsv");
    return map { { name => $_->[0], since => $_->[1], presence => $_->[2], why => $_->[3] } } @rows;
}

# The version nodes that a function which libssl has had since this version stands under, ours first.
sub nodes {
    my ($since) = @_;
    return ('SSLSWEEP') if $since eq 'own';
    my ($major, $minor, $patch) = (split(/\./, $since), 0);
    my @first = $major == 1 ? ("OPENSSL_${major}_${minor}_$patch", 'OPENSSL_3.0.0') : ("OPENSSL_$major.$minor.0");
    return ('SSLSWEEP', @first, 'OPENSSL_4.0.0');
}

1;
