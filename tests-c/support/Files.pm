# Reading and writing whole files, for the tests in Perl.
package Files;
use strict;
use warnings;
use Exporter qw(import);
our @EXPORT_OK = qw(slurp spit);

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or die "$path: $!";
    local $/;
    return scalar(<$file>) // '';
}

# Returns the path.
sub spit {
    my ($path, $text) = @_;
    open my $file, '>', $path or die "$path: $!";
    print $file $text;
    close $file or die "$path: $!";
    return $path;
}

1;
