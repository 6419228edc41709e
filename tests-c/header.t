#!/usr/bin/perl
# include/sslsweep.h compiles wherever a program puts it, and treats the deprecated function as
# <openssl/macros.h> would.
#
# The environment:
#   CC, CXX       the compilers, with flags if need be
#   HEADER_DIRS   further include directories that hold an <openssl/ssl.h>, separated by spaces; the
#                 compiler's own is always tried
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use Test::More;

$ENV{LC_ALL} = 'C';    # messages are read below

my $include = abs_path(dirname(abs_path(__FILE__)) . '/../include');
my $scratch = tempdir(CLEANUP => 1);
my @strict  = qw(-Wall -Wextra -Wpedantic -Werror);

my $ours    = "#include <sslsweep.h>\n";
my $openssl = "#include <openssl/ssl.h>\n";

# Assignments to pointers of the right types: what a program does that hooks or wraps the functions.
my $use_ex  = "extern void (*use_ex)(struct ssl_ctx_st *, time_t);\n"
            . "void (*use_ex)(struct ssl_ctx_st *, time_t) = SSL_CTX_flush_sessions_ex;\n"
            . "extern const char *(*use_version)(void);\n"
            . "const char *(*use_version)(void) = sslsweep_version;\n"
            . "extern int (*use_flush)(struct ssl_ctx_st *, time_t, uint64_t, uint64_t, struct sslsweep_flushed *);\n"
            . "int (*use_flush)(struct ssl_ctx_st *, time_t, uint64_t, uint64_t, struct sslsweep_flushed *) = sslsweep_flush;\n"
            . "extern int (*use_statistics)(struct ssl_ctx_st *, struct sslsweep_statistics *, size_t);\n"
            . "int (*use_statistics)(struct ssl_ctx_st *, struct sslsweep_statistics *, size_t) = sslsweep_get_statistics;\n"
            . "extern int64_t (*use_each)(struct ssl_ctx_st *, int (*)(struct ssl_session_st *, void *), void *);\n"
            . "int64_t (*use_each)(struct ssl_ctx_st *, int (*)(struct ssl_session_st *, void *), void *) = sslsweep_for_each_session;\n";
my $use_old = "extern void (*use_old)(struct ssl_ctx_st *, long);\n"
            . "void (*use_old)(struct ssl_ctx_st *, long) = SSL_CTX_flush_sessions;\n";

# Runs a command; what it wrote on both outputs is in $said.
my $said = '';

sub run {
    my (@command) = @_;
    my $pid = open my $pipe, '-|';
    defined $pid or die "fork: $!";
    if ($pid == 0) {
        open STDERR, '>&', \*STDOUT or die "stderr: $!";
        no warnings 'exec';
        exec { $command[0] } @command or print "$command[0]: $!\n";
        exit 127;
    }
    $said = do { local $/; <$pipe> } // '';
    close $pipe;
    return $? == 0;
}

my $sources = 0;

sub source {
    my ($language, $text) = @_;
    my $path = "$scratch/" . ++$sources . ($language->{cxx} ? '.cc' : '.c');
    open my $file, '>', $path or die "$path: $!";
    print $file $text;
    close $file or die "$path: $!";
    return $path;
}

sub compile {
    my ($language, $text, @flags) = @_;
    return run(@{ $language->{compiler} }, "-std=$language->{standard}", @flags, "-I$include", source($language, $text));
}

sub compiles {
    my ($language, $text, $name, @flags) = @_;
    return ok(compile($language, $text, '-fsyntax-only', @strict, @flags), $name) || diag($said);
}

# The first of the compilers that runs, as words.
sub compiler {
    for my $name (grep { defined && length } @_) {
        my @words = split ' ', $name;
        return \@words if run(@words, '--version');
    }
    return;
}

# The languages: each with the compiler's spelling of its standard.
my @languages;

sub language {
    my ($name, $compiler, $cxx, @standards) = @_;
    for my $standard (@standards) {
        my $language = { name => $name, compiler => $compiler, cxx => $cxx, standard => $standard };
        next unless compile($language, "int nothing;\n", '-fsyntax-only');
        push @languages, $language;
        return $language;
    }
    fail("the compiler knows $name");
    return;
}

my $cc  = compiler($ENV{CC} || 'cc') or BAIL_OUT('there is no C compiler: install one or set CC');
my $cxx = compiler($ENV{CXX} || ('c++', 'g++', 'clang++'));
ok($cxx, 'there is a C++ compiler') or diag('install one (the package g++) or set CXX');

language('C99', $cc, 0, 'c99');
my $c = language('C11', $cc, 0, 'c11');
language('C23', $cc, 0, 'c23', 'c2x');
language('C++11', $cxx, 1, 'c++11') if $cxx;
my $plus = $cxx && language('C++17', $cxx, 1, 'c++17');
# How the deprecated function is treated depends on the preprocessor and the attribute, not on the year.
my @both = grep { $_ } $c, $plus;

# The OpenSSLs: flags, and the version as MAJOR * 10000 + MINOR * 100. -isystem: their warnings are theirs.
my @openssls;
for my $dir (undef, split ' ', $ENV{HEADER_DIRS} || '') {
    my @flags = defined $dir ? ('-isystem', $dir) : ();
    my $where = defined $dir ? $dir : "the system's";
    my $read  = compile($c, $openssl, '-E', '-dM', @flags);
    if (!ok($read, "there is <openssl/ssl.h> ($where)")) {
        diag($said);
        next;
    }
    my ($text)   = $said =~ /define OPENSSL_VERSION_TEXT "([^"]*)"/;
    my ($number) = $said =~ /define OPENSSL_VERSION_NUMBER\s+0x([0-9a-fA-F]+)/;
    my ($major)  = $said =~ /define OPENSSL_VERSION_MAJOR\s+(\d+)/;
    my ($minor)  = $said =~ /define OPENSSL_VERSION_MINOR\s+(\d+)/;
    my $level    = defined $major ? $major * 10000 + $minor * 100 : 10101;
    push @openssls, { name => $text || "OpenSSL $number", level => $level, flags => \@flags };
}

# Every place that the header can have in a program.
my @places = ({ name => 'alone', text => $ours, flags => [] }, { name => 'twice', text => $ours x 2, flags => [] });
for my $openssl_here (@openssls) {
    my %shared = (openssl => $openssl_here, flags => $openssl_here->{flags});
    push @places,
        { %shared, name => "before $openssl_here->{name}", text => $ours . $openssl },
        { %shared, name => "after $openssl_here->{name}", text => $openssl . $ours },
        { %shared, name => "around $openssl_here->{name}", text => $ours . $openssl . $ours };
}

for my $place (@places) {
    subtest "F11: compiles $place->{name}" => sub {
        for my $language (@languages) {
            my @flags = @{ $place->{flags} };
            compiles($language, $place->{text} . $use_ex, "$language->{name}", @flags);
            compiles($language, $place->{text} . $use_ex . $use_old,
                "$language->{name}, both functions", @flags, '-DOPENSSL_SUPPRESS_DEPRECATED');
        }
    };
}

# A check that cannot fail proves nothing: the types are really looked at.
(my $wrong = $use_ex) =~ s/time_t/short/g;
ok(!compile($_, $ours . $wrong, '-fsyntax-only', @strict), "$_->{name}: a pointer of the wrong type is refused") for @languages;

# What becomes of a use of the deprecated function: 'silent', 'warned', 'undeclared', or else the messages.
sub treatment {
    my ($language, $place, @flags) = @_;
    my $text = $place->{text} . $use_old;
    @flags = (@{ $place->{flags} }, @flags, '-fsyntax-only');
    return 'silent' if compile($language, $text, @flags, '-Werror=deprecated-declarations');
    return 'warned' if $said =~ /deprecated/ && compile($language, $text, @flags);
    return 'undeclared' if $said =~ /SSL_CTX_flush_sessions\W+(?:undeclared|was not declared)|undeclared identifier/;
    return $said;
}

my @treatments = (
    [''                                                           => 'warned'],
    ['OPENSSL_API_COMPAT=30400'                                   => 'warned'],
    ['OPENSSL_API_COMPAT=0x30400000L'                             => 'warned'],
    ['OPENSSL_API_COMPAT=30500'                                   => 'warned'],
    ['OPENSSL_API_COMPAT=40000'                                   => 'warned'],
    ['OPENSSL_API_COMPAT=30300'                                   => 'silent'],
    ['OPENSSL_API_COMPAT=30000'                                   => 'silent'],
    ['OPENSSL_API_COMPAT=0x10100000L'                             => 'silent'],
    ['OPENSSL_API_COMPAT=0x10101000L'                             => 'silent'],
    ['OPENSSL_SUPPRESS_DEPRECATED'                                => 'silent'],
    ['OPENSSL_SUPPRESS_DEPRECATED OPENSSL_API_COMPAT=30400'       => 'silent'],
    ['OPENSSL_NO_DEPRECATED'                                      => 'undeclared'],
    ['OPENSSL_NO_DEPRECATED OPENSSL_API_COMPAT=30400'             => 'undeclared'],
    ['OPENSSL_NO_DEPRECATED OPENSSL_SUPPRESS_DEPRECATED'          => 'undeclared'],
    ['OPENSSL_NO_DEPRECATED OPENSSL_API_COMPAT=30000'             => 'silent'],
    ['OPENSSL_NO_DEPRECATED OPENSSL_API_COMPAT=0x10100000L'       => 'silent'],
);

# OpenSSL refuses to pretend to a level above its own.
sub accepted {
    my ($language, $place, @flags) = @_;
    return !$place->{openssl} || compile($language, $openssl, '-fsyntax-only', @{ $place->{flags} }, @flags);
}

for my $place (grep { $_->{name} !~ /^around/ } @places) {
    subtest "SSL_CTX_flush_sessions is deprecated as in OpenSSL 3.4, $place->{name}" => sub {
        for my $case (@treatments) {
            my ($macros, $wanted) = @$case;
            my @flags = map { "-D$_" } split ' ', $macros;
            # Before 3.4 <openssl/ssl.h> declares the function whatever we do.
            $wanted = 'silent' if $wanted eq 'undeclared' && $place->{openssl} && $place->{openssl}{level} < 30400;
            for my $language (@both) {
                my $name = "$language->{name}, " . ($macros || 'nothing asked for') . ": $wanted";
            SKIP: {
                    skip "$name: refused by OpenSSL itself", 1 unless accepted($language, $place, @flags);
                    is(treatment($language, $place, @flags), $wanted, $name);
                }
            }
        }
    };
}

for my $language (@both) {
    compile($language, $ours . $use_old, '-fsyntax-only', '-Wall');
    like($said, qr/use SSL_CTX_flush_sessions_ex/, "$language->{name}: the warning names the replacement");
}

# Only the old one hides.
compiles($_, $ours . $use_ex, "$_->{name}: OPENSSL_NO_DEPRECATED leaves SSL_CTX_flush_sessions_ex", '-DOPENSSL_NO_DEPRECATED')
    for @both;

sub macros {
    my ($text) = @_;
    compile($c, $text, '-E', '-dM') or diag($said);
    return map { $_ => 1 } $said =~ /^#define (\w+)/mg;
}
my %before = macros("#include <stddef.h>\n#include <stdint.h>\n#include <time.h>\n");
my %after  = macros($ours);
is_deeply([grep { !$before{$_} && !/^SSLSWEEP_/ } sort keys %after], [], 'no macro but SSLSWEEP_* is defined');
is_deeply([grep { !$after{$_} } sort keys %before], [], 'no macro is undefined');

if ($plus) {
    my $object = "$scratch/linkage.o";
    compile($plus, $ours . $use_ex, '-c', '-o', $object) or diag($said);
    run('readelf', '-sW', $object) or diag($said);
    like($said, qr/ UND SSL_CTX_flush_sessions_ex$/m, 'in C++ the functions have C linkage');
}

done_testing;
