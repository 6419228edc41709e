#!/usr/bin/perl
# The sslsweep command as a person uses it, from build/: what it runs, what it shows of a program whose figures are
# known, what it says of programs that cannot be taken over, and `top` on a terminal (tmux's).
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
use Installed;

my $sslsweep = "$top/build/bin/sslsweep";
my $library  = "$top/build/lib/$name";
my @cc       = split ' ', $ENV{CC} || 'cc';
my $here     = dirname(abs_path(__FILE__));
my $SECONDS  = 20;    # for anything that takes a moment

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

my $served = compile('served', "-I$top/tests-c", "$here/served.c", "$top/tests-c/handshake.c", "$top/tests-c/support.c",
    qw(-lssl -lcrypto -ldl -pthread));

# ---- A program whose figures are known ----

my %told;    # {context}{figure}
my ($pid, $from, $to);

sub start {
    my (@command) = @_;
    %told = ();
    $pid = open2($from, $to, @command);
    while (my $line = <$from>) {
        return if $line eq "ready\n";
        $told{$1}{$2} = $3 if $line =~ /^(\w+) (\w+) (\d+)$/;
    }
    BAIL_OUT("@command did not come to its end");
}

sub stop {
    close $to;
    waitpid $pid, 0;
    return $?;
}

sub store_more {
    print {$to} "more\n";
    $to->flush;
    my $answer = <$from>;
    $told{2}{$_} += 7 for qw(sessions stores);
    return;
}

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

# ---- run ----

subtest 'run' => sub {
    my $shell = 'echo $$ $LD_PRELOAD $SSLSWEEP_STATS $SSLSWEEP_VERBOSE $SSLSWEEP_AUTOFLUSH $SSLSWEEP_EVICTION; exit 9';
    my $pid = open my $out, '-|', $sslsweep, qw(run --stats --autoflush=incremental --eviction=lru --), 'sh', '-c', $shell;
    my $line = <$out>;
    close $out;
    is($? >> 8, 9, "the exit status is the program's");
    is($line, "$pid $library 1 incremental lru\n", 'so are the pid, and the options are in its environment');
    is(run($sslsweep, 'sh', '-c', $shell), 9, 'the short form');
    like($said, qr/^\d+ \Q$library\E$/, 'sets nothing else');
    {
        local $ENV{LD_PRELOAD} = '/nonexistent/other.so';
        run($sslsweep, 'sh', '-c', 'echo $LD_PRELOAD');
        like($said, qr{^\Q$library\E:/nonexistent/other\.so$}m, 'what is preloaded already stays');
    }
    is(run($sslsweep, 'sh', '-c', 'kill -9 $$'), 'signal 9', 'a signal is a signal');
    is(run($sslsweep, 'run', '/nonexistent/program'), 127, 'no program: status 127');
    is(run($sslsweep, 'run', $top), 126, 'not a program: status 126');
    for my $ignored ('IGNORE', 'DEFAULT') {
        local $SIG{PIPE} = $ignored;
        run($sslsweep, 'grep', 'SigIgn', '/proc/self/status');
        my ($mask) = $said =~ /([0-9a-f]+)$/;
        is(hex($mask) >> 12 & 1, $ignored eq 'IGNORE' ? 1 : 0, "SIGPIPE stays as it was: $ignored");
    }
    mkdir "$scratch/alone";
    mkdir "$scratch/alone/bin";
    runs('a copy without its library', 'cp', $sslsweep, "$scratch/alone/bin/");
    is(run("$scratch/alone/bin/sslsweep", 'run', 'true'), 125, 'status 125');
    like($complained, qr/\Asslsweep: \S*libsslsweep\.so\.\S+ is missing or not readable\n\z/, 'it says why');
    for my $wrong (['run'], ['run', '--eviction=random', 'true'], ['run', '--no-such', 'true'], ['top', '--interval', '0'],
        ['top', '--interval', 'x'], ['stat', 'x'], ['stat', '--json', '--prometheus'], ['stat', '99999999999'], ['doctor']) {
        is(run($sslsweep, @$wrong), 2, "status 2: @$wrong");
        like($complained, qr/\Asslsweep: [^\n]+\nusage: /, 'it says why, and how');
        is($said, '', 'on standard error');
    }
    for my $shell (qw(bash zsh fish)) {
        is(run($sslsweep, 'completions', $shell), 0, "completions for $shell");
        like($said, qr/doctor/, 'know of the subcommands');
    }
};

# ---- doctor ----

sub doctor {
    my ($status, $wanted, $what, @arguments) = @_;
    is(run($sslsweep, 'doctor', @arguments), $status, "$what: status $status") or diag($said . $complained);
    like($status == 2 ? $complained : $said, $wanted, 'it says why') or diag($said . $complained);
    return;
}

subtest 'doctor' => sub {
    doctor(0, qr/^yes +linkage +dynamic\n.*^yes +libssl .*OpenSSL \d/ms, 'a dynamic program', $served);
    my $static = compile('static', '-static', "-I$top/tests-c", "$here/served.c", "$top/tests-c/handshake.c",
        "$top/tests-c/support.c", ask('--static', '--libs', 'libssl'));
    doctor(1, qr/^no +linkage +static.*OpenSSL \d.*nothing can be preloaded.*libssl\.so/ms, 'a static program', $static);
    doctor(2, qr/^sslsweep: .*not found/, 'a program that is not there', 'no-such-program-at-all');
    my $text = spit("$scratch/text", "text\n");
    my $script = spit("$scratch/script", "#!$served\n");
    my $shell = spit("$scratch/shell", "#!/bin/sh\nexit 0\n");
    chmod 0755, $text, $script, $shell;
    doctor(1, qr/^no +program .*neither an ELF file nor a script/m, 'a text', $text);
    doctor(0, qr/^note +program .*is a script that .*served runs.*^yes +libssl /ms, 'a script', $script);
    doctor(1, qr/^no +libssl .*does not use OpenSSL\n.*ask about that one/m, 'a script of the shell', $shell);
    my $foreign = slurp($served);
    substr($foreign, 18, 2) = pack 'v', 183 == unpack('v', substr $foreign, 18, 2) ? 62 : 183;
    spit("$scratch/foreign", $foreign);
    chmod 0755, "$scratch/foreign";
    doctor(1, qr/^no .*the library is for/m, 'a program for another machine', "$scratch/foreign");
    my $musl = compile('musl', '-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1', "-I$top/tests-c", "$here/served.c",
        "$top/tests-c/handshake.c", "$top/tests-c/support.c", qw(-lssl -lcrypto -ldl -pthread));
    doctor(1, qr/^no +linkage .*for musl.*does not start/m, 'a program for musl', $musl);
    unlike($said, qr/as before/, 'nor that it runs as before');
    # P9: callers are bound by OpenSSL's version nodes.
    my $made = spit("$scratch/nodeless.c", qq(void *SSL_CTX_new(const void *method);\nvoid *SSL_CTX_new(const void *method) { return (void *)method; }\n));
    my $calls = spit("$scratch/calls.c", qq(void *SSL_CTX_new(const void *method);\nint main(void) { return SSL_CTX_new(0) != 0; }\n));
    runs('a libssl without version nodes', 'cc', '-shared', '-fPIC', '-Wl,-soname,libssl.so.3', '-o', "$scratch/libssl.so.3", $made);
    my $nodeless = compile('nodeless', $calls, "$scratch/libssl.so.3", "-Wl,-rpath,$scratch");
    doctor(1, qr/^no +libssl .*libssl\.so\.3 .*not OpenSSL's version nodes \(none\)/m, 'a libssl without version nodes', $nodeless);
    SKIP: {
        skip 'set-user-ID programs of root need root to make', 2 if $> != 0;
        runs('a copy', 'cp', $served, "$scratch/set-user-id");
        chown 65534, 65534, "$scratch/set-user-id";
        chmod 04755, "$scratch/set-user-id";
        doctor(1, qr/^no .*set-user-ID.*ignores LD_PRELOAD/m, 'a set-user-ID program', "$scratch/set-user-id");
    }

    start($sslsweep, 'run', '--stats', $served);
    doctor(0, qr/^yes +sslsweep +loaded.*^yes +libssl .*, OpenSSL \d.*^yes +contexts /ms, 'a process with it', $pid);
    stop();
    start($sslsweep, 'run', $served);
    doctor(0, qr/^yes +sslsweep +loaded.*^note +contexts .*--stats/ms, 'a process without statistics', $pid);
    stop();
    start($served);
    doctor(1, qr/^no +sslsweep .*sslsweep run/ms, 'a process without it', $pid);
    SKIP: {
        skip 'another user takes root', 2 if $> != 0;
        is(run('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', $sslsweep, 'doctor', $pid), 2, 'no permission: status 2');
        like($complained, qr/\Asslsweep: [^\n]+\n\z/, 'it says why');
    }
    stop();
    doctor(2, qr/^sslsweep: .*\b$pid\b/, 'a process that has ended', $pid);
    # As nginx does with its title, Perl writes $0 over the environment that the system shows.
    my @titled = ('perl', '-e', '$| = 1; $0 = "t" x 20000; print "ready\n"; readline STDIN');
    start($sslsweep, 'run', @titled);
    doctor(0, qr/^yes +sslsweep +loaded.*^note +environment .*\n\nprocess $pid has sslsweep loaded; .*SSLSWEEP_DISABLE/ms,
        'a process with a title', $pid);
    stop();
    start(@titled);
    doctor(1, qr/^no +sslsweep +not loaded; .*cannot be seen/m, 'one without sslsweep', $pid);
    stop();
};

# ---- top ----

# A terminal of our own: tmux, with a server for each.
my @tmux;
my $terminals = 0;
sub no_terminal { system "@tmux kill-server 2>/dev/null" if @tmux; return }
END { my $status = $?; no_terminal(); $? = $status }

sub terminal {
    my ($columns, $rows, @command) = @_;
    no_terminal();
    @tmux = ('tmux', '-L', "sslsweep-$$-" . ++$terminals, '-f', '/dev/null');
    my $command = join ' ', map { "'$_'" } @command;
    runs("a terminal of ${columns}x$rows", @tmux, 'new-session', '-d', '-x', $columns, '-y', $rows,
        "$command 2>$scratch/top.err; echo \"status \$?\"; exec sleep 60");
    return;
}
sub screen { run(@tmux, 'capture-pane', '-p', @_); return $said }
sub keys_are { run(@tmux, 'send-keys', @_); return }

sub shows {
    my ($pattern, $name) = @_;
    my $last = '';
    ok(within(sub { $last = screen(); $last =~ $pattern }), $name) or diag($last);
    return;
}

# What a context holds, as a word; braces after a name would be a quantifier in a pattern.
sub held { my ($context) = @_; my $sessions = $told{$context}{sessions}; return qr/\b$sessions\b/ }

subtest 'top' => sub {
    is(run('tmux', '-V'), 0, 'tmux is there') or return;
    start($sslsweep, 'run', '--stats', $served);
    terminal(80, 24, $sslsweep, 'top', '--interval', '0.2', $pid);
    shows(qr/served/, 'the program');
    my $screen = screen();
    is(scalar(grep { length > 80 } split /\n/, $screen), 0, 'no line is too long');
    like($screen, qr/${\ held(1)}(?:\/| +)10\b/, 'context 1: what is held, and its size') or diag($screen);
    like($screen, held(2), 'context 2: what is held');
    store_more();
    shows(held(2), 'and what is more, soon');
    keys_are('?');
    shows(qr/quits?/i, '? helps');
    keys_are('?');
    keys_are('Down', 'Enter');
    shows(qr/expir/i, 'Enter shows the curve');
    keys_are('Escape');
    keys_are('p');
    shows(qr/paused/i, 'p pauses');
    store_more();
    sleep 1;
    unlike(screen(), held(2), 'nothing moves');
    keys_are('p');
    shows(held(2), 'p goes on');
    run(@tmux, 'resize-window', '-x', 20, '-y', 5);
    shows(qr/too small/i, 'a terminal of 20 columns: it says so, and lives');
    run(@tmux, 'resize-window', '-x', 120, '-y', 30);
    shows(qr/served/, 'a wider one');
    keys_are('q');
    shows(qr/^status 0$/m, 'q quits');

    terminal(80, 24, 'env', 'NO_COLOR=1', $sslsweep, 'top', '--interval', '0.2');
    shows(qr/served/, 'without colour');
    unlike(screen('-e'), qr/\e\[[0-9;]*3[0-7]m/, 'no colour is set');
    keys_are('q');
    shows(qr/^status 0$/m, 'and it ends');

    terminal(80, 24, $sslsweep, 'top', '--interval', '0.2', $pid);
    shows(qr/served/, 'a process that ends while it is watched');
    stop();
    shows(qr/^status 0$/m, 'ends the command');
    like(slurp("$scratch/top.err"), qr/\b$pid\b[^\n]*ended/, 'which says so');

    start($sslsweep, 'run', '--stats', $served);
    is(run($sslsweep, 'top', '--interval', '0.2', '--iterations', 2, $pid), 0, 'into a pipe: lines');
    unlike($said, qr/\e/, 'plain ones');
    is(scalar(() = $said =~ /^\s*$pid +served +2 /mg), 2, 'two tables') or diag($said);
    stop();
    is(run($sslsweep, 'top', $pid), 1, 'nothing to show: status 1');
    like($complained, qr/\Asslsweep: [^\n]+\n\z/, 'it says why');
};

done_testing;
