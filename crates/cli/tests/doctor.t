#!/usr/bin/perl
# sslsweep doctor: what it says of programs, of libraries, of processes, of sharing, and of all services that run.
#
# The environment is that of tests-c/support/Installed.pm.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use Test::More;
use lib dirname(abs_path(__FILE__)) . '/../../../tests-c/support', dirname(abs_path(__FILE__));
use Command;
use Installed;

my $served = served('served');

sub doctor {
    my ($status, $wanted, $what, @arguments) = @_;
    is(run($sslsweep, 'doctor', @arguments), $status, "$what: status $status") or diag($said . $complained);
    like($status == 2 ? $complained : $said, $wanted, 'it says why') or diag($said . $complained);
    return;
}

subtest 'doctor' => sub {
    doctor(0, qr/^yes +linkage +dynamic\n.*^yes +libssl .*OpenSSL \d/ms, 'a dynamic program', $served);
    my $static = served('static', '-static');
    doctor(1, qr/^no +linkage +it is statically linked.*OpenSSL \d+\.\d+\.\d+\S* \d+ [A-Z][a-z][a-z] \d{4}\n.*libssl\.so/ms,
        'a static program', $static);
    doctor(2, qr/^sslsweep: .*not found/, 'a program that is not there', 'no-such-program-at-all');
    my $text = spit("$scratch/text", "text\n");
    my $script = spit("$scratch/script", "#!$served\n");
    my $shell = spit("$scratch/shell", "#!/bin/sh\nexit 0\n");
    chmod 0755, $text, $script, $shell;
    doctor(1, qr/^no +program .*neither an ELF file nor a script/m, 'a text', $text);
    doctor(0, qr/^note +program .*is a script that .*served runs.*^yes +libssl /ms, 'a script', $script);
    doctor(1, qr/^no +use +it does not use OpenSSL\n.*ask about that one/m, 'a script of the shell', $shell);
    my $foreign = slurp($served);
    substr($foreign, 18, 2) = pack 'v', 183 == unpack('v', substr $foreign, 18, 2) ? 62 : 183;
    spit("$scratch/foreign", $foreign);
    chmod 0755, "$scratch/foreign";
    doctor(1, qr/^no +machine .*the library for/m, 'a program for another machine', "$scratch/foreign");
    my $musl = served('musl', '-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1');
    doctor(1, qr/^no +linkage .*for musl.*does not start/m, 'a program for musl', $musl);
    unlike($said, qr/as before/, 'nor that it runs as before');
    # P9: callers are bound by OpenSSL's version nodes.
    my $made = spit("$scratch/nodeless.c", qq(void *SSL_CTX_new(const void *method);\nvoid *SSL_CTX_new(const void *method) { return (void *)method; }\n));
    my $calls = spit("$scratch/calls.c", qq(void *SSL_CTX_new(const void *method);\nint main(void) { return SSL_CTX_new(0) != 0; }\n));
    runs('a libssl without version nodes', 'cc', '-shared', '-fPIC', '-Wl,-soname,libssl.so.3', '-o', "$scratch/libssl.so.3", $made);
    my $nodeless = compile('nodeless', $calls, "$scratch/libssl.so.3", "-Wl,-rpath,$scratch");
    doctor(1, qr/^no +libssl .*libssl\.so\.3 .*lack OpenSSL's version nodes \(none\)/m, 'a libssl without version nodes', $nodeless);
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


# The libraries that the program has loaded.
sub loaded { my ($start) = @_; return slurp("/proc/$pid/maps") =~ m{ (/\S*/\Q$start\E\S*)$}m ? $1 : BAIL_OUT("no $start") }

subtest 'what is no program' => sub {
    start($sslsweep, 'run', '--stats', $served);
    doctor(0, qr/^yes +file .*^note +kind +a shared library.*^yes +libssl .*, OpenSSL \d.*^note +loaded by .*served $pid\b.*is a library/ms,
        'libssl', loaded('libssl.so'));
    doctor(0, qr/^note +itself .*\n.*is sslsweep/ms, 'our own library', $library);
    doctor(1, qr/^note +kind .*^no +use +it does not use OpenSSL.*is a library that cannot/ms, 'libc', loaded('libc.so'));
    stop();
    my $uses = spit("$scratch/uses.c", "void *SSL_CTX_new(const void *);\nvoid *uses(void);\nvoid *uses(void) { return SSL_CTX_new(0); }\n");
    my $plugin = compile('plugin.so', '-shared', '-fPIC', $uses, '-lssl');
    doctor(0, qr/^yes +libssl .*^note +loaded by +no process/ms, 'a plug-in that uses libssl', $plugin);
    doctor(0, qr/^note +itself .*uses no OpenSSL/ms, 'the command itself', $sslsweep);
    unlike($said, qr/inside/, 'has no libssl inside');

    # As node has it: texts that speak of a version before the one that tells it, in the dynamic symbols or stripped.
    my $texts = 'const char *texts[] = { "OpenSSL 3.0 legacy provider", "OpenSSL 1.1.1 or later", "OpenSSL 3.0.19 27 Jan 2026",'
        . " \"ssl/ssl_lib.c\" };\nint main(int n, char **v) { return texts[n] == v[0]; }\n";
    my $node = compile('node', '-s', spit("$scratch/texts.c", $texts));
    doctor(1, qr/^no +libssl +it has its own libssl inside, OpenSSL 3\.0\.19 27 Jan 2026$/m, 'a program with libssl inside', $node);
};

# The line of a process in the list of all services.
sub service { my ($of) = @_; return $said =~ /^ *$of (.*)$/m ? $1 : '' }

subtest 'all services' => sub {
    start($served);
    is(run($sslsweep, 'doctor'), 1, 'one is without: status 1');
    like($said, qr/^ +PID PROGRAM +STATE +WHY/, 'a heading');
    like(service($pid), qr/^served +without +sslsweep is not loaded; start it with: sslsweep run/, 'one without it');
    stop();
    start($sslsweep, 'run', '--stats', $served);
    run($sslsweep, 'doctor');
    like(service($pid), qr/^served +in force +sessions are stored/, 'one in force');
    stop();
    start($sslsweep, 'run', $served);
    run($sslsweep, 'doctor');
    like(service($pid), qr/^served +loaded +it publishes no figures; start it with: sslsweep run --stats/, 'one without figures');
    stop();
    {
        local $ENV{SSLSWEEP_DISABLE} = 1;
        start($sslsweep, 'run', $served);
        is(run($sslsweep, 'doctor'), 1, 'one that is disabled: status 1');
        like(service($pid), qr/^served +disabled +SSLSWEEP_DISABLE=1/, 'says so');
        doctor(1, qr/^no +options +SSLSWEEP_DISABLE=1/m, 'of it alone', $pid);
        stop();
    }
    SKIP: {
        skip 'another user takes root', 1 if $> != 0;
        start($served);
        my @as = qw(setpriv --reuid=65534 --regid=65534 --clear-groups);
        run(@as, $sslsweep, 'doctor');
        is(service($pid), '', "another user does not see root's");
        like($complained, qr/^sslsweep: \d+ process(?:es)? of other users could not be looked at; ask as root$/m, 'but that there are more');
        stop();
        # A folder for processes without any.
        is(run('unshare', '--pid', '--fork', '--mount-proc', $sslsweep, 'doctor'), 0, 'no service: status 0');
        is($said, "no process that can be looked at uses libssl.so\n", 'and it is said');
    }
};

subtest 'idle, and what to set' => sub {
    my $idle = spit("$scratch/idle.c", <<'END');
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
int main(int count, char **words)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (count > 1 && strcmp(words[1], "off") == 0)
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_free(SSL_new(ctx));
    puts("ready");
    fflush(stdout);
    getchar();
    return 0;
}
END
    my $nginx = compile('nginx', $idle, qw(-lssl -lcrypto));
    start($sslsweep, 'run', '--stats', $nginx, 'off');
    doctor(0, qr/^note +cache +idle: [^\n]+switched[^\n]+\n +remedy: ssl_session_cache builtin:\d+; ssl_session_tickets off;\n.*its cache is idle\.$/ms,
        'a server whose cache is off', $pid);
    run($sslsweep, 'doctor');
    like(service($pid), qr/^nginx +off +idle: .*; setting: ssl_session_cache/, 'in the list');
    stop();
    start($sslsweep, 'run', '--stats', $nginx);
    doctor(0, qr/^note +cache +idle: no handshake has finished yet\n\n/m, 'one without a handshake', $pid);
    stop();
    start($sslsweep, 'run', '--stats', $served);
    doctor(0, qr/^yes +cache +in force.*its cache is in force\.$/ms, 'one in force', $pid);
    stop();
};

subtest 'sharing' => sub {
    my $plain  = compile('shared', spit("$scratch/maps.c", <<'END'), qw(-lssl -lcrypto));
#include <fcntl.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <sys/mman.h>
/* Maps the file that it is given, as the share library maps a segment. */
int main(int count, char **words)
{
    SSL_CTX_free(SSL_CTX_new(TLS_server_method()));
    if (count > 1 && mmap(NULL, 12288, PROT_READ, MAP_SHARED, open(words[1], O_RDONLY), 0) == MAP_FAILED)
        return 1;
    puts("ready");
    fflush(stdout);
    getchar();
    return 0;
}
END
    my $share_library = "$top/build/lib/$share";
    my $key  = key_file('keys');
    my $none = qr/^no +sharing /m;

    # A program that does not run yet, with the environment that it is to have.
    doctor(0, qr/can be taken over: /, 'a program that is not to share', $plain);
    unlike($said, qr/sharing/, 'nothing is said of that');
    for my $case (
        ['family', undef, 0, qr/^yes +sharing +SSLSWEEP_SHARE: family, 67108864 bytes\nyes +sharing +\Q$share_library\E is there\n/m],
        ["host:$scratch/segment:12k", $key, 0, qr/^yes +sharing +the key file .*^yes +sharing +there is room for the segment /ms],
        ['nowhere', undef, 1, qr/^no +sharing +SSLSWEEP_SHARE=nowhere: it is neither .*\n +remedy: .*but cannot share sessions\.$/ms],
        ["host:$scratch/segment:12k", undef, 1, qr/^no +sharing +host needs a key file.*\n +remedy: set SSLSWEEP_SHARE_KEY/m],
        ["host:$scratch/segment:12k", "$scratch/no-keys", 1, qr/^no +sharing +the key file .* does not exist\n +remedy: .*share-key new/m],
        ["host:$scratch/segment:900000g", $key, 1, qr/^no +sharing +there is no room .*\n +remedy: .*--shm-size/m],
    ) {
        my ($value, $file, $status, $wanted) = @$case;
        local @ENV{qw(SSLSWEEP_SHARE SSLSWEEP_SHARE_KEY)} = ($value, $file);
        delete $ENV{SSLSWEEP_SHARE_KEY} if !defined $file;
        doctor($status, $wanted, "a program: $value", $plain);
    }
    for my $case (
        ['0', 0, qr/^yes +sharing +no handshake waits/m],
        ['5', 0, qr/^yes +sharing +a handshake waits at most 5 ms .*futex/m],
        ['21', 1, qr/^no +sharing +SSLSWEEP_SHARE_WAIT=21 is no number .*\n +remedy: set/m],
        ['+5', 1, qr/^no +sharing +SSLSWEEP_SHARE_WAIT=\+5 is no number /m],
    ) {
        my ($value, $status, $wanted) = @$case;
        local @ENV{qw(SSLSWEEP_SHARE SSLSWEEP_SHARE_KEY SSLSWEEP_SHARE_WAIT)} = ("host:$scratch/segment:12k", $key, $value);
        doctor($status, $wanted, "a wait of $value", $plain);
    }
    my $ftp = compile('proftpd', "$scratch/maps.c", qw(-lssl -lcrypto));
    {
        local $ENV{SSLSWEEP_SHARE} = 'family';
        doctor(0, qr/^note +sharing +its sessions are never shared: .*FTP/m, 'an FTP server', $ftp);
        unlike($said, $none, 'which hinders nothing');
    }

    # One that runs.
    my $segment = spit("$scratch/mapped", "\0" x 12288);
    chmod 0600, $segment;
    {
        local $ENV{LD_PRELOAD} = $share_library;
        start($sslsweep, 'run', '--share', $plain);
        doctor(0, qr/^yes +sharing +SSLSWEEP_SHARE: family.*^yes +sharing +the share library is loaded$/ms, 'a process that shares', $pid);
        stop();
        local @ENV{qw(SSLSWEEP_SHARE SSLSWEEP_SHARE_KEY)} = ("host:$segment:12k", $key);
        start($sslsweep, 'run', $plain, $segment);
        doctor(0, qr/^yes +sharing +the key file .*^yes +sharing +the segment \Q$segment\E is mapped, 12288 bytes$/ms, 'by a file', $pid);
        chmod 0604, $key;
        doctor(1, qr/^no +sharing +\Q$key\E has mode 0604.*\n +remedy: chmod 600\n.*runs with sslsweep, but cannot share/ms, 'a key for everybody', $pid);
        chmod 0600, $key;
        chmod 0660, $segment;
        doctor(0, qr/^yes +sharing +the segment \Q$segment\E is mapped, 12288 bytes$/m, 'by a file for a group, as an agent makes it', $pid);
        chmod 0640, $segment;
        doctor(1, qr/^no +sharing +\Q$segment\E has mode 0640/m, 'a file that a group can read', $pid);
        chmod 0600, $segment;
        rename $segment, "$segment.away";
        doctor(1, qr/^no +sharing +the segment \Q$segment\E is not there: .*\n +remedy: start the program again/m, 'one whose segment is gone', $pid);
        stop();
        rename "$segment.away", $segment;
        start($sslsweep, 'run', $plain);
        # A mapping that the process has lost, or never had.
        truncate $segment, 4096;
        doctor(1, qr/^no +sharing +the segment \Q$segment\E has 4096 bytes instead of 12288$/m, 'one whose segment is another', $pid);
        stop();
    }
    my $without = without_share();
    local $ENV{SSLSWEEP_SHARE} = 'family';
    start($without, 'run', $plain);
    doctor(1, qr/^no +sharing +\S*without-share\S*libsslsweep-share\.so\.\S+ is missing or not readable\n +remedy: install/m, 'without the library', $pid);
    like($said, qr/^yes +libssl /m, 'all else is as it should be');
    stop();
    start($sslsweep, 'run', $ftp);
    doctor(0, qr/^note +sharing +its sessions are never shared/m, 'an FTP server that runs', $pid);
    stop();
};

subtest 'a container' => sub {
    plan skip_all => 'namespaces take root' if $> != 0;
    my $inside = start_contained($served) or return;
    doctor(0, qr/^note +namespaces .*mount.*^note +namespaces .*pid.*^yes +contexts +\d.*in force\.$/ms, 'seen from outside', $inside);
    run($sslsweep, 'doctor');
    like(service($inside), qr/^served +in force/, 'in the list');
    stop();
};

subtest 'bad words' => sub {
    for my $word ('', '0', '99999999999', '/nonexistent', $scratch, '/dev/null') {
        my $status = run($sslsweep, 'doctor', $word);
        is($status, 2, "'$word': status 2");
        like($complained, qr/\Asslsweep: [^\n]+\n\z/, 'one line');
    }
};

done_testing;
