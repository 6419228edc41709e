# Programs that run beside one another under the command, for stat.t and flush.t: started, told what to do, and asked for.
package Running;
use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use IPC::Open2 qw(open2);
use JSON::PP qw(decode_json);
use Test::More;
use lib dirname(abs_path(__FILE__));
use Command qw($sslsweep);
use Installed;

our @EXPORT = qw(start stop tell ask_stat processes);

# Starts a program that says "ready" and then obeys lines on its standard input. The lines before "ready" are in {said}.
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
