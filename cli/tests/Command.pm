# What the tests of the sslsweep command have in common: the command from build/, and programs whose figures are known.
#
# The environment is that of tests-c/Installed.pm.
package Command;
use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use IPC::Open2 qw(open2);
use JSON::PP qw(decode_json);
use Test::More;
use Time::HiRes qw(sleep time);
use lib dirname(abs_path(__FILE__)) . '/../../tests-c';
use Installed;

our @EXPORT = (@Installed::EXPORT, qw($here $sslsweep $library compile within start stop tell ask_stat processes));

our $here     = dirname(abs_path(__FILE__));
our $sslsweep = "$top/build/bin/sslsweep";
our $library  = "$top/build/lib/$name";
my @cc        = split ' ', $ENV{CC} || 'cc';
my $SECONDS   = 20;    # for anything that takes a moment

delete @ENV{qw(NO_COLOR SSLSWEEP_STATS SSLSWEEP_AUTOFLUSH SSLSWEEP_EVICTION)};

# Until it is so, or not in time.
sub within {
    my ($condition) = @_;
    for (my $until = time + $SECONDS; time < $until; sleep 0.05) {
        return 1 if $condition->();
    }
    return 0;
}

sub compile {
    my ($to, @rest) = @_;
    is(run(@cc, '-O1', '-w', '-D_GNU_SOURCE', '-o', "$scratch/$to", @rest), 0, "$to is built") or BAIL_OUT($complained);
    return "$scratch/$to";
}

# Starts a program that says "ready" and then obeys lines on its standard input. What it says before is in {said}.
sub start {
    my (@command) = @_;
    my $pid = open2(my $from, my $to, @command);
    my %program = (pid => $pid, from => $from, to => $to, said => []);
    while (my $line = <$from>) {
        return \%program if $line eq "ready\n";
        chomp $line;
        push @{ $program{said} }, $line;
    }
    return BAIL_OUT("@command did not come to its end");
}

# Gives it a line, and returns its answer.
sub tell {
    my ($program, $line) = @_;
    print { $program->{to} } "$line\n";
    $program->{to}->flush;
    my $answer = readline $program->{from};
    chomp $answer if defined $answer;
    return $answer;
}

sub stop {
    my ($program) = @_;
    close $program->{to};
    waitpid $program->{pid}, 0;
    return $?;
}

# `sslsweep stat --json` of these.
sub ask_stat {
    my (@arguments) = @_;
    is(run($sslsweep, 'stat', '--json', @arguments), 0, "stat --json @arguments") or diag($complained);
    return decode_json($said);
}

# The processes among them, by pid.
sub processes {
    my (@arguments) = @_;
    return { map { $_->{pid} => $_ } @{ ask_stat(@arguments)->{processes} } };
}

1;
