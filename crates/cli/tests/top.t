#!/usr/bin/perl
# sslsweep top: what it shows (on tmux's terminal), and that it ends with its terminal and by signals, whatever that
# terminal does (on pseudo-terminals whose other end is here).
#
# The environment is that of tests-c/support/Installed.pm.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use Test::More;
use Fcntl qw(O_RDWR O_NOCTTY);
use IO::Select;
use POSIX qw(:sys_wait_h :signal_h :termios_h setsid);
use Time::HiRes qw(sleep time);
use lib dirname(abs_path(__FILE__)) . '/../../../tests-c/support', dirname(abs_path(__FILE__));
use Command;
use Installed;

my $served = served('served');

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

# The number of sessions that a context holds, as a word; braces after a name would be a quantifier in a pattern.
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
    shows(qr/lookups that hit +\d/, 'Enter shows all figures');
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


# ---- Idle ones, totals, selection ----

subtest 'what is idle, and totals' => sub {
    start($sslsweep, 'run', '--stats', $served);
    my @numbered = grep { /^\d+$/ } keys %told;
    terminal(100, 30, $sslsweep, 'top', '--interval', '0.2');
    shows(qr/^ *$pid served +2 .* in force\b/m, 'a context in force');
    like(screen(), qr/\A\S+ .*\b\d+ idle lines? hidden\b/, 'that some are hidden');
    unlike(screen(), qr/^ *$pid served .* client\b/m, 'that of a client is');
    keys_are('i');
    shows(qr/^ *$pid served .* client\b/m, 'i shows it');
    keys_are('i');
    shows(qr/idle lines? hidden/, 'i hides it');
    keys_are('t');
    shows(qr/^ *$pid served +all /m, 't: a line for each process');
    unlike(screen(), qr/^ *$pid served +2 /m, 'alone');
    keys_are('t');
    shows(qr/^ *\d+ procs? served +all /m, 't: a line for each program');
    keys_are('a');
    shows(qr/rates over 10s/, 'a: averages over 10 seconds');
    keys_are('q');
    shows(qr/^status 0$/m, 'q quits');

    is(run($sslsweep, 'top', '--iterations', 1), 0, 'lines');
    unlike($said, qr/^ *$pid served .* client\b/m, 'without the idle one');
    is(run($sslsweep, 'top', '--idle', '--iterations', 1), 0, 'lines with --idle');
    like($said, qr/^ *$pid served .* client\b/m, 'have it');
    is(run($sslsweep, 'top', '--iterations', 1, $pid, 'served'), 0, 'a pid and a name');
    like($said, qr/^ *$pid served +2 /m, 'that mean the same');
    is(run($sslsweep, 'top', '--iterations', 1, $pid, 'no-such-name'), 1, 'a name that matches nothing: status 1');
    like($complained, qr/\Asslsweep: [^\n]*no-such-name[^\n]*\n\z/, 'it is named');
    stop();
};

subtest 'a container' => sub {
    plan skip_all => 'namespaces take root' if $> != 0;
    my $inside = start_contained($served) or return;
    my $namespace = readlink "/proc/$inside/ns/pid";
    terminal(120, 24, $sslsweep, 'top', '--interval', '0.2', $inside);
    shows(qr/\A\S+ .* in \Q$namespace\E/, 'its pid namespace is in the header');
    keys_are('q');
    stop();
    start($sslsweep, 'run', '--stats', $served);
    terminal(120, 24, $sslsweep, 'top', '--interval', '0.2', $pid);
    shows(qr/^ *$pid served/m, 'a process of our own namespace');
    unlike(screen(), qr/pid:\[/, 'has none there');
    keys_are('q');
    stop();
};

# ---- Any terminal ----

use constant { TIOCSPTLCK => 0x40045431, TIOCGPTN => 0x80045430, TIOCSWINSZ => 0x5414, FIONREAD => 0x541B };

# Runs a command as the leader of a session on a terminal of its own. Options: size, controlling (or not), stdin.
sub on_terminal {
    my ($of, @command) = @_;
    sysopen my $master, '/dev/ptmx', O_RDWR | O_NOCTTY or die "/dev/ptmx: $!";
    my ($unlocked, $number) = (pack('i', 0), pack 'i', 0);
    ioctl $master, TIOCSPTLCK, $unlocked or die "unlock: $!";
    ioctl $master, TIOCGPTN, $number or die "number: $!";
    my $path = '/dev/pts/' . unpack 'i', $number;
    resize($master, @{ $of->{size} || [80, 24] });
    my $mode = mode({ master => $master });
    defined(my $child = fork) or die "fork: $!";
    if ($child == 0) {
        close $master;
        setsid();
        my $controls = !exists $of->{controlling} || $of->{controlling};
        sysopen my $slave, $path, O_RDWR | ($controls ? 0 : O_NOCTTY) or die "$path: $!";
        open STDIN, '<&', $slave or die "stdin: $!";
        open STDIN, '<', $of->{stdin} or die "stdin: $!" if $of->{stdin};
        open STDOUT, '>&', $slave or die "stdout: $!";
        open STDERR, '>&', $slave or die "stderr: $!";
        $ENV{TERM} = exists $of->{term} ? $of->{term} : 'xterm';
        exec { $command[0] } @command or POSIX::_exit(127);
    }
    return { pid => $child, master => $master, mode => $mode, said => '' };
}

sub resize { my ($master, $columns, $rows) = @_; my $size = pack 'S4', $rows, $columns, 0, 0; return ioctl $master, TIOCSWINSZ, $size }

# Reads on until this is in the output since the last time.
sub says {
    my ($on, $pattern, $name) = @_;
    my $found = within(sub {
        while (IO::Select->new($on->{master})->can_read(0.05)) {
            sysread($on->{master}, $on->{said}, 65536, length $on->{said}) or last;
        }
        return $on->{said} =~ $pattern;
    });
    ok($found, $name) or diag($on->{said});
    $on->{said} = '' if $found;
    return $found;
}

sub types { my ($on, $keys) = @_; syswrite $on->{master}, $keys; return }

# How it ends: "signal N" or its status; "not at all" if it does not, whereupon it is killed.
sub ends {
    my ($on) = @_;
    my $status;
    if (!within(sub { waitpid($on->{pid}, WNOHANG) == $on->{pid} ? defined($status = $?) : 0 })) {
        kill 'KILL', $on->{pid};
        waitpid $on->{pid}, 0;
        return 'not at all';
    }
    return $status & 127 ? 'signal ' . ($status & 127) : $status >> 8;
}

# The mode of the terminal, as its other end sees it.
sub mode { my ($on) = @_; my $mode = POSIX::Termios->new; $mode->getattr(fileno $on->{master}); return $mode->getlflag & (ICANON | ECHO) }

sub watch { return ($sslsweep, 'top', '--interval', '0.2', $pid) }

subtest 'the terminal goes' => sub {
    start($sslsweep, 'run', '--stats', $served);
    my $on = on_terminal({}, watch());
    says($on, qr/served/, 'it runs');
    close $on->{master};
    like(ends($on), qr/\A(?:signal 1|1)\z/, 'its terminal is closed: it ends, by SIGHUP or by what it sees of that');

    # The leader of the session ignores SIGHUP, as do its children until they say otherwise.
    my $note = "$scratch/ended";
    unlink $note;
    $on = on_terminal({}, 'sh', '-c', "trap '' HUP; @{[watch()]}; echo \$? >$note.new; mv $note.new $note");
    says($on, qr/served/, 'below a shell that ignores SIGHUP');
    close $on->{master};
    ok(within(sub { -e $note }), 'it ends, too');
    isnt(slurp($note), "0\n", 'with a status that is not 0');
    ends($on);

    for my $of ({ stdin => '/dev/null' }, { stdin => '/dev/null', controlling => 0 }, { controlling => 0 }) {
        my $what = join ', ', map { "$_ $of->{$_}" } sort keys %$of;
        $on = on_terminal($of, watch());
        says($on, qr/served/, "$what: it runs");
        close $on->{master};
        like(ends($on), qr/\A(?:signal 1|1)\z/, "$what: it ends");
    }
    stop();
};

subtest 'signals' => sub {
    start($sslsweep, 'run', '--stats', $served);
    for my $signal (SIGHUP, SIGINT, SIGQUIT, SIGTERM) {
        my $on = on_terminal({}, watch());
        says($on, qr/served/, 'it runs');
        kill $signal, $on->{pid};
        says($on, qr/\e\[\?1049l/, "signal $signal: it leaves its screen");
        is(ends($on), "signal $signal", 'and ends by that signal');
        is(mode($on), $on->{mode}, 'the mode of the terminal is what it was');
    }
    # A terminal that says to have more columns and rows than anybody can see.
    my $large = on_terminal({ size => [65535, 65535] }, watch());
    says($large, qr/served/, 'a terminal of four thousand million characters: it runs');
    types($large, 'q');
    says($large, qr/\e\[\?1049l/, 'it leaves its screen');
    is(ends($large), 0, 'and quits');

    # A terminal that takes nothing any more: a screen of each size, until it is full.
    my $on = on_terminal({}, watch());
    says($on, qr/served/, 'it runs');
    my ($width, $before, $same) = (80, 0, 0);
    ok(within(sub {
        resize($on->{master}, $width = 321 - $width, 50);
        sleep 0.5;
        my $waiting = pack 'i', 0;
        ioctl $on->{master}, FIONREAD, $waiting;
        ($waiting) = unpack 'i', $waiting;
        $same = $waiting == $before ? $same + 1 : 0;
        $before = $waiting;
        return $waiting > 0 && $same == 3;
    }), 'what it draws has no room any more');
    kill 'TERM', $on->{pid};
    like(ends($on), qr/\Asignal (?:14|15)\z/, 'SIGTERM ends it though its terminal takes nothing');
    stop();
};

subtest 'Ctrl-Z, and the background' => sub {
    start($sslsweep, 'run', '--stats', $served);
    my $on = on_terminal({}, 'bash', '-c', "set -m; @{[watch()]}; echo \"stopped \$?\"; stty -a; fg; echo \"status \$?\"");
    says($on, qr/served/, 'it runs');
    types($on, "\x1a");
    says($on, qr/\e\[\?1049l.*stopped 148\b.*[^-]icanon\b.*[^-]echo\b.*\e\[\?1049h.*served/s,
        'Ctrl-Z gives the terminal back, and stops; in the foreground again it takes the screen');
    types($on, 'q');
    says($on, qr/status 0\b/, 'and its keys');
    is(ends($on), 0, 'q quits');

    $on = on_terminal({}, 'bash', '-c', "set -m; @{[watch()]} & until jobs | grep -q Stopped; do sleep 0.1; done; echo in the back; fg; echo \"status \$?\"");
    says($on, qr/in the back/, 'started in the background it stops');
    says($on, qr/served/, 'in the foreground it runs');
    my $child = child_of($on->{pid}, 'sslsweep');
    ok($child, 'its pid') or return;
    kill 'TSTP', $child;
    says($on, qr/status 148/, 'SIGTSTP stops it, too');
    kill 'KILL', $child;
    is(ends($on), 0, 'the shell ends');

    $on = on_terminal({}, watch());
    says($on, qr/served/, 'as the leader of a session');
    types($on, "\x1a");
    says($on, qr/\e\[\?1049l.*\e\[\?1049h.*served/s, 'where nobody could continue it, Ctrl-Z does not stop it');
    types($on, 'q');
    is(ends($on), 0, 'q quits');
    stop();
};

subtest 'terminals of any kind' => sub {
    start($sslsweep, 'run', '--stats', $served);
    for my $size ([0, 0], [1, 1], [40, 6], [500, 200]) {
        my $on = on_terminal({ size => $size }, watch());
        says($on, $size->[0] == 1 ? qr/t/ : qr/served/, "@$size: it draws");
        resize($on->{master}, 90, 30);
        says($on, qr/served/, 'and draws again in another size') if $size->[0];
        types($on, 'q');
        is(ends($on), 0, 'q quits');
    }
    for my $term ('no-such-terminal', 'vt100') {
        my $on = on_terminal({ term => $term }, watch());
        says($on, qr/\e\[\?1049h.*served/s, "TERM=$term: a screen");
        types($on, "\e[1;5A\e[B\x03");
        is(ends($on), 0, 'sequences that are not known do nothing, Ctrl-C quits');
    }
    for my $term ('dumb', 'unknown', '') {
        my $on = on_terminal({ term => $term }, watch(), '--iterations', 2);
        says($on, qr/\A[^\e]*PID[^\e]*served[^\e]*PID[^\e]*served[^\e]*\z/, "TERM='$term': lines");
        is(ends($on), 0, 'and it ends');
    }
    my $on = on_terminal({ stdin => '/dev/null' }, watch());
    says($on, qr/served/, 'standard input is no terminal');
    types($on, 'q');
    is(ends($on), 0, 'keys come from the terminal all the same');
    stop();
};

subtest 'nobody reads' => sub {
    start($sslsweep, 'run', '--stats', $served);
    my $reader = open my $out, '-|', $sslsweep, 'top', '--interval', 60;
    my $first = <$out>;
    like($first, qr/PID/, 'a pipe gets lines');
    my $ended = { pid => $reader };
    {
        # Closing it would wait for the end, which must come of itself.
        open my $null, '<', '/dev/null';
        POSIX::dup2(fileno $null, fileno $out);
    }
    isnt(ends($ended), 'not at all', 'without a reader it ends, long before its next look');
    stop();
};

done_testing;
