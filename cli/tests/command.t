#!/usr/bin/perl
# The sslsweep command as a person uses it, from build/: what it shows of a program whose figures are known. (run.t, doctor.t
# and top.t ask the rest.)
#
# The environment is that of tests-c/Installed.pm.
use strict;
use warnings;
no warnings 'portable'; # a mask of 64 signals is a number of 64 bits
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use IPC::Open2 qw(open2);
use JSON::PP qw(decode_json);
use Test::More;
use Time::HiRes qw(sleep time);
use lib dirname(abs_path(__FILE__)) . '/../../tests-c';
use lib dirname(abs_path(__FILE__));
use Command;
use Installed;

my $served = served('served');

sub stat_json {
    my (@arguments) = @_;
    is(run($sslsweep, 'stat', '--json', @arguments), 0, "stat --json @arguments") or diag($complained);
    return decode_json($said);
}

sub check_figures {
    my ($process, $name) = @_;
    my %found = (ended => $process->{ended}, map { $_->{context} => $_ } @{ $process->{contexts} });
    for my $context (sort keys %told) {
        my %figures = %{ $told{$context} };
        is_deeply({ map { $_ => $found{$context}{$_} } keys %figures }, \%figures, "$name: context $context");
    }
    return %found;
}

subtest 'stat' => sub {
    start($sslsweep, 'run', '--stats', '--', $served);
    my ($process) = grep { $_->{pid} == $pid } @{ stat_json($pid)->{processes} };
    is($process->{program}, 'served', 'the process is the program, with its pid');
    my %found = check_figures($process, 'json');
    is($process->{contexts_begun}, 4, 'contexts begun');
    is($process->{contexts_ended}, 1, 'contexts ended');
    for my $context (1, 2) {
        my $sum = 0;
        $sum += $_->{sessions} for @{ $found{$context}{expiring_sessions} };
        is($sum, $told{$context}{sessions}, "the curve of context $context is of all its sessions") or diag($said);
    }

    is(run($sslsweep, 'stat', '--prometheus'), 0, 'stat --prometheus');
    my $samples = $said;
    for my $context (sort keys %told) {
        for my $figure (sort keys %{ $told{$context} }) {
            my $metric = $figure =~ /^(?:sessions|sessions_limit|last_flush_sessions)$/ ? $figure : "${figure}_total";
            like($samples, qr/^sslsweep_$metric\{pid="$pid",uid="$>",program="served",context="$context"\} $told{$context}{$figure}$/m,
                "$metric of context $context");
        }
    }
    like($samples, qr/^sslsweep_flush_duration_seconds_count\{pid="$pid",uid="$>",program="served",context="2"\} 1$/m, 'the histogram');

    is(run($sslsweep, 'stat', $pid), 0, 'stat');
    my @lines = map { [split] } grep { /^\s*$pid / } split /\n/, $said;
    my ($second) = grep { $_->[2] eq '2' } @lines;
    is("@{$second}[3, 4, 5, 6, 7]", "$told{2}{sessions} $told{2}{sessions_limit} $told{2}{stores} 0 0", 'its table') or diag($said);

    store_more();
    check_figures(stat_json($pid)->{processes}[0], 'and once more');
    is(stop(), 0, 'the program ends well');
    is_deeply([glob "/dev/shm/sslsweep.$pid.*"], [], 'its file is gone');
    is(run($sslsweep, 'stat', $pid), 1, 'stat of what has ended');
    like($complained, qr/\Asslsweep: [^\n]*\b$pid\b[^\n]*\n\z/, 'it says why, in one line');
};

subtest 'a process that is killed' => sub {
    start($sslsweep, 'run', '--stats', $served);
    kill 'KILL', $pid;
    stop();
    my ($left) = glob "/dev/shm/sslsweep.$pid.*";
    ok($left, 'leaves its file') or return;
    utime 0, 0, $left;    # one that was just made is left alone
    is(run($sslsweep, 'stat', $pid), 1, 'of which nothing is shown');
    ok(!-e $left, 'and which is cleared away');
};

subtest 'a program with workers' => sub {
    my $family = compile('family', "$here/family.c", qw(-lssl -lcrypto));
    my $parent = open2(my $out, my $in, $sslsweep, 'run', '--stats', $family);
    my @workers;
    while (my $line = <$out>) {
        last if $line eq "ready\n";
        push @workers, $1 if $line =~ /^worker (\d+)$/;
    }
    my @files = glob "/dev/shm/sslsweep.$parent.*";
    is(scalar @files, 1, 'one file for all') or diag("@files");
    my $stores = sub {
        my $all = decode_json($said)->{processes};
        return { map { $_->{pid} => $_->{total}{stores} } grep { $_->{program} eq 'family' } @$all };
    };
    stat_json();
    is_deeply($stores->(), { $parent => 1, $workers[0] => 2, $workers[1] => 3 }, 'each process counts for itself');
    stat_json($workers[1]);
    is_deeply($stores->(), { $workers[1] => 3 }, 'one of them alone');
    is(run($sslsweep, 'doctor', $workers[0]), 0, 'doctor finds it too');
    like($said, qr/^yes +contexts +1 managed now/m, 'with its contexts') or diag($said);
    SKIP: {
        my @elsewhere = qw(unshare --pid --fork --mount-proc);
        skip 'no pid namespace can be made', 2 if run(@elsewhere, 'true') != 0;
        run(@elsewhere, $sslsweep, 'stat', '--json');
        is_deeply($stores->(), {}, 'another pid namespace sees nothing of it');
        utime 0, 0, @files;
        run(@elsewhere, $sslsweep, 'stat');
        ok(-e $files[0], 'and takes nothing away, however old it is');
    }
    kill 'KILL', $workers[0];
    ok(within(sub { stat_json(); !exists $stores->()->{ $workers[0] } }), 'a killed worker is shown no longer');
    is_deeply($stores->(), { $parent => 1, $workers[1] => 3 }, 'the others are');
    # In the table, behind the header and the owners of the blocks.
    my $place = index slurp($files[0]), pack('Q', $workers[0] | 1 << 32 | 1 << 33), 8 * (64 + 512);
    is(unpack('Q', substr slurp($files[0]), $place + 8, 8), $workers[0], 'and its place is marked as free');
    close $in;
    waitpid $parent, 0;
    ok(!-e $files[0], 'its end takes the file away, though its workers were killed');
};

subtest 'files that are not good' => sub {
    start($sslsweep, 'run', '--stats', $served);
    my ($file) = glob "/dev/shm/sslsweep.$pid.*";
    ok($file, 'the file is there') or return;
    is(sprintf('%o', (stat $file)[2] & 07777), '600', 'for its owner alone');
    my $whole = slurp($file);
    my ($start) = $file =~ /(\d+)$/;

    # Of a process that there is, but not its own.
    my $forged = "/dev/shm/sslsweep.$$." . ($start + 1);
    spit($forged, $whole);
    run($sslsweep, 'stat', '--json');
    unlike($said, qr/"pid": $$\b/, 'a file of another process is not believed');
    unlink $forged;

    for my $damage (['empty', ''], ['short', substr $whole, 0, 1000], ['long', $whole . 'x'],
        ['random', join '', map { chr int rand 256 } 1 .. length $whole]) {
        my ($kind, $text) = @$damage;
        open my $out, '+<', $file or die "$file: $!";
        truncate $out, 0;
        print {$out} $text;
        close $out;
        my $status = run($sslsweep, 'stat', $pid);
        like($status, qr/\A[01]\z/, "$kind: status $status");
        unlike($complained, qr/panic/, 'no panic');
        # The process writes on to what it has mapped, of a size that must be there.
        open $out, '+<', $file or die "$file: $!";
        print {$out} $whole;
        truncate $out, length $whole;
        close $out;
    }
    stop();
};

subtest 'files that nobody can use' => sub {
    my $planted = "/dev/shm/sslsweep.$$.1";
    symlink '/nonexistent', $planted or die "$planted: $!";
    is(run($sslsweep, 'stat', '--prometheus'), 1, 'one of our own, and no other: status 1');
    like($complained, qr/\Asslsweep: \Q$planted\E is a link[^\n]*\n\z/, 'it says which');
    start($sslsweep, 'run', '--stats', $served);
    is(run($sslsweep, 'stat', '--prometheus'), 0, 'beside one that is good: status 0');
    like($complained, qr/\Asslsweep: \Q$planted\E is a link[^\n]*\n\z/, 'but it is said');
    like($said, qr/^sslsweep_stores_total\{pid="$pid"/m, 'and the good one is shown');
    SKIP: {
        skip 'only root can make somebody else\'s', 3 if $> != 0;
        runs('a link of another user', 'chown', '-h', '65534', $planted);
        is(run($sslsweep, 'stat', '--prometheus'), 0, 'is nothing to root');
        is($complained, '', 'or to complain about');
    }
    stop();
    unlink $planted;
};

# ---- The command line ----

subtest 'words' => sub {
    for my $wrong (['run'], ['run', '--eviction=random', 'true'], ['run', '--no-such', 'true'], ['top', '--interval', '0'],
        ['top', '--interval', 'x'], ['stat', 'x'], ['stat', '--json', '--prometheus'], ['stat', '99999999999']) {
        is(run($sslsweep, @$wrong), 2, "status 2: @$wrong");
        like($complained, qr/\Asslsweep: [^\n]+\nusage: /, 'it says why, and how');
        is($said, '', 'on standard error');
    }
    for my $shell (qw(bash zsh fish)) {
        is(run($sslsweep, 'completions', $shell), 0, "completions for $shell");
        like($said, qr/doctor/, 'know of the subcommands');
    }
};

done_testing;
