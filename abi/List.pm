# abi/symbols.tsv, read for the checks beside it.
package List;
use strict;
use warnings;
use Exporter qw(import);
use Cwd qw(abs_path);
use File::Basename qw(dirname);
our @EXPORT_OK = qw(symbols nodes slurp $top);

our $top = dirname(dirname(abs_path(__FILE__)));

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or die "$path: $!";
    local $/;
    return scalar(<$file>) // '';
}

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
