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

our @EXPORT = qw(start stop tell ask_stat processes count_shared);

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

# Writes counts of events of sharing, by their numbers, into the file of a process that has made one and shares nothing
# itself: behind the first words of its place in the table, which begins with its pid, claimed once and ready.
sub count_shared {
    my ($pid, %counts) = @_;
    my ($path) = glob "/dev/shm/sslsweep.$pid.*" or return BAIL_OUT("$pid publishes nothing");
    my $place = index slurp($path), pack('Q', $pid | 1 << 32 | 1 << 33), 8 * (64 + 512);
    open my $file, '+<:raw', $path or die "$path: $!";
    for my $event (keys %counts) {
        seek $file, $place + 8 * (16 + $event), 0;
        print {$file} pack 'Q', $counts{$event};
    }
    close $file or die "$path: $!";
    return;
}

1;
