#!/usr/bin/perl
# What `make install` lays down is complete and usable: by pkg-config, by the wrapper, staged or not,
# and `make uninstall` takes it away.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use POSIX qw(WNOHANG);
use Test::More;
use Time::HiRes qw(sleep);
use lib dirname(abs_path(__FILE__)) . '/support';
use Installed;

my %mode = (
    'bin/sslsweep'                => 0755,
    'include/sslsweep.h'          => 0644,
    'lib/libsslsweep.a'           => 0644,
    'lib/libsslsweep.so'          => $name,
    "lib/$name"                   => "libsslsweep.so.$version",
    "lib/libsslsweep.so.$version" => 0755,
    "lib/$share"                  => "libsslsweep-share.so.$version",
    "lib/libsslsweep-share.so.$version" => 0755,
    'lib/pkgconfig/sslsweep.pc'   => 0644,
    'lib/pkgconfig/sslsweep-static.pc' => 0644,
    'share/man/man1/sslsweep.1'   => 0644,
    (map { ("share/man/man3/$_.3sslsweep" => 0644) } 'SSL_CTX_flush_sessions_ex', 'sslsweep_flush',
        'sslsweep_for_each_session', 'sslsweep_get_statistics'),
    'share/man/man7/sslsweep.7'   => 0644,
    (map { ("share/sslsweep/bpftrace/$_.bt" => 0644) } 'flushes', 'rates', 'who-flushes'),
    (map { ("share/sslsweep/grafana/$_" => 0644) } 'sslsweep.json', 'sslsweep-alerts.yml'),
    'share/bash-completion/completions/sslsweep'       => 0644,
    'share/zsh/site-functions/_sslsweep'               => 0644,
    'share/fish/vendor_completions.d/sslsweep.fish'    => 0644,
    'share/sslsweep/NOTICES'                           => 0644,
    'share/sslsweep/systemd/nginx.service.d/sslsweep.conf'        => 0644,
    'share/sslsweep/systemd/redis-server.service.d/sslsweep.conf' => 0644,
);

sub make_target {
    my ($target, %variables) = @_;
    my @variables = map { "$_=$variables{$_}" } sort keys %variables;
    return runs("make $target @variables", @make, '--no-print-directory', '-C', $top, @variables, $target);
}

sub check_tree {
    my ($tree, $prefix) = @_;
    is_deeply(files_below($tree), [map { "$prefix$_" } sort keys %mode], 'these files are installed');
    for my $path (sort keys %mode) {
        my ($wanted, $whole) = ($mode{$path}, "$tree/$prefix$path");
        if ($wanted =~ /\D/) {
            is(readlink $whole, $wanted, "$path is a link to its neighbour");
        } else {
            is(sprintf('%o', (stat $whole)[2] & 07777), sprintf('%o', $wanted), "mode of $path");
        }
    }
    for my $text (grep { m{\.pc$|^share/} } sort keys %mode) {
        unlike(slurp("$tree/$prefix$text"), qr/\@[A-Z]+\@/, "$text is filled in");
    }
    for my $library ($name, $share) {
        is_deeply(dynamic("$tree/${prefix}lib/$library", 'SONAME'), [$library], "$library is its SONAME");
        is_deeply([grep { /ssl|crypto/ } @{ dynamic("$tree/${prefix}lib/$library", 'NEEDED') }], [],
            'P3: neither libssl nor libcrypto is needed');
    }
}

sub check_refusals {
    my ($sslsweep) = @_;
    my $text = spit("$scratch/not executable", "text\n");

    # command, exit status, on standard error
    my @cases = (
        [[],                        2,   qr/\Asslsweep: no program given\nusage: /],
        [['--'],                    2,   qr/\Asslsweep: no program given\nusage: /],
        [['--verbose', 'true'],     2,   qr/\Asslsweep: unexpected argument '--verbose' found[^\n]*\nusage: /],
        [['-x'],                    2,   qr/\Asslsweep: unexpected argument '-x' found[^\n]*\nusage: /],
        [['/nonexistent/program'],  127, qr{\A[^\n]*/nonexistent/program[^\n]*\n\z}],
        [['no-program-is-called-so'], 127, qr/\A[^\n]*no-program-is-called-so[^\n]*\n\z/],
        [[$text],                   126, qr/\A[^\n]*not executable[^\n]*\n/],
        [[$scratch],                126, qr/\A[^\n]*\Q$scratch\E[^\n]*\n/],
    );
    for my $case (@cases) {
        my ($arguments, $status, $message) = @$case;
        is(run($sslsweep, @$arguments), $status, "exit status $status: sslsweep @$arguments");
        like($complained, $message, 'it says why');
        is($said, '', 'on standard error');
    }

    is(run($sslsweep, '--version'), 0, '--version');
    is($said, "sslsweep $version\n", 'the version');
    is(run($sslsweep, '--help'), 0, '--help');
    like($said, qr/^usage: sslsweep .*\bset-user-ID\b.*\bstatically\b/s, 'P6: it says which programs run as before');
    is($complained, '', 'on standard output');
}

# A tree where the wrapper cannot do its work: one line and 125, rather than the program without us.
sub check_unusable {
    my ($from, $to, $message) = @_;
    runs("a tree in $to", 'cp', '-R', $from, "$scratch/$to");
    unlink "$scratch/$to/opt/sslsweep/lib/$name" if $to eq 'incomplete';
    is(run("$scratch/$to/opt/sslsweep/bin/sslsweep", 'true'), 125, 'the wrapper refuses');
    like($complained, qr/\Asslsweep: [^\n]*$message[^\n]*\n\z/, 'in one line');
}

prepare();

# What is installed is for everybody, whoever installs it.
umask 077;

subtest 'staged' => sub {
    my $stage = "$scratch/stage";
    my %where = (PREFIX => '/opt/sslsweep', DESTDIR => $stage);
    make_target('install', %where) or return;
    check_tree($stage, 'opt/sslsweep/');
    unlike(slurp("$stage/opt/sslsweep/$_"), qr/\Q$stage\E/, "$_ does not know of the stage") for sort keys %mode;
    check_pkg_config("$stage/opt/sslsweep/lib", $stage);
    check_wrapper("$stage/opt/sslsweep/bin/sslsweep", "$stage/opt/sslsweep/lib/$name");

    check_unusable($stage, 'incomplete',  qr/libsslsweep\.so\.\S+ is missing or not readable/);
    check_unusable($stage, 'two words',   qr/LD_PRELOAD cannot hold a path with spaces or colons/);
    check_unusable($stage, 'with:colon',  qr/LD_PRELOAD cannot hold a path with spaces or colons/);

    my $foreign = spit("$stage/opt/sslsweep/lib/libforeign.so", '');
    make_target('uninstall', %where);
    is_deeply(files_below($stage), ['opt/sslsweep/lib/libforeign.so'], 'nothing of ours is left, all else is');
    make_target('uninstall', %where);    # nothing to do, and no error
};

subtest 'in place' => sub {
    my $prefix = "$scratch/prefix";
    my %where  = (PREFIX => $prefix);
    make_target('install', %where) or return;
    make_target('install', %where);      # over itself
    check_tree($prefix, '');
    check_pkg_config("$prefix/lib", undef);
    check_wrapper("$prefix/bin/sslsweep", "$prefix/lib/$name");
    check_refusals("$prefix/bin/sslsweep");

    mkdir "$scratch/links" or die "links: $!";
    symlink "$prefix/bin/sslsweep", "$scratch/links/sslsweep" or die "symlink: $!";
    is(run("$scratch/links/sslsweep", "$scratch/plain"), 7, 'the wrapper by a link from elsewhere');
    like($said, qr/^\Q$present\E/, 'it has sslsweep');
    {
        local $ENV{PATH} = "$prefix/bin:$ENV{PATH}";
        is(run('sslsweep', "$scratch/plain"), 7, 'the wrapper by PATH');
        like($said, qr/^\Q$present\E/, 'it has sslsweep');
    }
    make_target('uninstall', %where);
    is_deeply(files_below($prefix), [], 'nothing is left');
};

subtest 'elsewhere' => sub {
    my $stage = "$scratch/multiarch";
    my %where = (PREFIX => '/usr', BINDIR => '/usr/libexec/sslsweep', LIBDIR => '/usr/lib/some-arch', DESTDIR => $stage);
    make_target('install', %where) or return;
    is(run("$stage/usr/libexec/sslsweep/sslsweep", "$scratch/plain"), 7, 'the wrapper finds the library');
    like($said, qr/^\Q$present\E/, 'it has sslsweep');
    local $ENV{PKG_CONFIG_PATH} = "$stage/usr/lib/some-arch/pkgconfig";
    is((ask('--variable=libdir', 'sslsweep'))[0], '/usr/lib/some-arch', 'and so does pkg-config');
    like(slurp("$stage/usr/share/sslsweep/systemd/nginx.service.d/sslsweep.conf"),
        qr{^Environment=LD_PRELOAD=/usr/lib/some-arch/\Q$name\E$}m, 'and so does systemd');
    make_target('uninstall', %where);
    is_deeply(files_below($stage), [], 'nothing is left');
    ok(!-e "$stage/usr/share/sslsweep", 'nor an empty folder of our own');
};

# A server of the program's own kind: TLS 1.2 with sessions, for as many connections as it is told; then it flushes.
my $server = <<'C';
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (argc < 4 || SSL_CTX_use_certificate_file(ctx, argv[1], SSL_FILETYPE_PEM) != 1
        || SSL_CTX_use_PrivateKey_file(ctx, argv[2], SSL_FILETYPE_PEM) != 1)
        return 1;
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"server", 6);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 8) != 0
        || getsockname(listener, (struct sockaddr *)&address, &size) != 0)
        return 1;
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    alarm(60);
    for (int i = atoi(argv[3]); i > 0; i--) {
        char byte;
        SSL *ssl = SSL_new(ctx);
        SSL_set_fd(ssl, accept(listener, NULL, NULL));
        if (SSL_accept(ssl) == 1)
            while (SSL_read(ssl, &byte, 1) > 0) {}
        SSL_shutdown(ssl);
        close(SSL_get_fd(ssl));
        SSL_free(ssl);
    }
    printf("stored %ld, resumed %ld\n", SSL_CTX_sess_number(ctx), SSL_CTX_sess_hits(ctx));
    SSL_CTX_flush_sessions(ctx, time(NULL) + 100000);
    printf("left %ld\n", SSL_CTX_sess_number(ctx));
    SSL_CTX_free(ctx);
    return 0;
}
C

# Starts it, connects six times (a session, five resumptions), and says what it printed.
sub serve {
    my ($program) = @_;
    my ($said_to, $complained_to) = map { "$scratch/server.$_" } qw(out err);
    unlink $said_to;
    defined(my $pid = fork) or die "fork: $!";
    if ($pid == 0) {
        open STDOUT, '>', $said_to       or die "$said_to: $!";
        open STDERR, '>', $complained_to or die "$complained_to: $!";
        exec $program, "$scratch/certificate", "$scratch/key", 6 or exit 127;
    }
    my $port;
    for (1 .. 600) {
        ($port) = -e $said_to ? slurp($said_to) =~ /^port (\d+)$/m : ();
        last if $port || waitpid($pid, WNOHANG) == $pid;
        sleep 0.1;
    }
    if (ok($port, 'the server listens')) {
        run('sh', '-c', 'exec openssl s_client -connect "127.0.0.1:$1" -tls1_2 -reconnect </dev/null', 'sh', $port);
        is(scalar(() = $said =~ /^Reused, TLSv1\.2/mg), 5, 'its client resumes') or diag($said . $complained);
        waitpid $pid, 0;
        is($?, 0, 'it ends well');
    }
    return (slurp($said_to), slurp($complained_to));
}

# The recipes of the README as they are written there, with what was installed.
subtest 'a server, relinked' => sub {
    my $prefix = "$scratch/relinked";
    make_target('install', PREFIX => $prefix) or return;
    runs('a certificate', qw(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -days 2),
        '-keyout', "$scratch/key", '-out', "$scratch/certificate");
    mkdir "$scratch/source" or die "source: $!";
    spit("$scratch/source/server.c", $server);
    my @recipes = slurp("$top/README.md") =~ /^(cc server\.c .*)$/mg;
    is_deeply([map { /\b(sslsweep(?:-static)?)\)/ } @recipes], ['sslsweep', 'sslsweep-static'], 'the README has two recipes');
    for my $recipe (@recipes) {
        local $ENV{PKG_CONFIG_PATH} = "$prefix/lib/pkgconfig";
        runs($recipe, 'sh', '-c', "cd '$scratch/source' && $recipe") or next;
        my @needed = grep { /sslsweep/ } @{ dynamic("$scratch/source/a.out", 'NEEDED') };
        is_deeply(\@needed, $recipe =~ /-static/ ? [] : [$name], 'it needs the library, unless that is inside');
        local $ENV{LD_LIBRARY_PATH} = "$prefix/lib";
        local $ENV{SSLSWEEP_VERBOSE} = 1;
        my ($printed, $told) = serve("$scratch/source/a.out");
        like($printed, qr/^stored 1, resumed 5\nleft 0\n\z/m, 'it stores, resumes and flushes');
        like($told, qr/^sslsweep\[\d+\]: took over the internal session cache/m, 'under sslsweep');
    }
    for my $file ("lib/libsslsweep.so.$version", "lib/libsslsweep-share.so.$version", 'bin/sslsweep', 'lib/libsslsweep.a') {
        run('readelf', '-SW', "$prefix/$file");
        unlike($said, qr/ \.debug_/, "$file is without debugging information");
        like($said, qr/ \.symtab /, 'but has its symbols');
    }
    run('readelf', '-nW', "$prefix/lib/libsslsweep.so.$version");
    like($said, qr/Provider: sslsweep/, 'and the library its probes');
    make_target('uninstall', PREFIX => $prefix);
};

# loader.sh with an ldconfig that says which folders are searched, and notes when it is to do something.
subtest 'the loader' => sub {
    my $bin = "$scratch/bin";
    mkdir "$scratch/$_" or die "$_: $!" for qw(bin searched other);
    symlink 'searched', "$scratch/alias" or die "alias: $!";
    local $ENV{PATH} = "$bin:$ENV{PATH}";
    chmod 0755, spit("$bin/ldconfig", "#!/bin/sh\n"
        . "case \$* in -NXv) echo '$scratch/searched: (from <builtin>:0)' ;; *) echo refreshed ;; esac\n"),
        spit("$bin/id", "#!/bin/sh\necho \$TEST_ID\n");
    # user, folder, what is said
    for (
        [0,    'searched', qr/\Arefreshed\n\z/],
        [0,    'alias',    qr/\Arefreshed\n\z/],
        [1000, 'searched', qr{\Ainstall: [^\n]*\Q$scratch\E/searched, run as root: ldconfig\n\z}],
        [0,    'other',    qr{\Ainstall: the loader does not search \Q$scratch\E/other; relinked programs need -Wl,-rpath,\Q$scratch\E/other }],
        [1000, 'other',    qr{\Ainstall: the loader does not search \Q$scratch\E/other; }],
      ) {
        my ($user, $folder, $message) = @$_;
        local $ENV{TEST_ID} = $user;
        is(run('sh', "$top/packaging/loader.sh", "$scratch/$folder"), 0, "user $user, $folder");
        like($said, $message, 'what is done or said');
    }
};

# Where a person reads of the options, all of them are named and no others.
subtest 'options' => sub {
    my %known = map { $_ => 1 } slurp("$top/src/options.rs") =~ /\(\s*c"(SSLSWEEP_\w+)", /g;
    ok(scalar keys %known, 'the table in src/options.rs is understood');
    # Those of sharing are no table's.
    my @sources = grep { /\.rs$/ } map { my $folder = $_; map { "$top/$folder/$_" } @{ files_below("$top/$folder") } } 'src', 'crates/share/src';
    my @sharing = map { slurp($_) =~ /"(SSLSWEEP_SHARE\w*)"/g } @sources;
    ok(scalar @sharing, 'and the two of sharing are found');
    $known{$_} = 1 for @sharing;
    my %texts = map { $_ => slurp("$top/$_") } 'docs/man/sslsweep.7.in', 'README.md', 'docs/operations.md';
    is(run("$top/build/bin/sslsweep", 'run', '--help'), 0, 'sslsweep run --help');
    $texts{'sslsweep run --help'} = $said;
    for my $text (sort keys %texts) {
        my %named = map { $_ => 1 } $texts{$text} =~ /\b(SSLSWEEP_[A-Z_]+)/g;
        is_deeply([sort keys %named], [sort keys %known], $text);
    }
    is_deeply([grep { !$known{$_} } slurp("$top/docs/sharing.md") =~ /\b(SSLSWEEP_[A-Z_]+)/g], [], 'docs/sharing.md names no others');
    my %tagged = map { $_ => 1 } slurp("$top/docs/man/sslsweep.7.in") =~ /^\.TP\n\.B (SSLSWEEP_\w+)$/mg;
    is_deeply([sort keys %tagged], [sort keys %known], 'each has a paragraph in sslsweep(7)');
};

done_testing;
