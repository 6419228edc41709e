#!/usr/bin/perl
# sslsweep run: the program takes its place, with the library preloaded; where that can have no effect, one line says so
# and the program runs all the same.
#
# The environment is that of tests-c/support/Installed.pm.
use strict;
use warnings;
no warnings 'portable'; # a mask of 64 signals is a number of 64 bits
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use Test::More;
use lib dirname(abs_path(__FILE__)) . '/../../../tests-c/support', dirname(abs_path(__FILE__));
use Command;
use Installed;

my $served = served('served');

subtest 'run' => sub {
    my $shell = 'echo $$ $LD_PRELOAD $SSLSWEEP_STATS $SSLSWEEP_VERBOSE $SSLSWEEP_AUTOFLUSH $SSLSWEEP_EVICTION $SSLSWEEP_TICKETS; exit 9';
    my $pid = open my $out, '-|', $sslsweep, qw(run --stats --autoflush=incremental --eviction=lru --tickets=stateful --), 'sh', '-c', $shell;
    my $line = <$out>;
    close $out;
    is($? >> 8, 9, "the exit status is the program's");
    is($line, "$pid $library 1 incremental lru stateful\n", 'so are the pid, and the options are in its environment');
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
        ['top', '--interval', 'x']) {
        is(run($sslsweep, @$wrong), 2, "status 2: @$wrong");
        like($complained, qr/\Asslsweep: [^\n]+\nusage: /, 'it says why, and how');
        is($said, '', 'on standard error');
    }
};

subtest 'run --share' => sub {
    my $shell = 'echo "$SSLSWEEP_SHARE $SSLSWEEP_SHARE_KEY"';
    my $key   = key_file('keys');
    my $place = "$scratch/two words";
    for my $case (
        [['--share'], 'family '],
        [['--share=family:8m'], 'family:8m '],
        [["--share=host:$place:1m", "--share-key=$key"], "host:$place:1m $key"],
        [['--share', '--share-key', $key], "family $key"],
    ) {
        my ($options, $set) = @$case;
        is(run($sslsweep, 'run', @$options, 'sh', '-c', $shell), 0, "run @$options") or diag($complained);
        is($said, "$set\n", 'sets the environment');
        is($complained, '', 'and says nothing');
    }
    {
        local $ENV{SSLSWEEP_SHARE_KEY} = $key;
        is(run($sslsweep, 'run', "--share=host:$place:1m", 'sh', '-c', $shell), 0, 'the key file of the environment');
        is($said, "host:$place:1m $key\n", 'serves');
    }
    for my $wrong (['--share=everywhere'], ['--share=host:relative'], ['--share=host'], ['--share=family:64x'], ['--share=family:4k'],
        ["--share-key=$key"]) {
        is(run($sslsweep, 'run', @$wrong, 'true'), 2, "status 2: @$wrong");
        like($complained, qr/\Asslsweep: [^\n]+\nusage: /, 'it says why');
    }

    # What cannot be had is said before the program starts.
    my $refuses = sub {
        my ($what, $why, @options) = @_;
        is(run($sslsweep, 'run', @options, 'echo', 'started'), 125, "$what: status 125");
        like($complained, qr/\Asslsweep: cannot share sessions: [^\n]*$why[^\n]*; [^\n]+\n\z/, 'it says why, and what to do');
        is($said, '', 'and the program does not run');
    };
    my @with = ("--share-key=$key");
    my $host = "--share=host:$scratch/segment:1m";
    $refuses->('no key file', qr/host needs a key file/, $host);
    $refuses->('a key file that is not there', qr/no-keys does not exist/, $host, "--share-key=$scratch/no-keys");
    $refuses->('a relative one', qr/keys is not named by an absolute path/, $host, '--share-key=keys');
    $refuses->('an empty one', qr/is empty/, $host, '--share-key=' . do { my $empty = spit("$scratch/empty", ''); chmod 0600, $empty; $empty });
    $refuses->('a folder', qr/is not a regular file/, $host, "--share-key=$scratch");
    symlink $key, "$scratch/link";
    $refuses->('a link', qr/is not a regular file/, $host, "--share-key=$scratch/link");
    my $open = key_file('open');
    chmod 0640, $open;
    $refuses->('one that others can read', qr/open has mode 0640/, $host, "--share-key=$open");
    $refuses->('no folder for the segment', qr/cannot be made: No such file/, "--share=host:$scratch/none/segment", @with);
    $refuses->('no room for it', qr/no room for the segment .* bytes are free/, "--share=host:$scratch/segment:900000g", @with);
    my $small = spit("$scratch/small", 'x' x 4096);
    chmod 0600, $small;
    $refuses->('a segment of another size', qr/small has 4096 bytes instead of 1048576/, "--share=host:$small:1m", @with);
    chmod 0666, $small;
    $refuses->('one of everybody', qr/small has mode 0666/, "--share=host:$small:12k", @with);
    SKIP: {
        skip 'other users take root', 1 if $> != 0;
        my $theirs = key_file('theirs');
        chown 65534, 65534, $theirs;
        $refuses->("another user's key file", qr/theirs belongs to user 65534, and the program runs as user 0/, $host, "--share-key=$theirs");
    }
    my $without = without_share();
    is(run($without, 'run', 'echo', 'started'), 0, 'a tree without the share library runs programs');
    is(run($without, 'run', '--share', 'echo', 'started'), 125, 'but shares nothing: status 125');
    like($complained, qr/\Asslsweep: cannot share sessions: \S*libsslsweep-share\.so\.\S+ is missing or not readable; [^\n]+\n\z/, 'it says why');

    my $ftp = compile('vsftpd', spit("$scratch/ftp.c", "int main(void) { return 0; }\n"));
    is(run($sslsweep, 'run', '--share', $ftp), 0, 'an FTP server runs');
    like($complained, qr/\Asslsweep: vsftpd shares no sessions: [^\n]+; [^\n]+\n(?:sslsweep\[\d+\]: no sharing: vsftpd [^\n]+\n)?\z/, 'with a warning');
    run($sslsweep, 'run', $ftp);
    is($complained, '', 'without --share there is none');
};

# The program, and what is said of it, in one line.
sub warns {
    my ($what, $why, $program, %of) = @_;
    my $status = run(@{ $of{as} || [] }, $sslsweep, 'run', '--', $program, @{ $of{arguments} || [] });
    my ($base) = $program =~ m{([^/]+)\z};
    is($status, $of{status} || 0, "$what: it runs all the same") or diag($complained);
    like($complained, qr/\Asslsweep: \Q$base\E has no effect here: $why; [^\n]+\n\z/, "$what: one line says why") if $why;
    is($complained, '', "$what: nothing is said") if !$why;
    return;
}

subtest 'run warns where it can have no effect' => sub {
    my $nothing = spit("$scratch/nothing.c", "int main(void) { return 0; }\n");
    my $plain = compile('plain', $nothing);
    warns('a program without OpenSSL, which may start others', undef, $plain);
    warns('a script of the shell', undef, '/bin/sh', arguments => ['-c', 'exit 0']);
    my $static = compile('static', '-static', $nothing);
    warns('a static program', qr/it is statically linked/, $static);
    warns('a static program with arguments of its own', qr/it is statically linked/, $static, arguments => ['--help']);
    my $pie = compile('static-pie', '-static-pie', '-fPIE', $nothing);
    warns('a static program that can be moved', qr/it is statically linked/, $pie);
    my $script = spit("$scratch/script", "#!$static\n");
    chmod 0755, $script;
    warns('a script of a static interpreter', qr/it is statically linked/, $script);
    my $by_env = spit("$scratch/by-env", "#!/usr/bin/env static\n");
    chmod 0755, $by_env;
    {
        local $ENV{PATH} = "$scratch:$ENV{PATH}";
        warns('one by env', qr/it is statically linked/, $by_env);
        is(run($sslsweep, 'static'), 0, 'a program of PATH, in the short form');
        like($complained, qr/\Asslsweep: static has no effect here: /, 'is warned of, too');
    }

    # P9: callers are bound by OpenSSL's version nodes.
    my $made = spit("$scratch/made.c", "void *SSL_CTX_new(const void *m);\nvoid *SSL_CTX_new(const void *m) { return (void *)m; }\n");
    my $calls = spit("$scratch/calls.c", "void *SSL_CTX_new(const void *m);\nint main(void) { return SSL_CTX_new(0) != 0; }\n");
    runs('a libssl without version nodes', 'cc', '-shared', '-fPIC', '-Wl,-soname,libssl.so.3', '-o', "$scratch/libssl.so.3", $made);
    my $nodeless = compile('nodeless', $calls, "$scratch/libssl.so.3", "-Wl,-rpath,$scratch");
    warns('a libssl without version nodes', qr/\S*libssl\.so\.3 .*version nodes.*/, $nodeless);
    my $inside = compile('inside', '-rdynamic', $calls, $made);
    warns('a program with its own libssl', qr/it has its own libssl inside/, $inside);

    my $foreign = slurp($plain);
    substr($foreign, 18, 2) = pack 'v', 183 == unpack('v', substr $foreign, 18, 2) ? 62 : 183;
    spit("$scratch/foreign", $foreign);
    chmod 0755, "$scratch/foreign";
    run($sslsweep, 'run', "$scratch/foreign");
    like($complained, qr/\Asslsweep: foreign has no effect here: it is for [^\n]+; [^\n]+\n/, 'a program for another machine');
    my $musl = compile('musl', '-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1', $nothing);
    run($sslsweep, 'run', $musl);
    like($complained, qr/\Asslsweep: musl has no effect here: it is built for musl/, 'a program for musl');

    # A file that cannot be read gets no guess.
    my $damaged = spit("$scratch/damaged", substr slurp($plain), 0, 100);
    chmod 0755, $damaged;
    isnt(run($sslsweep, 'run', $damaged), 0, 'a damaged program');
    unlike($complained, qr/has no effect/, 'is for the system to complain about');

    SKIP: {
        skip 'another user takes root', 1 if $> != 0;
        chmod 0755, $scratch;
        my @as = qw(setpriv --reuid=65534 --regid=65534 --clear-groups);
        runs('a copy', 'cp', $plain, "$scratch/rights");
        chmod 04755, "$scratch/rights";
        warns('a set-user-ID program', qr/it is set-user-ID: [^;]+/, "$scratch/rights", as => \@as);
        warns('the same as its own user', undef, "$scratch/rights");
        chmod 02755, "$scratch/rights";
        warns('a set-group-ID program', qr/it is set-group-ID: [^;]+/, "$scratch/rights", as => \@as);
        chmod 0111, "$scratch/rights";
        warns('a program that cannot be read', undef, "$scratch/rights", as => \@as);
        chmod 0755, "$scratch/rights";
        is(run('setcap', 'cap_net_bind_service=ep', "$scratch/rights"), 0, 'file capabilities') or diag($complained);
        warns('a program with file capabilities', qr/it has file capabilities: [^;]+/, "$scratch/rights", as => \@as);
    }
};

done_testing;
