#!/usr/bin/perl
# sslsweep stat: the figures of programs whose figures are known, in every pid namespace; which processes are meant; what the
# completions offer; files that are not good; and whether dashboard and alerts use what there is.
use strict;
use warnings;
use Cwd qw(abs_path);
use CPAN::Meta::YAML;
use File::Basename qw(dirname);
use IPC::Open2 qw(open2);
use JSON::PP ();
use Test::More;
use lib dirname(abs_path(__FILE__));
use Command qw($here $sslsweep compile within served);
use Installed;
use Running;

my $served   = served('served');
# Another run of the tests, beside this one, has programs of other names.
my $name     = "oper$$";
my $operated = compile($name, "$here/operated.c", qw(-lssl -lcrypto));

sub check_figures {
    my ($told, $process, $name) = @_;
    my %found = (ended => $process->{ended}, map { $_->{context} => $_ } @{ $process->{contexts} });
    for my $context (sort keys %$told) {
        my %figures = %{ $told->{$context} };
        is_deeply({ map { $_ => $found{$context}{$_} } keys %figures }, \%figures, "$name: context $context");
    }
    return %found;
}

subtest 'stat' => sub {
    my $program = start($sslsweep, 'run', '--stats', '--', $served);
    my $pid     = $program->{pid};
    my %told;    # {context}{figure}
    /^(\w+) (\w+) (\d+)$/ and $told{$1}{$2} = $3 for @{ $program->{said} };
    my $process = processes($pid)->{$pid};
    is($process->{program}, 'served', 'the process is the program, with its pid');
    my %found = check_figures(\%told, $process, 'json');
    is_deeply({ map { $_->{context} => $_->{state} } @{ $process->{contexts} } }, { 1 => 'in_force', 2 => 'in_force', 4 => 'client' },
        'the states of contexts');
    is($process->{total}{accepted_handshakes}, 5, 'handshakes as a server');
    is($process->{total}{resumed_handshakes}, 6, 'resumed ones, of server and client');
    is($process->{contexts_begun}, 4, 'contexts begun');
    is($process->{contexts_ended}, 1, 'contexts ended');
    for my $context (1, 2) {
        my $sum = 0;
        $sum += $_->{sessions} for @{ $found{$context}{expiring_sessions} };
        is($sum, $told{$context}{sessions}, "the curve of context $context is of all its sessions") or diag($said);
    }

    is(run($sslsweep, qw(stat --prometheus --per-context)), 0, 'stat --prometheus --per-context');
    my $samples = $said;
    for my $context (sort keys %told) {
        for my $figure (sort keys %{ $told{$context} }) {
            my $metric = $figure =~ /^(?:sessions|sessions_limit|last_flush_sessions)$/ ? $figure : "${figure}_total";
            like($samples, qr/^sslsweep_$metric\{pid="$pid",uid="$>",program="served",context="$context"\} $told{$context}{$figure}$/m,
                "$metric of context $context");
        }
    }
    like($samples, qr/^sslsweep_flush_duration_seconds_count\{pid="$pid",uid="$>",program="served",context="2"\} 1$/m, 'the histogram');
    like($samples, qr/^sslsweep_flush_duration_seconds_sum\{pid="$pid",uid="$>",program="served",context="2"\} 0\.0\d*[1-9]\d*$/m, 'and its sum');
    is(run($sslsweep, qw(stat --prometheus)), 0, 'stat --prometheus');
    unlike($said, qr/context="/, 'has totals alone');
    my $stores = $told{1}{stores} + $told{2}{stores} + $told{ended}{stores};
    like($said, qr/^sslsweep_stores_total\{pid="$pid",uid="$>",program="served"\} $stores$/m, 'of all contexts');
    like($said, qr/^sslsweep_build_info\{version="\Q$version\E"\} 1$/m, 'the version of the command');
    like($said, qr/^sslsweep_library_info\{pid="$pid",[^}]*version="\Q$version\E"\} 1$/m, 'and that of the library');

    is(run($sslsweep, 'stat', $pid), 0, 'stat');
    my @lines = map { [split] } grep { /^\s*$pid / } split /\n/, $said;
    my ($second) = grep { $_->[2] eq '2' } @lines;
    is("@{$second}[3 .. 8]", "in-force $told{2}{sessions} $told{2}{sessions_limit} $told{2}{stores} 0 0", 'its table') or diag($said);
    my ($first) = grep { $_->[2] eq '1' } @lines;
    is($first->[9], '75.0', 'three of four lookups found a session') or diag($said);

    is(tell($program, 'more'), 'more', 'it stores more');
    $told{2}{$_} += 7 for qw(sessions stores);
    check_figures(\%told, processes($pid)->{$pid}, 'and once more');
    is(stop($program), 0, 'the program ends well');
    is_deeply([glob "/dev/shm/sslsweep.$pid.*"], [], 'its file is gone');
    is(run($sslsweep, 'stat', $pid), 1, 'stat of what has ended');
    like($complained, qr/\Asslsweep: [^\n]*\b$pid\b[^\n]*\n\z/, 'it says why, in one line');
};

subtest 'a process that is killed' => sub {
    my $program = start($sslsweep, 'run', '--stats', $served);
    my $pid     = $program->{pid};
    kill 'KILL', $pid;
    stop($program);
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
        my $all = JSON::PP::decode_json($said)->{processes};
        return { map { $_->{pid} => $_->{total}{stores} } grep { $_->{program} eq 'family' } @$all };
    };
    ask_stat();
    is_deeply($stores->(), { $parent => 1, $workers[0] => 2, $workers[1] => 3 }, 'each process counts for itself');
    ask_stat($workers[1]);
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
    ok(within(sub { ask_stat(); !exists $stores->()->{ $workers[0] } }), 'a killed worker is shown no longer');
    is_deeply($stores->(), { $parent => 1, $workers[1] => 3 }, 'the others are');
    # In the table, behind the header and the owners of the blocks.
    my $place = index slurp($files[0]), pack('Q', $workers[0] | 1 << 32 | 1 << 33), 8 * (64 + 512);
    is(unpack('Q', substr slurp($files[0]), $place + 8, 8), $workers[0], 'and its place is marked as free');
    close $in;
    waitpid $parent, 0;
    ok(!-e $files[0], 'its end takes the file away, though its workers were killed');
};

subtest 'files that are not good' => sub {
    my $program = start($sslsweep, 'run', '--stats', $served);
    my $pid     = $program->{pid};
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
    stop($program);
};

subtest 'files that nobody can use' => sub {
    my $planted = "/dev/shm/sslsweep.$$.1";
    symlink '/nonexistent', $planted or die "$planted: $!";
    is(run($sslsweep, 'stat', $$), 1, 'one of our own: status 1');
    like($complained, qr/^sslsweep: \Q$planted\E is a link[^\n]*$/m, 'it says which');
    my $program = start($sslsweep, 'run', '--stats', $served);
    my $pid     = $program->{pid};
    is(run($sslsweep, 'stat', '--prometheus'), 0, 'beside one that is good: status 0');
    like($complained, qr/^sslsweep: \Q$planted\E is a link[^\n]*$/m, 'but it is said');
    like($said, qr/^sslsweep_stores_total\{pid="$pid"/m, 'and the good one is shown');
    SKIP: {
        skip 'only root can make somebody else\'s', 3 if $> != 0;
        runs('a link of another user', 'chown', '-h', '65534', $planted);
        is(run($sslsweep, 'stat', '--prometheus'), 0, 'is nothing to root');
        unlike($complained, qr/\Q$planted\E/, 'or to complain about');
    }
    stop($program);
    unlink $planted;
};

# ---- Namespaces ----

my @namespace = qw(unshare --pid --fork --mount-proc);

# The children of a process, which may be about to come.
sub child {
    my ($pid) = @_;
    my @children;
    within(sub { @children = split ' ', slurp("/proc/$pid/task/$pid/children"); @children });
    return $children[0];
}

sub stores_of {
    my ($pid) = @_;
    return (processes()->{$pid} // return 'not shown')->{total}{stores};
}

subtest 'pid namespaces' => sub {
    plan skip_all => 'no pid namespace can be made' if run(@namespace, 'true') != 0;

    # Below ours, with the same folder, and with a folder of its own, as a container has.
    my $below = start(@namespace, $sslsweep, qw(run --stats --), $operated);
    my $container = start(qw(unshare --pid --mount --fork sh -c),
        'mount -t proc none /proc && mount -t tmpfs none /dev/shm && exec "$@"', 'sh', $sslsweep, qw(run --stats --), $operated);
    my $here = start($sslsweep, qw(run --stats --), $operated);
    my @pids = (child($below->{pid}), child($container->{pid}), $here->{pid});
    tell($below,     '1 2 1000');
    tell($container, '1 3 1000');
    tell($here,      '1 4 1000');
    SKIP: {
        skip 'only root looks into other namespaces', 4 if $> != 0;
        is(stores_of($pids[0]), 2, 'a process of a namespace below is shown by our number for it');
        is(stores_of($pids[1]), 3, 'so is one in a container, whose folder is its own');
        my @all = grep { $_->{program} eq $name } @{ ask_stat()->{processes} };
        is(scalar @all, 3, 'each is shown once');
        is(run($sslsweep, qw(flush --all), $pids[1]), 3, 'and one in a container can be asked to flush');
        is(tell($container, '1 1 1000'), 0, 'which it does');
    }
    my @files = map { glob "/dev/shm/sslsweep.$_.*" } 1, $here->{pid};
    utime 0, 0, @files;
    for my $reader (['beside'], ['below, with our /proc', qw(unshare --pid --fork)], ['below', @namespace]) {
        my ($where, @elsewhere) = @$reader;
        is(run(@elsewhere, $sslsweep, 'stat', '--json'), 0, "a reader $where");
        is_deeply([grep { !-e } @files], [], 'takes nothing away');
    }
    run(@namespace, $sslsweep, qw(stat --json));
    unlike($said, qr/"$name"/, 'a namespace beside sees nothing of them');

    # Files of which a reader cannot know whose they are: of another layout, and damaged.
    my ($file) = glob '/dev/shm/sslsweep.1.*';
    my $whole = slurp($file);
    for my $damage (['another layout', 8, pack 'Q', 999], ['no layout at all', 0, "\0" x 32]) {
        my ($name, $at, $bytes) = @$damage;
        open my $out, '+<', $file or die "$file: $!";
        seek $out, $at, 0;
        print {$out} $bytes;
        close $out;
        utime 0, 0, $file;
        run(@$_, $sslsweep, 'stat') for [], [@namespace];
        ok(-e $file, "of $name, it stays");
        open $out, '+<', $file or die "$file: $!";
        print {$out} substr $whole, 0, 32;
        close $out;
    }
    SKIP: {
        skip 'another user takes root', 2 if $> != 0;
        my @user = qw(setpriv --reuid=65534 --regid=65534 --clear-groups);
        chmod 0755, $scratch;
        my $own = start(@user, $sslsweep, qw(run --stats --), $operated);
        tell($own, '1 5 1000');
        my ($its) = glob "/dev/shm/sslsweep.$own->{pid}.*";
        utime 0, 0, $its;
        is(run(qw(unshare --mount sh -c), 'mount -t proc -o hidepid=2 none /proc && exec "$@"', 'sh', @user, $sslsweep, 'stat', $own->{pid}),
            0, 'where others are hidden (hidepid), its own user sees it') or diag($complained);
        is(run(qw(unshare --mount sh -c), 'mount -t proc -o hidepid=2 none /proc && exec "$@"', 'sh', @user, $sslsweep, 'stat', $$),
            1, 'one that is hidden: status 1');
        like($complained, qr/\Asslsweep: there is no process $$, or [^\n]+ hidden [^\n]+\n\z/, 'it says that it may be');
        ok(-e $its, 'and takes nothing away');
        stop($own);
    }
    stop($_) for $below, $container, $here;
};

subtest 'a child in another namespace' => sub {
    plan skip_all => 'only root can go there' if $> != 0 || run(@namespace, 'true') != 0;
    my $there  = open2(my $out, my $in, @namespace, 'cat');
    my $parent = start($sslsweep, qw(run --stats --), $operated);
    tell($parent, '1 1 1000');
    my $number = tell($parent, 'enter ' . child($there));
    cmp_ok($number, '>', 1, 'the child has a number of its own there');
    is(tell($parent, '1 2 1000'), 3, 'it stores two more');
    my $child = child($parent->{pid});
    is(stores_of($child), 3, 'it is shown by our number for it, with what it has inherited');
    is(stores_of($child), 3, 'and still is at the next look');
    kill 'KILL', $parent->{pid};
    waitpid $parent->{pid}, 0;
    my ($file) = glob "/dev/shm/sslsweep.$parent->{pid}.*";
    utime 0, 0, $file;
    is(stores_of($child), 3, 'also when its parent is gone');
    ok(-e $file, 'and the file stays');
    close $parent->{to};
    close $in;
    waitpid $there, 0;
    ok(within(sub { run($sslsweep, 'stat'); !-e $file }), 'until nobody has it');
};

subtest 'another root' => sub {
    plan skip_all => 'another root takes root' if $> != 0;
    mkdir "$scratch/root" or die "$scratch/root: $!";
    # The shell is the first process of the mount namespace, and keeps its root.
    my $shell = start(qw(unshare --mount sh -c), 'mount --rbind / "$0" && mount -t tmpfs none "$0/dev/shm" && chroot "$0" "$@"; true',
        "$scratch/root", $sslsweep, qw(run --stats --), $operated);
    my $inside = child($shell->{pid});
    tell($shell, '1 3 1000');
    is(stores_of($inside), 3, 'a process with another root is shown, whoever else is in its mount namespace');
    close $shell->{to};
    waitpid $shell->{pid}, 0;
};

subtest 'looks at all processes' => sub {
    plan skip_all => 'a folder of its own takes root' if $> != 0;
    my $opened = compile('opened.so', qw(-shared -fPIC), "$here/opened.c");
    my $program = start($sslsweep, qw(run --stats --), $operated);
    my ($file) = glob "/dev/shm/sslsweep.$program->{pid}.*";
    spit("$scratch/whole", slurp($file));
    # How often the maps of this very test are looked at, which has nothing to do with any file.
    my $looks = sub {
        my ($prepare) = @_;
        my $watched = $_[1] // "/proc/$$/maps";
        my $calls   = spit("$scratch/calls", '');
        is(run(qw(unshare --mount sh -c), "mount -t tmpfs none /dev/shm && $prepare LD_PRELOAD=$opened OPENED=$calls WATCHED=$watched exec $sslsweep stat"),
            0, 'stat') or diag($complained);
        return length slurp($calls);
    };
    is($looks->('', "/proc/$program->{pid}/maps"), 1, 'a process whose figures are shown is looked at');
    is($looks->(''), 0, 'where nothing seems stale, no other');
    my $stale = join '', map { "cp $scratch/whole /dev/shm/sslsweep.419430$_.1; touch -d \@0 /dev/shm/sslsweep.419430$_.1; " } 5 .. 9;
    my $damaged = join '', map { "echo x >/dev/shm/sslsweep.419430$_.2; touch -d \@0 /dev/shm/sslsweep.419430$_.2; " } 5 .. 9;
    is($looks->($stale . $damaged), 1, 'ten stale files: one');
    stop($program);
};

# ---- Selection ----

subtest 'selection' => sub {
    my @programs = map { start($sslsweep, qw(run --stats --), $operated) } 1 .. 2;
    my @pids     = map { $_->{pid} } @programs;
    my $idle     = start($sslsweep, qw(run --stats --), $operated);
    tell($programs[$_], '1 ' . ($_ + 1) . ' 1000') for 0, 1;
    is(join(' ', sort keys %{ processes(@pids) }), join(' ', sort @pids), 'several pids');
    is(scalar keys %{ processes($name) }, 3, 'a name');
    is(scalar keys %{ processes($name, $pids[0]) }, 3, 'each once');
    is(ask_stat(@pids)->{programs}[0]{total}{stores}, 3, 'the total of a program');
    is(run($sslsweep, 'stat'), 0, 'stat');
    like($said, qr/^total $name +all in-force +3 /m, 'it is in the table') or diag($said);
    unlike($said, qr/^$idle->{pid} /m, 'an idle process is not');
    unlike($said, qr/^$pids[0] $name +3 /m, 'nor an idle context');
    like($complained, qr/^sslsweep: idle, and left out: \d+ process(?:es)? and \d+ further contexts; see --idle$/m, 'but they are counted');
    is(run($sslsweep, qw(stat --idle)), 0, 'stat --idle');
    like($said, qr/^ *$pids[0] $name +3 off +0 /m, 'shows them all') or diag($said);
    like($complained, qr/^sslsweep: $name $idle->{pid} is idle: [^\n]+$/m, 'and says why');
    is(run($sslsweep, 'stat', $idle->{pid}), 0, 'so does stat PID');
    like($said, qr/^$idle->{pid} $name +3 off /m, 'which shows it') or diag($said);
    for my $wrong (['no-such-program'], ['oper'], [$name, 'no-such-program'], [4194304]) {
        for my $command (qw(stat top)) {
            is(run($sslsweep, $command, @$wrong), 1, "$command @$wrong: status 1");
            like($complained, qr/\Asslsweep: [^\n]+\n\z/, 'one line says why');
            is($said, '', 'and nothing else');
        }
    }
    for my $wrong (['0'], [''], ['99999999999'], ['-1'], ['--jsn'], ['--json', '--prometheus'], ['--per-context']) {
        is(run($sslsweep, 'stat', @$wrong), 2, "stat @$wrong: status 2");
        like($complained, qr/\Asslsweep: [^\n]+\nusage: sslsweep stat /, 'it says why, and how');
    }

    # What the shells offer.
    my $script = spit("$scratch/completions", do { is(run($sslsweep, 'completions', 'bash'), 0, 'completions bash'); $said });
    my $offered = sub {
        local $ENV{PATH} = "$top/build/bin:$ENV{PATH}";
        my $before = @_ > 1 ? $_[-2] : 'sslsweep';
        my $words = join ' ', map { "'$_'" } 'sslsweep', @_;
        is(run('bash', '-c', "source $script && COMP_WORDS=($words) && COMP_CWORD=$#{[0, @_]} && _sslsweep_words sslsweep '$_[-1]' '$before'
            printf '%s\\n' \"\${COMPREPLY[\@]}\""), 0, "sslsweep @_") or diag($complained);
        is($complained, '', 'no complaint');
        return { map { $_ => 1 } split /\n/, $said };
    };
    my $words = $offered->('');
    ok($words->{$_}, "offers $_") for qw(stat top flush doctor run);
    for my $command (qw(stat top flush doctor)) {
        $words = $offered->($command, '');
        ok($words->{$_}, "$command: offers $_") for $name, @pids;
    }
    is_deeply($offered->('stat', '--pr'), { '--prometheus' => 1 }, 'options');
    ok(!$offered->('stat', 'oper')->{ $pids[0] }, 'no pid for the beginning of a name');
    ok($offered->($_, 'sslswe')->{sslsweep}, "$_: offers programs") for qw(run doctor);
    is_deeply($offered->('run', '--eviction', 'lru', '--', 'cat', 'x'), {}, 'behind a program, files');
    is_deeply([grep { !$offered->('run', '--eviction', '')->{$_} } qw(expiry lru)], [], 'values of options');
    is_deeply([grep { !$offered->('run', '--tickets', '')->{$_} } qw(program stateful)], [], 'values of tickets');
    is_deeply($offered->('share-key', ''), { map { $_ => 1 } qw(new stage promote retire revoke) }, 'the steps of share-key');
    is_deeply($offered->('share-key', 'new', '/'), {}, 'behind them, files');
    for my $shell (qw(zsh fish)) {
        is(run($sslsweep, 'completions', $shell), 0, "completions for $shell");
        like($said, qr/sslsweep completions targets/, 'ask for processes');
        like($said, qr/\b$_\b[^\n]*\n/, "offer $_") for qw(stage promote retire revoke);
    }
    stop($_) for @programs, $idle;
};

subtest 'words' => sub {
    local $ENV{PATH} = '/usr/bin:/bin';
    for my $asks (['-h'], ['--help'], ['help']) {
        is(run($sslsweep, @$asks), 0, "@$asks");
        like($said, qr/\Ausage: sslsweep run .*^ +flush /ms, 'the help');
    }
    for my $command (qw(run doctor top stat flush share-key completions)) {
        is(run($sslsweep, 'help', $command), 0, "help $command");
        my $help = $said;
        like($help, qr/\Ausage: sslsweep $command /, 'says how');
        is(scalar(grep { length > 120 } split /\n/, $help), 0, 'in lines of 120 columns');
        is(run($sslsweep, $command, $_), 0, "$command $_") for qw(-h --help);
        is($said, $help, 'the same');
    }
    for my $asks ('-V', '--version') {
        is(run($sslsweep, $asks), 0, $asks);
        is($said, "sslsweep $version\n", 'the version');
    }
    is(run($sslsweep, 'stta'), 127, 'a subcommand that is misspelt');
    is($complained, "sslsweep: stta: No such file or directory; did you mean: sslsweep stat?\n", 'is seen');
    is(run($sslsweep, 'no-such-program-at-all'), 127, 'a program that there is not');
    unlike($complained, qr/did you mean/, 'is no such thing');
    is(run($sslsweep, qw(echo -V --help --)), 0, 'a program without a subcommand');
    is($said, "-V --help --\n", 'has its own options');
    is(run($sslsweep, qw(stat --jsn)), 2, 'an option that is misspelt');
    like($complained, qr/\Asslsweep: [^\n]*; did you mean --json\?\n/, 'is seen');
};

# ---- Dashboard and alerts ----

subtest 'Grafana and Prometheus' => sub {
    my $program = start($sslsweep, qw(run --stats --), $operated);
    count_shared($program->{pid}, 0 => 1);
    run($sslsweep, qw(stat --prometheus));
    stop($program);
    my (%labels, %known);
    for (split /\n/, $said) {
        my ($name, $labels) = /^(sslsweep_\w+)\{(.*)\}/ or next;
        $labels{$name}{$_} = 1 for $labels =~ /(\w+)="/g;
    }
    # What Prometheus itself adds, and the agent.
    $known{$_} = 1 for qw(instance job link);
    my $dashboard = JSON::PP::decode_json(slurp("$top/packaging/grafana/sslsweep.json"));
    my $rules = CPAN::Meta::YAML->read_string(slurp("$top/packaging/grafana/sslsweep-alerts.yml"))->[0];
    my (%queries, %ids);
    for my $panel (@{ $dashboard->{panels} }) {
        ok(!$ids{ $panel->{id} }++, "panel $panel->{id} is there once");
        $queries{"panel $panel->{title}"} .= " $_->{expr}" for @{ $panel->{targets} };
    }
    $queries{"variable $_->{name}"} = $_->{query} for @{ $dashboard->{templating}{list} };
    for my $group (@{ $rules->{groups} }) {
        for my $rule (@{ $group->{rules} }) {
            $queries{"alert $rule->{alert}"} = $rule->{expr};
            ok($rule->{annotations}{summary} && $rule->{labels}{severity}, "alert $rule->{alert} says what to do");
        }
    }
    cmp_ok(scalar keys %queries, '>=', 12, 'there are queries');
    my $documented = slurp("$top/docs/metrics.md");
    for my $where (sort keys %queries) {
        my @names = $queries{$where} =~ /\b(sslsweep_\w+)/g;
        ok(@names || $where =~ /datasource/, "$where asks for a metric");
        for my $name (@names) {
            next if $name =~ /^sslsweep_shared_/; # the agent's, which its own tests look up
            ok($labels{$name}, "$where: $name is printed");
            (my $base = $name) =~ s/_(?:bucket|sum|count)$//;
            like($documented, qr/`(?:\Q$name\E|\Q$base\E)`/, 'and documented');
        }
        my %of = map { $_ => 1 } map { keys %{ $labels{$_} || {} } } @names;
        my @used = $queries{$where} =~ /(?:by|without|on) ?\(([^)]*)\)/g;
        push @used, $queries{$where} =~ /[{,] *(\w+) *(?:=~|!~|!=|=)/g;
        push @used, $queries{$where} =~ /label_values\(\w+(?:\{[^}]*\})?, *(\w+)\)/g;
        for my $label (map { split /[ ,]+/ } @used) {
            ok($of{$label} || $known{$label}, "$where: label $label");
        }
    }
};

subtest 'completion of names that a shell would carry out' => sub {
    plan skip_all => 'no bash' if run('bash', '-c', 'true') != 0;
    my $mark = "$scratch/carried-out";
    my $complete = <<'END';
eval "$("$1" completions bash)"
mark=$2
sslsweep() { printf '%s\n' "\$(>$mark)" "\`>$mark\`" 'one name' 4711; }
for COMP_LINE in 'sslsweep top ' 'sslsweep flush ' 'sslsweep doctor '; do
    set -- $COMP_LINE
    COMP_WORDS=("$@" '') COMP_CWORD=2 COMP_POINT=${#COMP_LINE} COMPREPLY=()
    _sslsweep_words sslsweep '' "$2"
    printf '%s\n' "${COMPREPLY[@]}" | grep -c -x -F -e 'one\ name' -e 4711
done
END
    is(run('bash', '-c', $complete, 'bash', $sslsweep, $mark), 0, 'bash completes') or diag($complained);
    is($said, "2\n2\n2\n", 'top, flush and doctor offer them, quoted');
    ok(!-e $mark, 'and nothing of a name is carried out');
};

done_testing;
