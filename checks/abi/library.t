#!/usr/bin/perl
# Our libraries against checks/abi/symbols.tsv: each function under its version nodes and nothing else, nothing of
# OpenSSL needed, and no change of the ABI that nobody meant. And the committed header is the one that the
# Rust documentation gives.
#
# The environment:
#   TEST_LIBDIR        where our library is
#   CARGO_TARGET_DIR   where cargo built it
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use Test::More;
use lib dirname(abs_path(__FILE__));
use Abi qw(symbols nodes is_plain slurp $top);

$ENV{LC_ALL} = 'C';

my $libdir = $ENV{TEST_LIBDIR} || "$top/build/lib";
my $target = $ENV{CARGO_TARGET_DIR} || 'target';
$target = "$top/$target" unless $target =~ m{^/};

my ($shared, $static) = ("$libdir/libsslsweep.so", "$libdir/libsslsweep.a");

sub output {
    my (@command) = @_;
    open my $pipe, '-|', @command or die "$command[0]: $!";
    my $text = do { local $/; <$pipe> } // '';
    ok(close($pipe), "@command[0, 1]") or BAIL_OUT("@command failed: build the library first");
    return $text;
}

# ---- The list itself ----

my @symbols = symbols();
my @names   = map { $_->{name} } @symbols;
is("@names", join(' ', sort @names), 'symbols.tsv is sorted');
is_deeply([grep { $_->{since} !~ /^(?:own|1\.1\.[01]|3\.[034])$/ } @symbols], [], 'every version in it is known');
is_deeply([grep { $_->{presence} !~ /^(?:required|optional|-)$/ || !$_->{why} } @symbols], [], 'and every reason given');

sub same {
    my ($found, $wanted, $name) = @_;
    my %found  = map { $_ => 1 } @$found;
    my %wanted = map { $_ => 1 } @$wanted;
    return if ok("@$found" eq "@$wanted", $name);
    diag("missing: $_") for grep { !$found{$_} } @$wanted;
    diag("not in symbols.tsv: $_") for grep { !$wanted{$_} } @$found;
}

# ---- The shared library ----

# NAME@@SSLSWEEP for what a program may look up without a version, and NAME@NODE, hidden, for the callers of a libssl; a
# node itself is an absolute symbol.
my @exported = map { (split)[-1] } grep { !/ A \S+$/ } split /\n/, output('nm', '-D', '--defined-only', '--with-symbol-versions', $shared);
my @wanted = map { my $name = $_->{name}; (is_plain($name) ? "$name\@\@SSLSWEEP" : (), map { "$name\@$_" } nodes($_->{since})) } @symbols;
same([sort @exported], [sort @wanted], 'the shared library exports these names under these nodes and no others');

my $dynamic = output('readelf', '-dW', $shared);
my @needed  = $dynamic =~ /\(NEEDED\)[^\[]*\[([^\]]*)\]/g;
ok(scalar @needed, 'the dynamic section is understood');
is_deeply([grep { !/^(?:libgcc_s|libc|libm|libpthread|libdl|ld-linux[-\w]*)\.so\.\d+$/ } @needed], [],
    'P3: only the C library and the unwinder are needed, neither libssl nor libcrypto');
unlike($dynamic, qr/TEXTREL/, 'no text relocations');
like($dynamic, qr/\bBIND_NOW\b|\bNOW\b/, 'all is bound at the start');
# Thread-locals of the initial-exec model would keep a plug-in that brings us along from being loaded.
unlike($dynamic, qr/STATIC_TLS/, 'no static thread-local storage');
unlike($dynamic, qr/\((?:RPATH|RUNPATH)\)/, 'no search path of the machine that built it');

my ($version) = slurp("$top/Cargo.toml") =~ /^version = "(.*)"/m;
my $abi = $version =~ /^(0\.\d+|[1-9]\d*)/ ? $1 : 'unknown';
like($dynamic, qr/\(SONAME\)[^\[]*\[libsslsweep\.so\.\Q$abi\E\]/, "the SONAME has the ABI's number");

# A destructor of a thread's data is registered under the loader's lock, and ends the process out of memory (Makefile).
my @imported = map { (split)[-1] =~ s/@.*//r } split /\n/, output('nm', '-D', '--undefined-only', $shared);
ok(scalar(grep { $_ eq 'mmap' } @imported), 'the imports are understood');
is_deeply([grep { /^__cxa_thread_atexit/ } @imported], [], 'P8, P10: no destructors of thread-local data');

my $segments = output('readelf', '-lW', $shared);
like($segments, qr/^\s*GNU_RELRO\s/m, 'the tables are read-only once bound');
unlike($segments, qr/^\s*GNU_STACK\s.*\sRWE\s/m, 'the stack is not executable');

# P9: a caller that names no version is given what has version index 2, even a hidden name: the first node of the map.
my ($first_node) = output('readelf', '-VW', $shared) =~ /^Version definition section.*?Rev: 1\s+Flags: none\s+Index: 2\s+Cnt: 1\s+Name: (\S+)/ms;
is($first_node, 'SSLSWEEP', 'P9: SSLSWEEP is the first version node');

# ---- The dynamic loader ----

# P8: which of the loader's functions are imported, and where they may be called. Its lock is held by whoever runs constructors.
my %loader = map { my ($name, $source) = split /\t/; $name => $source } grep { !/^#/ } split /\n/, slurp("$top/checks/abi/loader.txt");
is_deeply([sort grep { /^_?dl/ } @imported], [sort keys %loader], 'P8: of the dynamic loader, only what checks/abi/loader.txt names is imported');
for my $name (sort keys %loader) {
    my %callers = map { $_ => 1 } grep { slurp("$top/$_") =~ /\b(?:libc::)?\Q$name\E\(/ } split /\n/, qx{cd "$top" && git ls-files 'src/*.rs' 2>/dev/null || find src -name '*.rs'};
    is_deeply([keys %callers], [$loader{$name}], "P8: $name is called in $loader{$name} alone");
}

# ---- The static library ----

# readelf, not nm: the objects hold LLVM's bitcode too, and an nm with LLVM's plugin looks at nothing else.
my @runtime = map { qr/$_/ } grep { !/^#/ } split /\n/, slurp("$top/checks/abi/runtime.txt");
my ($object, %objects, @defined, @others) = ('');
for (split /\n/, output('readelf', '-sW', $static)) {
    $object = $1 if /^File: .*\((.*)\)$/;
    # Number, value, size, type, binding, visibility, section, name.
    my (undef, undef, undef, undef, $binding, $visibility, $section, $symbol) = split;
    next unless defined $symbol && $binding =~ /^(?:GLOBAL|WEAK)$/ && $visibility eq 'DEFAULT' && $section ne 'UND';
    if (grep { $_ eq $symbol } @names) {
        push @defined, $symbol;
        $objects{$object} = 1;
    } elsif (!grep { $symbol =~ $_ } @runtime) {
        push @others, $symbol;
    }
}
same([sort @defined], \@names, 'the static library defines the same names');
unlike(output('readelf', '-sW', $static), qr/\b__cxa_thread_atexit/, 'nor does it register destructors of thread-local data');
is("@others", '', 'and nothing else but what the Rust runtime forces (checks/abi/runtime.txt)');
# The linker takes objects, not libraries: a program that refers to one of the functions gets them all.
is(scalar keys %objects, 1, 'in one object') or diag(join ' ', sort keys %objects);

# ---- Against the last ABI that was meant ----

my $report = qx{abidiff --no-architecture --no-show-locs "$top/checks/abi/libsslsweep.abi" "$shared" 2>&1};
is($?, 0, 'abidiff: the ABI is that of checks/abi/libsslsweep.abi') or diag("if this is meant, run `make abi-baseline`:\n$report");

my ($generated) = sort { (stat $b)[9] <=> (stat $a)[9] } glob "$target/release/build/sslsweep-*/out/sslsweep.h";
ok($generated, 'the build generated a header') or diag('build the library first');
if ($generated) {
    ok(slurp($generated) eq slurp("$top/include/sslsweep.h"), 'include/sslsweep.h is what the build generates')
        or diag("run `make header`, and look at what changes:\n" . qx{diff -u "$top/include/sslsweep.h" "$generated"});
}

done_testing;
