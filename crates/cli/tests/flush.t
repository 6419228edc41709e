#!/usr/bin/perl
# sslsweep flush: an operator's flush without a restart, of programs that use their cache, and of those that do not.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use POSIX ();
use Test::More;
use lib dirname(abs_path(__FILE__));
use Command qw($here $sslsweep compile within);
use Installed;
use Running;

# Another run of the tests, beside this one, has programs of other names, which a flush by name must not reach.
my $name      = "oper$$";
my $operated  = compile($name, "$here/operated.c", qw(-lssl -lcrypto));
my @operated  = ($sslsweep, qw(run --stats --), $operated);
my @processes = map { start(@operated) } 1 .. 2;
my ($pid, $other) = map { $_->{pid} } @processes;

subtest 'contexts that are in use' => sub {
    is(tell($processes[0], '1 30 0'), 30, 'thirty sessions have expired');
    is(tell($processes[0], '1 12 1000'), 42, 'twelve have not');
    is(run($sslsweep, 'flush', $pid), 3, 'nobody uses the cache: status 3');
    is($said, "$name $pid: 0 sessions flushed, 42 stored\n", 'it says what was done');
    is($complained, "sslsweep: requested: done at the next use of the cache, of 1 context of $name $pid\n", 'and what was not');
    is(tell($processes[0], '1 1 1000'), 13, 'the next use flushes');
    is(run($sslsweep, 'flush', $pid), 3, 'a further request is another one');
    is(tell($processes[0], '1 1 1000'), 14, 'that removes nothing now');
};

subtest 'all sessions' => sub {
    tell($processes[0], '2 5 1000');
    tell($processes[1], '1 7 1000');
    is(run($sslsweep, qw(flush --all), $name), 3, 'of all processes of the name: none is used');
    like($complained, qr/\Asslsweep: requested: [^\n]+ of 2 contexts of $name $pid\nsslsweep: requested: [^\n]+ of 1 context of $name $other\n\z/,
        'a line for each');
    is(tell($processes[1], '1 1 1000'), 0, 'the other flushes all');
    my $figures = processes($other)->{$other};
    is($figures->{total}{flushed}, 8, 'and counts it');
    is($figures->{total}{left_at_end}, 0, 'as flushed');
};

subtest 'status 0' => sub {
    is(run($sslsweep, qw(flush --all), $other), 0, 'a process that stores nothing has nothing to do');
    is($said, "$name $other: 0 sessions flushed, 0 stored\n", 'it says so');
    is($complained, '', 'and nothing else');
};

subtest 'names that match nothing' => sub {
    for my $wrong (['no-such-program'], [4194304], [$pid, 'no-such-program']) {
        is(run($sslsweep, 'flush', @$wrong), 1, "@$wrong: status 1");
        like($complained, qr/\Asslsweep: [^\n]+\n\z/, 'one line');
        is($said, '', 'nothing is asked');
    }
    is(run($sslsweep, 'flush', $$), 1, 'a process without figures: status 1');
    like($complained, qr/\Asslsweep: process $$ publishes no [^\n]*sslsweep run --stats[^\n]*\n\z/, 'it says what to do');
    for my $wrong ([], ['--all'], ['0'], ['--some', $pid], ['']) {
        is(run($sslsweep, 'flush', @$wrong), 2, "status 2: flush @$wrong");
        like($complained, qr/\Asslsweep: [^\n]+\nusage: sslsweep flush /, 'it says why, and how');
    }
    SKIP: {
        skip 'another user takes root', 2 if $> != 0;
        is(run(qw(setpriv --reuid=65534 --regid=65534 --clear-groups), $sslsweep, 'flush', $pid), 1, 'another user\'s: status 1');
        like($complained, qr/\Asslsweep: no permission: [^\n]+\n\z/, 'it says why');
    }
};

stop($_) for @processes;
is(run($sslsweep, 'flush', $pid), 1, 'a process that has ended: status 1');
like($complained, qr/\Asslsweep: there is no process $pid\n\z/, 'it says so');

subtest 'while the cache is used' => sub {
    my $program = start(@operated);
    $pid = $program->{pid};
    tell($program, '1 30 0');
    tell($program, '2 5 1000');
    # The command waits for a use, so somebody has to use both contexts meanwhile.
    defined(my $user = fork) or die "fork: $!";
    if ($user == 0) {
        while (1) {
            tell($program, "$_ 1 1000") for 1, 2;
            select undef, undef, undef, 0.05;
        }
    }
    is(run($sslsweep, 'flush', $pid), 0, 'both answer: status 0');
    like($said, qr/\A$name $pid: 30 sessions flushed, \d+ stored\n\z/, 'what had expired is gone');
    is($complained, '', 'nothing is outstanding');
    is(run($sslsweep, qw(flush --all), $name), 0, 'all: status 0');
    my ($flushed) = $said =~ /\A$name $pid: (\d+) sessions flushed/;
    cmp_ok($flushed, '>=', 5, 'so are the others');
    kill 'TERM', $user;
    waitpid $user, 0;
    stop($program);
};

subtest 'requests that overtake one another' => sub {
    my $program = start(@operated);
    $pid = $program->{pid};
    tell($program, '1 5 1000');
    is(run($sslsweep, qw(flush --all), $pid), 3, 'all, of a context that is not used');
    is(run($sslsweep, 'flush', $pid), 3, 'then those that have expired: it says nothing else of the first request');
    is(tell($program, '1 1 1000'), 0, 'which is not taken back');
    stop($program);
};

subtest 'a child that has not used its cache since it was forked' => sub {
    my $program = start(@operated);
    $pid = $program->{pid};
    tell($program, '1 5 1000');
    tell($program, 'fork');
    is(run($sslsweep, qw(flush --all), $pid), 3, 'its parent is asked');
    is(tell($program, '1 1 1000'), 0, 'the child flushes, too');
    stop($program);
};

subtest 'files that are not what they were' => sub {
    my $program = start(@operated);
    $pid = $program->{pid};
    tell($program, '1 3 0');
    my ($file) = glob "/dev/shm/sslsweep.$pid.*";
    my $whole = slurp($file);
    # A link to somebody else's file must not be written through.
    my $elsewhere = spit("$scratch/elsewhere", $whole);
    unlink $file;
    symlink $elsewhere, $file or die "$file: $!";
    is(run($sslsweep, 'flush', $pid), 1, 'a link: status 1');
    like($complained, qr/\Asslsweep: \Q$file\E is a link[^\n]*\n\z/, 'it says which');
    ok(slurp($elsewhere) eq $whole, 'and nothing is written');
    unlink $file;
    stop($program);

    # The same while the command waits.
    $program = start(@operated);
    $pid = $program->{pid};
    tell($program, '1 3 1000');
    ($file) = glob "/dev/shm/sslsweep.$pid.*";
    my $before = slurp($file);
    defined(my $taker = fork) or die "fork: $!";
    if ($taker == 0) {
        within(sub { slurp($file) ne $before });    # it has been asked
        unlink $file;
        symlink $elsewhere, $file;
        POSIX::_exit(0);
    }
    is(run($sslsweep, qw(flush --all), $pid), 1, 'a link that comes in between: status 1');
    like($complained, qr/\Asslsweep: $name $pid has been asked, but [^\n]+\n\z/, 'it does not say that the process has ended');
    waitpid $taker, 0;
    ok(slurp($elsewhere) eq $whole, 'and nothing is written');
    unlink $file;
    stop($program);
};

done_testing;
