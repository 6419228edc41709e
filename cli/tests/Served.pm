# The program whose figures are known (served.c): one runs at a time.
package Served;
use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use lib dirname(abs_path(__FILE__));
use Command ();

our @EXPORT = qw(served %told $pid start stop store_more);

# Builds it, with more options or with none.
sub served {
    my ($to, @options) = @_;
    my ($here, $top) = ($Command::here, $Installed::top);
    return Command::compile($to, @options, "-I$top/tests-c", "$here/served.c", "$top/tests-c/handshake.c",
        "$top/tests-c/support.c", qw(-lssl -lcrypto -ldl -pthread));
}

our %told;    # {context}{figure}
our $pid;
my $program;

# Starts it, or any other program that says "ready".
sub start {
    my (@command) = @_;
    %told    = ();
    $program = Command::start(@command);
    $pid     = $program->{pid};
    for my $line (@{ $program->{said} }) {
        $told{$1}{$2} = $3 if $line =~ /^(\w+) (\w+) (\d+)$/;
    }
    return;
}

sub stop { return Command::stop($program) }

sub store_more {
    Command::tell($program, 'more');
    $told{2}{$_} += 7 for qw(sessions stores);
    return;
}

1;
