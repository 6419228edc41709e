#!/usr/bin/perl
# What the libraries show to the linker: the names in symbols.txt and no others, and nothing of OpenSSL
# needed. And the committed header is the one that the Rust documentation gives.
#
# A new export is a line in symbols.txt, which is sorted by bytes.
#
# The environment:
#   TEST_LIBDIR        where our library is
#   CARGO_TARGET_DIR   where cargo built it
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use Test::More;

$ENV{LC_ALL} = 'C';

my $here   = dirname(abs_path(__FILE__));
my $top    = dirname($here);
my $libdir = $ENV{TEST_LIBDIR} || "$top/build/lib";
my $target = $ENV{CARGO_TARGET_DIR} || 'target';
$target = "$top/$target" unless $target =~ m{^/};

my ($shared, $static) = ("$libdir/libsslsweep.so", "$libdir/libsslsweep.a");

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or die "$path: $!";
    local $/;
    return scalar(<$file>) // '';
}

sub output {
    my (@command) = @_;
    open my $pipe, '-|', @command or die "$command[0]: $!";
    my $text = do { local $/; <$pipe> } // '';
    ok(close($pipe), "@command[0, 1]") or BAIL_OUT("@command failed: build the library first");
    return $text;
}

my @wanted = split /\n/, slurp("$here/symbols.txt");
is("@wanted", join(' ', sort @wanted), 'symbols.txt is sorted');

sub same_names {
    my ($found, $name) = @_;
    my %found  = map { $_ => 1 } @$found;
    my %wanted = map { $_ => 1 } @wanted;
    return if ok("@$found" eq "@wanted", $name);
    diag("missing: $_") for grep { !$found{$_} } @wanted;
    diag("not in symbols.txt: $_") for grep { !$wanted{$_} } @$found;
}

my @exported = map { (split)[-1] } split /\n/, output('nm', '-D', '--defined-only', $shared);
same_names([sort @exported], 'the shared library exports these names and no others');

# readelf, not nm: the objects hold LLVM's bitcode too, and an nm with LLVM's plugin looks at nothing else.
my ($object, %objects, @defined) = ('');
for (split /\n/, output('readelf', '-sW', $static)) {
    $object = $1 if /^File: .*\((.*)\)$/;
    # Number, value, size, type, binding, visibility, section, name. Ours are the names that are not Rust's.
    my (undef, undef, undef, undef, $binding, $visibility, $section, $symbol) = split;
    next unless defined $symbol && $binding =~ /GLOBAL|WEAK/ && $visibility eq 'DEFAULT' && $section ne 'UND';
    next unless $symbol =~ /^(?:SSL|CRYPTO|OPENSSL|OSSL|TLS|DTLS|BIO|ERR|EVP|X509|sslsweep)_/;
    push @defined, $symbol;
    $objects{$object} = 1;
}
same_names([sort @defined], 'the static library defines the same');
# The linker takes objects, not libraries: a program that refers to one of the functions gets them all.
is(scalar keys %objects, 1, 'in one object') or diag(join ' ', sort keys %objects);

my $dynamic = output('readelf', '-dW', $shared);
my @needed  = $dynamic =~ /\(NEEDED\)[^\[]*\[([^\]]*)\]/g;
ok(scalar @needed, 'the dynamic section is understood');
is_deeply([grep { /ssl|crypto/ } @needed], [], 'P3: neither libssl nor libcrypto is needed');
unlike($dynamic, qr/TEXTREL/, 'no text relocations');
like($dynamic, qr/\bBIND_NOW\b|\bNOW\b/, 'all is bound at the start');
unlike($dynamic, qr/\((?:RPATH|RUNPATH)\)/, 'no search path of the machine that built it');

my ($version) = slurp("$top/Cargo.toml") =~ /^version = "(.*)"/m;
my $abi = $version =~ /^(0\.\d+|[1-9]\d*)/ ? $1 : 'unknown';
like($dynamic, qr/\(SONAME\)[^\[]*\[libsslsweep\.so\.\Q$abi\E\]/, "the SONAME has the ABI's number");

my $segments = output('readelf', '-lW', $shared);
like($segments, qr/^\s*GNU_RELRO\s/m, 'the tables are read-only once bound');
unlike($segments, qr/^\s*GNU_STACK\s.*\sRWE\s/m, 'the stack is not executable');

my ($generated) = sort { (stat $b)[9] <=> (stat $a)[9] } glob "$target/release/build/sslsweep-*/out/sslsweep.h";
ok($generated, 'the build generated a header') or diag('build the library first');
if ($generated) {
    ok(slurp($generated) eq slurp("$top/include/sslsweep.h"), 'include/sslsweep.h is what the build generates')
        or diag("run `make header`, and look at what changes:\n" . qx{diff -u "$top/include/sslsweep.h" "$generated"});
}

done_testing;
