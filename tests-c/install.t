#!/usr/bin/perl
# What `make install` lays down is complete and usable: by pkg-config, by the wrapper, staged or not,
# and `make uninstall` takes it away.
#
# The environment: MAKE, CC, PKG_CONFIG, OPENSSL_CFLAGS, OPENSSL_LIBS, with the usual meanings.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Find qw(find);
use File::Temp qw(tempdir);
use Test::More;

my $top        = abs_path(dirname(abs_path(__FILE__)) . '/..');
my $scratch    = abs_path(tempdir(CLEANUP => 1));
my @make       = split ' ', $ENV{MAKE} || 'make';
my @cc         = split ' ', $ENV{CC} || 'cc';
my @pkg_config = split ' ', $ENV{PKG_CONFIG} || 'pkg-config';
my @ssl_cflags = split ' ', $ENV{OPENSSL_CFLAGS} || '';
my @ssl_libs   = split ' ', $ENV{OPENSSL_LIBS} || '-lssl -lcrypto';

# Where we are called from must not decide where things go, nor what the programs find.
delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL DESTDIR PREFIX BINDIR LIBDIR INCLUDEDIR PKGCONFIGDIR
    LD_PRELOAD SSLSWEEP_VERBOSE SSLSWEEP_DISABLE PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR)};
$ENV{LC_ALL} = 'C';

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or die "$path: $!";
    local $/;
    return scalar(<$file>) // '';
}

sub spit {
    my ($path, $text) = @_;
    open my $file, '>', $path or die "$path: $!";
    print $file $text;
    close $file or die "$path: $!";
    return $path;
}

# Runs a command: how it ended, and what it said on each output.
my ($said, $complained) = ('', '');

sub run {
    my (@command) = @_;
    my @files = map { "$scratch/$_" } qw(stdout stderr);
    defined(my $pid = fork) or die "fork: $!";
    if ($pid == 0) {
        open STDOUT, '>', $files[0] or die "stdout: $!";
        open STDERR, '>', $files[1] or die "stderr: $!";
        no warnings 'exec';
        exec { $command[0] } @command or print STDERR "$command[0]: $!\n";
        exit 127;
    }
    waitpid $pid, 0;
    ($said, $complained) = map { slurp($_) } @files;
    return $? & 127 ? 'signal ' . ($? & 127) : $? >> 8;
}

sub runs {
    my ($name, @command) = @_;
    return is(run(@command), 0, $name) || diag($said . $complained);
}

sub files_below {
    my ($root) = @_;
    my @found;
    find({ no_chdir => 1, wanted => sub { push @found, substr($_, 1 + length $root) if -l || !-d } }, $root);
    return [sort @found];
}

my ($version) = slurp("$top/Cargo.toml") =~ /^version = "(.*)"/m or die 'no version in Cargo.toml';
my $abi  = $version =~ /^0\.(\d+)/ ? "0.$1" : $version =~ /^(\d+)/ ? $1 : die $version;
my $name = "libsslsweep.so.$abi";

my %mode = (
    'bin/sslsweep'              => 0755,
    'include/sslsweep.h'        => 0644,
    'lib/libsslsweep.a'         => 0644,
    'lib/libsslsweep.so'        => 'libsslsweep.so.' . $abi,
    "lib/$name"                 => "libsslsweep.so.$version",
    "lib/libsslsweep.so.$version" => 0755,
    'lib/pkgconfig/sslsweep.pc' => 0644,
);

sub make_target {
    my ($target, %variables) = @_;
    my @variables = map { "$_=$variables{$_}" } sort keys %variables;
    return runs("make $target @variables", @make, '--no-print-directory', '-C', $top, @variables, $target);
}

# The program that is built with what was installed, and the one that knows nothing of it. Both say
# whether sslsweep is in the process, whose SSL_CTX_new they got, and their arguments.
my $plain = spit("$scratch/plain.c", <<'END');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <openssl/ssl.h>
#ifdef LINKED
# include <sslsweep.h>
#endif

int main(int argc, char **argv)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    if (!ctx)
        return 1;
#ifdef LINKED
    SSL_CTX_flush_sessions_ex(ctx, 0);
    const char *(*version)(void) = sslsweep_version;
#else
    const char *(*version)(void) = NULL;
    *(void **)&version = dlsym(RTLD_DEFAULT, "sslsweep_version");
#endif
    SSL_CTX_free(ctx);

    Dl_info theirs = { 0 }, ours = { 0 };
    SSL_CTX *(*new)(const SSL_METHOD *) = SSL_CTX_new;
    dladdr(*(void **)&new, &theirs);
    dladdr(*(void **)&version, &ours);
    int takes_over = version && theirs.dli_fbase == ours.dli_fbase;
    printf("sslsweep %s, SSL_CTX_new is %s\n", version ? version() : "absent", takes_over ? "sslsweep's" : "libssl's");

    const char *preload = getenv("LD_PRELOAD");
    printf("LD_PRELOAD %s\n", preload ? preload : "not set");
    printf("other %s\n", dlsym(RTLD_DEFAULT, "other_library") ? "present" : "absent");
    for (int i = 1; i < argc; i++)
        printf("[%s]\n", argv[i]);
    return 7;
}
END
my $present = "sslsweep $version, SSL_CTX_new is sslsweep's\n";
my $absent  = "sslsweep absent, SSL_CTX_new is libssl's\n";

sub build {
    my ($program, $flags, @libs) = @_;
    my @command = (@cc, '-Wall', '-Wextra', '-Werror', '-o', "$scratch/$program", @ssl_cflags, @$flags, $plain);
    return runs("$program is built", @command, @libs, '-ldl');
}

sub dynamic {
    my ($path, $tag) = @_;
    run('readelf', '-dW', $path) eq '0' or diag($complained);
    return [$said =~ /\($tag\)[^\[]*\[([^\]]*)\]/g];
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
    for my $text ('bin/sslsweep', 'lib/pkgconfig/sslsweep.pc') {
        unlike(slurp("$tree/$prefix$text"), qr/\@[A-Z]+\@/, "$text is filled in");
    }
    is_deeply(dynamic("$tree/${prefix}lib/libsslsweep.so", 'SONAME'), [$name], 'the SONAME is the link');
    is_deeply([grep { /ssl|crypto/ } @{ dynamic("$tree/${prefix}lib/libsslsweep.so", 'NEEDED') }], [],
        'P3: neither libssl nor libcrypto is needed');
}

# What pkg-config answers, as words.
sub ask {
    my (@question) = @_;
    my $status = run(@pkg_config, @question);
    is($status, 0, "pkg-config @question") or diag($complained);
    return split ' ', $said;
}

sub check_pkg_config {
    my ($lib, $sysroot) = @_;
    local $ENV{PKG_CONFIG_PATH} = "$lib/pkgconfig";
    local $ENV{PKG_CONFIG_SYSROOT_DIR} = $sysroot if defined $sysroot;

    is((ask('--modversion', 'sslsweep'))[0], $version, 'the version');
    my @cflags = ('-DLINKED', ask('--cflags', 'sslsweep'));
    my @shared = ask('--libs', 'sslsweep');
    my @static = map { $_ eq '-lsslsweep' ? '-l:libsslsweep.a' : $_ } ask('--static', '--libs', 'sslsweep');
    ok((grep { $_ eq '-l:libsslsweep.a' } @static), 'the library to replace for a static link is there');

    local $ENV{LD_LIBRARY_PATH} = join ':', $lib, grep { defined && length } $ENV{LD_LIBRARY_PATH};
    if (build('shared', \@cflags, @shared, @ssl_libs)) {
        is_deeply([grep { /sslsweep/ } @{ dynamic("$scratch/shared", 'NEEDED') }], [$name], 'it needs the SONAME');
        is(run("$scratch/shared"), 7, 'P1: the shared library runs');
        like($said, qr/^\Q$present\E/, 'it has sslsweep');
    }
    if (build('static', \@cflags, @static, @ssl_libs)) {
        is_deeply([grep { /sslsweep/ } @{ dynamic("$scratch/static", 'NEEDED') }], [], 'it needs no sslsweep');
        is(run("$scratch/static"), 7, 'P1: the static library runs');
        like($said, qr/^\Q$present\E/, 'it has sslsweep');
    }
    run(@pkg_config, '--libs', 'sslsweep', 'openssl');
    like($said, qr/-lsslsweep\b.*-lssl\b/, 'asked for both, sslsweep stays first');
}

sub check_wrapper {
    my ($sslsweep, $library) = @_;
    my $program = "$scratch/plain";

    is(run($program), 7, 'the program alone');
    like($said, qr/^\Q$absent\E/, 'it has no sslsweep');

    my @arguments = ('two words', '', '*', '-x', '--help', '$HOME', "line\nline");
    is(run($sslsweep, $program, @arguments), 7, 'P1: the exit status passes through the wrapper');
    is($said, "${present}LD_PRELOAD $library\nother absent\n" . join('', map { "[$_]\n" } @arguments),
        'it has sslsweep, and its arguments');
    is($complained, '', 'nothing is said');
    is(run($sslsweep, '--', $program), 7, 'after --');
    is(run($sslsweep, 'sh', '-c', 'kill -TERM $$'), 'signal 15', 'a signal passes through: the program is the process');
    is(run($sslsweep, $sslsweep, $program), 7, 'the wrapper in itself');
    like($said, qr/^\Q$present\E/, 'it has sslsweep');

    local $ENV{LD_PRELOAD} = "$scratch/other.so";
    is(run($sslsweep, $program), 7, 'with another library preloaded');
    is($said, "${present}LD_PRELOAD $library:$scratch/other.so\nother present\n", 'both are there, ours first');
}

sub check_refusals {
    my ($sslsweep) = @_;
    my $text = spit("$scratch/not executable", "text\n");

    # command, exit status, on standard error
    my @cases = (
        [[],                        2,   qr/\Asslsweep: no program given\nusage: /],
        [['--'],                    2,   qr/\Asslsweep: no program given\nusage: /],
        [['--verbose', 'true'],     2,   qr/\Asslsweep: unknown option --verbose\nusage: /],
        [['-h'],                    2,   qr/\Asslsweep: unknown option -h\nusage: /],
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

if (run(@pkg_config, '--version') ne '0') {
    BAIL_OUT("there is no @pkg_config: install it (the package pkg-config) or set PKG_CONFIG");
}
build('plain', [], @ssl_libs);
my $other = spit("$scratch/other.c", "int other_library(void);\nint other_library(void) { return 1; }\n");
runs('another library is built', @cc, '-shared', '-fPIC', '-o', "$scratch/other.so", $other);

# What is installed is for everybody, whoever installs it.
umask 077;

subtest 'staged' => sub {
    my $stage = "$scratch/stage";
    my %where = (PREFIX => '/opt/sslsweep', DESTDIR => $stage);
    make_target('install', %where) or return;
    check_tree($stage, 'opt/sslsweep/');
    unlike(slurp("$stage/opt/sslsweep/$_"), qr/\Q$stage\E/, "$_ does not know of the stage")
        for 'bin/sslsweep', 'lib/pkgconfig/sslsweep.pc';
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
    make_target('uninstall', %where);
    is_deeply(files_below($stage), [], 'nothing is left');
};

done_testing;
