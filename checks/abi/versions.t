#!/usr/bin/perl
# checks/abi/symbols.tsv and the prototypes in src/ against each libssl: the system's, and the releases that
# tools/libssl.py builds.
#
#   nodes       a function that libssl has stands under a node that ours has as well, and it has all that it must
#   prototypes  the types in src/exports/entries.rs and src/libssl/symbols.rs are those of the headers, our
#               header beside them
#   bindings    a program built for this libssl, under LD_PRELOAD: every function that it can call is ours
#
# The environment:
#   VERSIONS      system, and releases as tools/libssl.py names them; all by default
#   TEST_LIBDIR   where our library is
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use Test::More;
use lib dirname(abs_path(__FILE__));
use Abi qw(symbols nodes versions slurp spit run $top);

$ENV{LC_ALL} = 'C';

my $libdir   = $ENV{TEST_LIBDIR} || "$top/build/lib";
my $shared   = abs_path("$libdir/libsslsweep.so") or die "$libdir/libsslsweep.so: build the library first";
my @symbols  = grep { $_->{since} ne 'own' } symbols();
my %symbol   = map { $_->{name} => $_ } @symbols;
my $work     = tempdir(CLEANUP => 1);
my @compile  = (split(' ', $ENV{CC} || 'cc'), qw(-std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-deprecated-declarations));

# ---- Where a libssl is ----

# Returns its number as 30500, compiler flags, linker flags and the folder of its libraries.
sub libssl {
    my ($version) = @_;
    my ($cflags, $libs, $folder) = ([], ['-lssl', '-lcrypto'], '');
    if ($version ne 'system') {
        my $prefix = qx{python3 -B "$top/tools/libssl.py" "$version" symbolic};
        chomp $prefix;
        return unless $? == 0 && -d $prefix;
        ($cflags, $libs, $folder) = (["-I$prefix/include"], ["-L$prefix/lib", '-lssl', '-lcrypto'], "$prefix/lib");
    }
    spit("$work/number.c", "#include <openssl/opensslv.h>\nNUMBER OPENSSL_VERSION_NUMBER\n");
    my $text = run(@compile, @$cflags, '-E', '-P', "$work/number.c") // return;
    my ($number) = $text =~ /NUMBER\s+(.*\S)/s or return;
    $number =~ s/[^0-9a-fA-FxX()|<]//g;           # 1.1.1: one literal; later: shifts and ors of digits
    $number =~ s/(0x[0-9a-fA-F]+)L?/hex($1)/ge;
    my $value = eval $number or return;
    return (($value >> 28) * 10000 + ($value >> 20 & 0xff) * 100, $cflags, $libs, $folder);
}

sub number { my ($since) = @_; my ($major, $minor) = split /\./, $since; return $major * 10000 + $minor * 100 }

# ---- Nodes ----

sub check_nodes {
    my ($number, $libs, $folder) = @_;
    spit("$work/empty.c", "int main(void) { return 0; }\n");
    my $loaded = run(@compile, '-o', "$work/empty", "$work/empty.c", '-Wl,--no-as-needed', @$libs) // return fail('a program can be linked');
    local $ENV{LD_LIBRARY_PATH} = $folder;
    my %path = run('ldd', "$work/empty") =~ m{lib(ssl|crypto)\.so\S* => (\S+)}g;
    my %node;
    for my $library (qw(ssl crypto)) {
        my $names = run('nm', '-D', '--defined-only', '--with-symbol-versions', $path{$library} // '') // return fail("lib$library is there");
        while ($names =~ /\s(\w+)\@\@?(\S+)$/mg) { $node{$1} = $2 if $symbol{$1} }
    }
    my (@missing, @early, @unbound);
    for my $symbol (@symbols) {
        my ($name, $since) = @$symbol{qw(name since)};
        if (!exists $node{$name}) {
            push @missing, $name if $symbol->{presence} eq 'required' && number($since) <= $number;
            next;
        }
        push @early,   "$name in $number" if number($since) > $number;
        push @unbound, "$name\@$node{$name}" unless grep { $_ eq $node{$name} } nodes($since);
    }
    is("@missing", '', 'has every function that it must');
    is("@early",   '', 'has none before its time');
    is("@unbound", '', 'has them under nodes that are also ours');
    return;
}

# ---- Prototypes ----

my %c_type = (
    'c_int' => 'int', 'c_uint' => 'unsigned int', 'c_long' => 'long', 'c_ulong' => 'unsigned long', 'u32' => 'uint32_t',
    'c_char' => 'char', 'c_uchar' => 'unsigned char', 'c_void' => 'void', 'libc::time_t' => 'time_t', 'usize' => 'size_t',
    (map { $_ => $_ } qw(SSL SSL_CTX SSL_SESSION SSL_METHOD OSSL_LIB_CTX X509_VERIFY_PARAM MallocFunction ReallocFunction FreeFunction NewCallback RemoveCallback GetCallback GenerateCallback)),
    'AnyCallback' => 'callback', 'TicketKeyCallback' => 'TicketKeyCallback', 'BIO_ADDR' => 'BIO_ADDR',
    'ClientHelloCallback' => 'SSL_client_hello_cb_fn', 'CertificateCallback' => 'CertificateCallback',
    'TicketMaker' => 'SSL_CTX_generate_session_ticket_fn', 'TicketReader' => 'SSL_CTX_decrypt_session_ticket_fn',
    'LHASH' => 'OPENSSL_LHASH', 'ExNew' => 'CRYPTO_EX_new *', 'ExDup' => 'CRYPTO_EX_dup *', 'ExFree' => 'CRYPTO_EX_free *',
    'LhHash' => 'OPENSSL_LH_HASHFUNC', 'LhCompare' => 'OPENSSL_LH_COMPFUNC',
    'LhHashThunk' => 'OPENSSL_LH_HASHFUNCTHUNK', 'LhCompareThunk' => 'OPENSSL_LH_COMPFUNCTHUNK',
    "CtxRef<'_>" => 'SSL_CTX *', "SslRef<'_>" => 'SSL *', "AnySession<'_>" => 'SSL_SESSION *',
    (map { $_ => 'OPENSSL_LHASH *' } "TableRef<'_>", "TableRef<'static>"),
    'LhDoallThunk' => 'OPENSSL_LH_DOALL_FUNC_THUNK', 'LhDoallArgThunk' => 'OPENSSL_LH_DOALL_FUNCARG_THUNK',
);

sub c_type {
    my ($rust) = @_;
    $rust =~ s/^\w+:(?!:)\s*//;             # the name of an argument
    return c_type($1) . ' *' if $rust =~ /^(?:\*mut|\*const|&mut) (.*)/;
    return c_type($1) if $rust =~ /^Option<(.*)>$/;
    return 'callback' if $rust eq 'extern "C" fn()';
    return $c_type{$rust} // die "checks/abi/versions.t knows no C type for $rust\n";
}

# Every `NAME(TYPE, ...) -> TYPE;` of the exports and `NAME: ... fn(TYPE, ...) -> TYPE;` of the two tables. Const means nothing to the ABI, and differs among versions.
sub prototypes {
    my %found;
    my ($entries) = slurp("$top/src/exports/entries.rs") =~ /^entries! \{\n(.*?)^\}/ms;
    my @tables = ($entries, slurp("$top/src/libssl/symbols.rs") =~ /^\s+(?:required|optional) \{\n(.*?)^\s+\}\n/msg);
    for my $table (@tables) {
        while ($table =~ /^\s+(?:\w+ \w+::(\w+)|(\w+):\s+(?:unsafe )?extern "C-unwind" fn)\(([^;]*)\)(?: -> ([^;]+))?;/mg) {
            my ($name, $arguments, $return) = ($1 // $2, $3, $4);
            $arguments =~ s/\s+/ /g;
            # fn() is a type without commas, so those split.
            my @types = map { c_type($_) } grep { length } map { s/^\s+|\s+$//gr } split /,/, $arguments;
            my $type = defined $return ? c_type($return) : 'void';
            # What SSL_CTX_sessions returns has a type of its own in C.
            $type = 'LHASH_OF(SSL_SESSION) *' if $name eq 'SSL_CTX_sessions';
            push @{ $found{$name} }, sprintf '%s %s(%s);', $type, $name, join(', ', @types) || 'void';
        }
    }
    return %found;
}

my %prototypes = prototypes();
cmp_ok(scalar keys %prototypes, '>', 50, 'the tables of prototypes are understood');
is_deeply([grep { !$prototypes{$_} } map { $_->{name} } @symbols], [], 'every export has one');

sub check_prototypes {
    my ($number, $cflags) = @_;
    my $source = <<'C';
#include <stdint.h>
#include <openssl/crypto.h>
#include <openssl/lhash.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include "sslsweep.h"
typedef int (*NewCallback)(SSL *, SSL_SESSION *);
typedef void (*RemoveCallback)(SSL_CTX *, SSL_SESSION *);
typedef SSL_SESSION *(*GetCallback)(SSL *, unsigned char *, int, int *);
typedef GEN_SESSION_CB GenerateCallback;
typedef void *(*MallocFunction)(size_t, const char *, int);
typedef void *(*ReallocFunction)(void *, size_t, const char *, int);
typedef void (*FreeFunction)(void *, const char *, int);
typedef int (*CertificateCallback)(SSL *, void *);
typedef void (*callback)(void);
C
    $source .= "typedef int (*TicketKeyCallback)(SSL *, unsigned char *, unsigned char *, EVP_CIPHER_CTX *, EVP_MAC_CTX *, int);\n" if $number >= 30000;
    # A function that this release has not declared yet is compared with nothing, and its types may be missing.
    $source .= "typedef struct ossl_lib_ctx_st OSSL_LIB_CTX;\n" if $number < 30000;
    my $compared = 0;
    my $headers = run(@compile, @$cflags, "-I$top/include", '-E', '-P', spit("$work/headers.c", $source)) // return fail('the headers can be read');
    for my $name (sort keys %prototypes) {
        next unless $headers =~ /\b\Q$name\E\s*\(/;
        $compared++;
        $source .= "$_\n" for @{ $prototypes{$name} };
    }
    spit("$work/prototypes.c", $source);
    ok(defined run(@compile, @$cflags, "-I$top/include", '-Dconst=', '-c', '-o', "$work/prototypes.o", "$work/prototypes.c"),
        "its prototypes are ours: $compared of " . keys %prototypes);
    my @undeclared = grep { number($_->{since}) <= $number && $headers !~ /\b\Q$_->{name}\E\s*\(/ } @symbols;
    is_deeply([map { $_->{name} } @undeclared], [], 'and declared, all that it has');
    return;
}

# ---- Bindings ----

sub check_bindings {
    my ($number, $cflags, $libs, $folder) = @_;
    my @callable = map { $_->{name} } grep { number($_->{since}) <= $number } @symbols;
    my $table = join ",\n", map { qq(    {"$_", (void *)(size_t)$_}) } @callable;
    spit("$work/bindings.c", <<"C");
#include <dlfcn.h>
#include <stdio.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
static const struct { const char *name; void *address; } functions[] = {
$table
};
int main(void)
{
    Dl_info info;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        printf("%s %s\\n", functions[i].name, dladdr(functions[i].address, &info) ? info.dli_fname : "nowhere");
    return 0;
}
C
    defined run(@compile, @$cflags, '-o', "$work/bindings", "$work/bindings.c", @$libs, '-ldl') or return fail('a program can be built');
    local $ENV{LD_LIBRARY_PATH} = $folder;
    my $alone = run("$work/bindings") // return fail('the program runs');
    unlike($alone, qr{/libsslsweep\.}, 'alone, a program calls libssl');
    local $ENV{LD_PRELOAD} = $shared;
    my %bound = (run("$work/bindings") // '') =~ /^(\w+) (.*)$/mg;
    my @others = grep { abs_path($bound{$_} // '') ne $shared } @callable;
    is("@others", '', 'under LD_PRELOAD each of ' . @callable . ' functions is ours');
    return;
}

for my $version (versions()) {
    subtest "libssl $version" => sub {
        my ($number, $cflags, $libs, $folder) = libssl($version);
        ok($number, 'is there') or return;
        check_nodes($number, $libs, $folder);
        check_prototypes($number, $cflags);
        check_bindings($number, $cflags, $libs, $folder);
    };
}

done_testing;
