#!/usr/bin/perl
# The probes of the shared library: their notes are as documented, each costs one instruction that does nothing, and tracers
# see what they should, with the arguments: gdb each probe, and bpftrace by the scripts in docs/bpftrace. The
# library has no debug information here, as in a package.
#
# The environment: TEST_BUILD and TEST_LIBDIR, as for harness.t.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname basename);
use File::Temp qw(tempdir);
use POSIX qw(_exit WNOHANG);
use Test::More;
use Time::HiRes qw(sleep);
use lib dirname(abs_path(__FILE__)) . '/support';
use Files qw(slurp spit);

$ENV{LC_ALL} = 'C';
my $here    = dirname(abs_path(__FILE__));
my $build   = abs_path($ENV{TEST_BUILD} || "$here/../build/tests");
my $libdir  = abs_path($ENV{TEST_LIBDIR} || "$here/../build/lib");
my $program = "$build/stock/presence_probes";
my $scratch = abs_path(tempdir(CLEANUP => 1));
my $library = "$scratch/libsslsweep.so";

# Each probe's arguments, as src/takeover/context/events.rs, src/published/sharing.rs and docs/operations.md have them.
my %probes = (
    'store'        => [qw(ctx session expiry)],
    'evict'        => [qw(ctx session)],
    'hit'          => [qw(ctx session)],
    'miss'         => [qw(ctx)],
    'expire'       => [qw(ctx session)],
    'flush__start' => [qw(ctx tm)],
    'flush__done'  => [qw(ctx removed nanoseconds)],
);
my %sharing = map { $_ => ['event'] } qw(share__publish share__fetch share__refuse);
my %noted = (%probes, %sharing);

sub output {
    my (@command) = @_;
    open my $pipe, '-|', 'sh', '-c', 'exec "$@" 2>&1', 'sh', @command or die "sh: $!";
    my $text = do { local $/; <$pipe> } // '';
    close $pipe;
    return $text;
}

for my $tool (qw(gdb bpftrace objcopy readelf)) {
    system("command -v $tool >/dev/null") == 0 or BAIL_OUT("there is no $tool: run tools/setup.sh test");
}
-x $program or BAIL_OUT("$program is not there: run make test-c");
output('objcopy', '--strip-debug', "$libdir/libsslsweep.so", $library);
unlike(output('readelf', '-SW', $library), qr/\.debug_/, 'a library without debug information');

# ---- The notes ----

# Of addresses, to their place in the file.
my @segments = map { [map { hex } $_ =~ /LOAD\s+(\S+)\s+(\S+)\s+\S+\s+(\S+)/] } grep { /^\s*LOAD/ } split /\n/, output('readelf', '-lW', $library);
my $bytes = slurp($library);
my ($machine) = output('readelf', '-h', $library) =~ /Machine:\s+(.*)/;
my $nothing = $machine =~ /AArch64/ ? "\x1f\x20\x03\xd5" : "\x90";

my %found;
for my $note (split /stapsdt\s+0x/, output('readelf', '-nW', $library)) {
    my ($name, $location, $semaphore, $arguments)
        = $note =~ /Provider: sslsweep\s+Name: (\S+)\s+Location: (\S+), Base: \S+, Semaphore: (\S+)\s+Arguments: (.*)/ or next;
    push @{ $found{$name} }, { location => hex $location, semaphore => hex $semaphore, arguments => [split ' ', $arguments] };
}
is_deeply([sort keys %found], [sort keys %noted], 'the notes name these probes and no others');
for my $name (sort keys %found) {
    for my $site (@{ $found{$name} }) {
        my $wanted = $noted{$name} || [];
        is(scalar @{ $site->{arguments} }, scalar @$wanted, "$name(" . join(', ', @$wanted) . ')');
        is_deeply([grep { !/^-?8@/ } @{ $site->{arguments} }], [], "$name: each argument has 64 bits");
        is($site->{semaphore}, 0, "$name: always there, so nothing is asked before");
        my ($segment) = grep { $site->{location} >= $_->[1] && $site->{location} < $_->[1] + $_->[2] } @segments;
        is(substr($bytes, $segment->[0] + $site->{location} - $segment->[1], length $nothing), $nothing,
            "$name: one instruction that does nothing") if $segment;
        ok($segment, "$name: in a segment that is loaded");
    }
}
my $documented = slurp("$here/../docs/operations.md");
my %all = %noted;
like($documented, qr/`\Q$_(@{[join ', ', @{ $all{$_} }]})\E`/, "$_ is documented with its arguments") for sort keys %all;

# ---- Under gdb ----

# What the program says that a tracer must see.
sub expected { return grep { defined } map { /^# probe (.*)/ ? $1 : undef } split /\n/, $_[0] }

sub under_gdb {
    my $script = join '', "set pagination off\nset confirm off\nset breakpoint pending on\n",
        "set environment LD_PRELOAD $library\nstart >$scratch/said\n";
    for my $name (sort keys %probes) {
        my @formats = map { /^(?:ctx|session)$/ ? '%#lx' : '%ld' } @{ $probes{$name} };
        my $values  = join ', ', map { "\$_probe_arg$_" } 0 .. $#formats;
        $script .= "break -probe-stap sslsweep:$name\ncommands\nsilent\nprintf \"PROBE \%d $name @formats\\n\", \$_probe_argc, $values\ncontinue\nend\n";
    }
    return output('timeout', '120', 'gdb', '-nx', '-batch', '-x', spit("$scratch/gdb", "${script}continue\n"), $program);
}
my $seen = under_gdb();
my $said = -e "$scratch/said" ? slurp("$scratch/said") : '';
like($said, qr/^done$/m, 'the program runs to its end under gdb') or diag($seen);
my (@traced, %count);
for ($seen =~ /^PROBE (.*)/mg) {
    my ($argc, $name, @values) = split;
    is($argc, scalar @{ $probes{$name} }, "gdb: $name has as many arguments") unless $count{$name}++;
    cmp_ok(pop @values, '>', 0, 'the time that a flush took') if $name eq 'flush__done';
    push @traced, join ' ', $name, @values;
}
is_deeply(\@traced, [expected($said)], 'gdb sees each probe in its turn, with its arguments') or diag($seen);
is_deeply([sort keys %count], [sort keys %probes], 'all of them');

# ---- Under bpftrace ----

my @scripts = glob "$here/../docs/bpftrace/*.bt";
is(scalar @scripts, 3, 'the scripts for bpftrace');

# For one library instead of that of a process: so there need be no process yet.
sub for_library {
    my ($script) = @_;
    (my $text = slurp($script)) =~ s/usdt:\*:/usdt:$library:/g;
    return spit("$scratch/" . basename($script), $text);
}

# It looks at nothing unless its user is root; for a script that is only compiled a user namespace is enough.
my @as_root = $> == 0 ? () : qw(unshare --map-root-user);
# Compiles to a file, which takes no privilege and is spelt alike in all versions (-d and --dry-run are not).
sub dry_run {
    my ($file) = @_;
    my $text = output(@as_root, 'bpftrace', '--emit-elf', "$scratch/emitted", $file);
    return ($?, $text);
}

# A tracer takes privileges that not every machine gives: it is asked for with the simplest script.
my $refused = output('timeout', '30', 'bpftrace', '-e', "usdt:$library:sslsweep:store { exit(); } BEGIN { exit(); }");
$refused = $? ? $refused : '';

sub check_script {
    my ($script) = @_;
    my $name = basename($script);
    my $file = for_library($script);
    my ($status, $text) = dry_run($file);
    is($status, 0, "$name: bpftrace understands it") or diag($text);
    my $source = slurp($script);
    my @used = $source =~ /usdt:\*:sslsweep:(\w+)/g;
    ok(scalar @used, "$name: it uses probes");
    # What bpftrace cannot know: that there are so many arguments.
    (my $wrong = slurp($file)) =~ s/arg0/arg9/;
    ($status, $text) = dry_run(spit("$scratch/wrong.bt", $wrong));
    isnt($status, 0, "$name: an argument that is not there would be noticed");
    like($text, qr/arg9/, 'and is named');

SKIP: {
        skip "bpftrace may not trace on this machine, so $name was only parsed: $refused", 1 if $refused;
        my $pid = fork // die "fork: $!";
        if ($pid == 0) {
            open STDOUT, '>', "$scratch/traced" or _exit(126);
            open STDERR, '>&', \*STDOUT or _exit(126);
            exec 'timeout', '-s', 'INT', '180', 'bpftrace', $file or _exit(127);
        }
        for (1 .. 600) { last if -e "$scratch/traced" && slurp("$scratch/traced") =~ /^Tracing/m; sleep 0.1 }
        # It says so before all probes are in place, and rates come with the next second: so more than once.
        for (1 .. 40) {
            local $ENV{LD_PRELOAD} = $library;
            output($program);
            sleep 0.4;
            last if slurp("$scratch/traced") =~ /^@/m;
        }
        kill 'INT', $pid;
        waitpid $pid, 0;
        like(slurp("$scratch/traced"), qr/^@\w+\[/m, "$name: it shows what the program does") or diag(slurp("$scratch/traced"));
    }
    return;
}

SKIP: {
    output(@as_root, 'true');
    skip 'bpftrace compiles for root alone, and this user may not make a user namespace', scalar @scripts if $?;
    check_script($_) for @scripts;
}

done_testing;
