#!/usr/bin/perl
# What sslsweep shows of sharing (S9): nothing where nothing was counted; each event in its place where something was. The
# counts are written into the files of programs that share nothing themselves.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use JSON::PP ();
use Test::More;
use lib dirname(abs_path(__FILE__));
use Command qw($here $sslsweep compile);
use Installed;
use Running;

# Another run of the tests, beside this one, has programs of other names.
my $name      = "share$$";
my $operated  = compile($name, "$here/operated.c", qw(-lssl -lcrypto));
my @processes = map { start($sslsweep, qw(run --stats --), $operated) } 1 .. 3;
my ($pid, $other, $idle) = map { $_->{pid} } @processes;

# By kind, the numbers of its events, which are part of the interface of the share library, and their reasons.
my %kinds = (
    published     => [0],
    not_published => [1, qw(no_room too_large client_authentication context_aside unsuitable)],
    fetched       => [6],
    absent        => [7],
    refused       => [8, qw(sealed trust flushed expired decode ems cipher revoked gap single_use)],
    taken         => [18],
    removed       => [19],
    alerts        => [20],
    aside         => [21, qw(program client_hello_callback certificate_callback security_callback client_authentication other)],
    evicted       => [27],
    asked         => [28],
    waits         => [29, qw(answered missed skipped)],
    foreign       => [32],
);

sub rows {
    is(run($sslsweep, 'stat', '--idle', @_), 0, "stat --idle @_") or diag($complained);
    my ($rows) = $said =~ /^( *PID PROGRAM +PUBLISHED.*)/ms;
    return map { join ' ', split } split /\n/, $rows // '';
}

subtest 'nothing is shared' => sub {
    is_deeply([rows($pid, $other)], [], 'stat has no rows');
    my $process = processes($pid)->{$pid};
    is($process->{sharing_published}, 0, 'JSON has zeros');
    is($process->{sharing_refused}{trust}, 0, 'for each reason');
    run($sslsweep, qw(stat --prometheus), $pid);
    like($said, qr/^# TYPE sslsweep_sharing_refused_total counter$/m, 'Prometheus knows the metrics');
    unlike($said, qr/^sslsweep_sharing_/m, 'and has no sample');
};

count_shared($pid,   map { $_ => 100 + $_ } 0 .. 32);
count_shared($other, 6 => 1, 9 => 2);

subtest 'each event' => sub {
    my $process = processes($pid)->{$pid};
    is(run($sslsweep, qw(stat --prometheus), $pid), 0, 'stat --prometheus');
    my $samples = $said;
    my $labels  = qr/pid="$pid",uid="$>",program="$name"/;
    my $events  = 0;
    for my $kind (sort keys %kinds) {
        my ($number, @reasons) = @{ $kinds{$kind} };
        my %wanted = map { $reasons[$_] => 100 + $number + $_ } 0 .. $#reasons;
        is_deeply($process->{"sharing_$kind"}, @reasons ? \%wanted : 100 + $number, "$kind in JSON");
        like($samples, qr/^sslsweep_sharing_${kind}_total\{$labels,reason="$_"\} $wanted{$_}$/m, "$kind: $_") for @reasons;
        like($samples, qr/^sslsweep_sharing_${kind}_total\{$labels\} @{[100 + $number]}$/m, $kind) unless @reasons;
        $events += @reasons || 1;
    }
    is(scalar(() = $samples =~ /^sslsweep_sharing_/mg), $events, 'and no other');
    is($events, 33, 'all of them');
};

subtest 'rows' => sub {
    my @rows = rows($name);
    is($rows[0], 'PID PROGRAM PUBLISHED NOTPUB FETCHED ABSENT REFUSED TAKEN REMOVED ALERTS ASIDE EVICTED ASKED WAITS FOREIGN REASONS', 'the columns');
    my %row = map { /^(\w+) \S+ (.*)/ } @rows[1 .. $#rows];
    is_deeply([sort keys %row], [sort $pid, $other, 'total'], 'those that share, and their sum');
    is($row{$other}, '0 0 1 0 2 0 0 0 0 0 0 0 0 refused_trust:2', 'one that has fetched');
    like($row{$pid}, qr/^100 515 106 107 1125 118 119 120 741 127 128 390 132 not_published_no_room:101,/, 'one with each event');
    like($row{total}, qr/^100 515 107 107 1127 .*\brefused_trust:111,/, 'the sum');
    my @one = rows($other);
    is(scalar @one, 2, 'no sum of one') or diag("@one");
    # None of them has stored anything.
    is(run($sslsweep, 'stat'), 0, 'without --idle');
    like($said, qr/^ *$other +$name +0 +0 +1 /m, 'sharing is shown of idle processes, too');
};

stop($_) for @processes;
done_testing;
