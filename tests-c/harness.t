#!/usr/bin/perl
# Runs every test program the four ways and compares what they print (see support.h for the lines).
#
#   stock    linked with libssl alone           preload  the same binary under LD_PRELOAD
#   shared   libsslsweep.so before -lssl        static   libsslsweep.a before -lssl
#
# The environment (the Makefile sets it):
#   TEST_BUILD, TEST_LIBDIR   where the programs and our library are
#   TEST_WAYS, TEST_NAMES     which ways and programs (shell wildcards); all by default
#   TEST_WITHOUT              programs that are left out of these
#   TEST_JOBS                 runs at the same time; 1 by default
#   TEST_TIMEOUT              seconds for one run: there to end a hang, so far beyond what a busy machine needs
#   TEST_VALGRIND             a valgrind command line to run the programs under
#   TEST_EMULATED             set where an emulator runs the programs
#   TEST_BUILD_FAILED         set when make could not build everything: old programs may be about
#   TEST_OUT                  where the outputs go; if set, results.tsv too: program, way, passed or failed
#                             (times.tsv is always there: program, way, seconds, seconds of a processor)
#   TEST_LIBSSL               the libssl that the programs must say they have, as "OpenSSL 3.5.5 symbolic"
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname basename);
use File::Path qw(make_path);
use POSIX qw(setpgid _exit WNOHANG);
use Test::More;
use lib dirname(abs_path(__FILE__)) . '/support';
use Files qw(spit);
use Time::HiRes qw(sleep time);

my $here     = dirname(abs_path(__FILE__));
my $build    = abs_path($ENV{TEST_BUILD} || "$here/../build/tests") || $ENV{TEST_BUILD};
my $libdir   = abs_path($ENV{TEST_LIBDIR} || "$here/../build/lib") || $ENV{TEST_LIBDIR};
my @ways     = split ' ', $ENV{TEST_WAYS} || 'stock preload shared static';
my $valgrind = $ENV{TEST_VALGRIND} || '';
my $timeout  = $ENV{TEST_TIMEOUT} || ($valgrind ? 900 : 300);
my $jobs     = $ENV{TEST_JOBS} || 1;
my $out      = $ENV{TEST_OUT} || "$build/out";
my $libssl   = $ENV{TEST_LIBSSL} || '';
my %folder   = (stock => 'stock', preload => 'stock', shared => 'shared', static => 'static');

my %named;     # contract numbers in passing lines of passing runs
my %cannot;    # contract numbers that stock left out
my $said_libssl = 0;    # runs that said which libssl they have

# By name: the source.
sub programs {
    my %chosen;
    for my $pattern (split ' ', $ENV{TEST_NAMES} || '*') {
        $chosen{basename($_, '.c')} = $_ for grep { !m{^\Q$here\E/support/} } glob "$here/*/$pattern.c";
    }
    delete @chosen{split ' ', $ENV{TEST_WITHOUT} || ''};
    return %chosen;
}

my %source = programs();

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or return '';
    local $/;
    my $text = <$file>;
    return defined $text ? $text : '';
}

sub indent { my ($text) = @_; $text =~ s/^/    /mg; return $text }

# In the child: files rather than pipes, so that a process left behind cannot hold us up.
sub become {
    my ($name, $way) = @_;
    setpgid(0, 0);
    open STDIN,  '<', '/dev/null'            or _exit(126);
    open STDOUT, '>', "$out/$name.$way.out"  or _exit(126);
    open STDERR, '>', "$out/$name.$way.err"  or _exit(126);
    $ENV{LD_LIBRARY_PATH} = join ':', $libdir, grep { defined && length } $ENV{LD_LIBRARY_PATH};
    $ENV{LD_PRELOAD} = "$libdir/libsslsweep.so" if $way eq 'preload';
    my @command = ("$build/$folder{$way}/$name");
    # What leaves a function of libssl by longjmp, or ends its thread there, leaves behind what that would have freed.
    my $leaks = slurp($source{$name}) =~ m{^/\* Leaks: }m;
    $ENV{ASAN_OPTIONS} .= ':detect_leaks=0' if $leaks && $ENV{ASAN_OPTIONS};
    if ($valgrind) {
        $ENV{TEST_SLOW} = 1;
        unshift @command, split(' ', $valgrind), $leaks ? '--leak-check=no' : (), '--error-exitcode=99',
            "--log-file=$out/$name.$way.valgrind.%p";
    }
    no warnings 'exec';
    exec { $command[0] } @command;
    _exit(127);
}

# Runs are started in the order in which they will be asked for, several at a time.
my @waiting;    # [name, way]
my %running;    # by process: [name, way, when it started]
my %ended;      # by "name.way": '' when well, else the reason
my $times = ''; # lines of times.tsv

$SIG{INT} = $SIG{TERM} = sub { kill 'KILL', map { -$_ } keys %running; exit 1 };

# Starts a run. What can't be started has ended.
sub start {
    my ($name, $way) = @_;
    unlink glob "$out/$name.$way.*";
    my $program = "$build/$folder{$way}/$name";
    return "$program was not built" unless -x $program;
    return "$libdir/libsslsweep.so is not there" if $way eq 'preload' && !-e "$libdir/libsslsweep.so";

    defined(my $pid = fork) or return "fork: $!";
    become($name, $way) if $pid == 0;
    setpgid($pid, $pid);    # whichever of the two is first
    $running{$pid} = [$name, $way, time];
    return;
}

sub stop_late {
    for my $pid (grep { $running{$_}[2] + $timeout < time } keys %running) {
        kill 'KILL', -$pid;    # the group that this child leads: itself and what it started
        waitpid $pid, 0;
        my ($name, $way) = @{ delete $running{$pid} };
        $ended{"$name.$way"} = "still running after $timeout seconds";
    }
}

# Of the children that were waited for, with their own.
sub processor_seconds { my (undef, undef, $user, $system) = times; return $user + $system }

sub collect {
    for my $pid (keys %running) {
        my $before = processor_seconds();
        next unless waitpid($pid, WNOHANG) == $pid;
        my ($name, $way, $began) = @{ delete $running{$pid} };
        $times .= sprintf "%s\t%s\t%.1f\t%.1f\n", $name, $way, time - $began, processor_seconds() - $before;
        $ended{"$name.$way"} = $? & 127 ? 'killed by signal ' . ($? & 127) : $? ? 'exit status ' . ($? >> 8) : '';
    }
}

# How a run ended, once it has.
sub run {
    my ($name, $way) = @_;
    until (exists $ended{"$name.$way"}) {
        while (@waiting && keys %running < $jobs) {
            my ($next, $in) = @{ shift @waiting };
            my $reason = start($next, $in);
            $ended{"$next.$in"} = $reason if defined $reason;
        }
        collect();
        stop_late();
        sleep 0.005 unless exists $ended{"$name.$way"};
    }
    return $ended{"$name.$way"};
}

# The lines of a run to hold against another: all but the comments, and without `better` ones (and
# stock's excuses for them) when the other is stock.
sub comparable {
    my ($name, $way, $without_better) = @_;
    my @lines = grep { !/^# / } split /^/, slurp("$out/$name.$way.out");
    @lines = grep { !/^[+-] / } @lines if $without_better;
    return join '', @lines;
}

sub check_same {
    my ($name, $way, $base) = @_;
    my @ways = ($base, $way);
    my @texts = map { comparable($name, $_, $base eq 'stock') } @ways;
    my $same = ok($texts[0] eq $texts[1], "$way prints what $base prints");
    return 1 if $same;
    my @files = map { spit("$out/$name.$ways[$_].compared", $texts[$_]) } 0, 1;
    open my $diff, '-|', 'diff', '-u', '--label', $base, '--label', $way, @files or die "diff: $!";
    diag(do { local $/; <$diff> });
    return 0;
}

sub check_valgrind {
    my ($name, $way) = @_;
    my @logs = map { slurp($_) } glob "$out/$name.$way.valgrind.*";
    # A process replaced by exec leaves a log without a summary; the one that ended does not.
    my @summaries = map { /ERROR SUMMARY: (\d+) errors/g } @logs;
    my $ok = ok(@summaries && !grep({ $_ } @summaries) && !grep({ !/Memcheck, a memory error detector/ } @logs),
        "$way ran under memcheck without errors");
    diag(indent(join '', map { substr $_, 0, 6000 } grep { !/ERROR SUMMARY: 0 errors/ } @logs)) unless $ok;
    return $ok;
}

sub check_way {
    my ($name, $way) = @_;
    my $reason = run($name, $way);
    my $text   = slurp("$out/$name.$way.out");
    my $wanted = $way eq 'stock' ? 'stock' : 'sslsweep';
    my ($under) = $text =~ /\A# under: (\S+)$/m;

    $reason ||= 'it did not come to its end' unless $text =~ /^done$/m;
    my $ok = ok(!$reason, "$way exits well");
    $ok = is($under, $wanted, "$way ran under $wanted") && $ok;
    # A panic of ours is caught at the boundary, and may go unnoticed by the program.
    $ok = unlike(slurp("$out/$name.$way.err"), qr/internal error, please report it/, "$way without an internal error") && $ok;
    my $clean = !$valgrind || check_valgrind($name, $way);
    if ($libssl && $text =~ /^# libssl: (OpenSSL \S+) .*, (\w+)$/m) {
        $ok = is("$1 $2", $libssl, "$way has that libssl") && $ok;
        $said_libssl++;
    }
    if (!$ok) {
        diag($reason);
        my @lines  = split /^/, $text;
        my @failed = grep { /FAILED|GAVE UP/ } @lines;
        diag(indent(join '', @failed)) if @failed;
        diag("last lines:\n" . indent(join '', @lines > 5 ? @lines[-5 .. -1] : @lines)) if @lines;
        my $stderr = slurp("$out/$name.$way.err");
        diag("stderr:\n" . indent(substr $stderr, 0, 4000)) if $stderr ne '';
        return 0;
    }
    for my $line (split /\n/, $text) {
        if ($line =~ /^- (\S+) stock cannot: (.*)/) {
            $cannot{$1} = 1;
            pass("stock cannot do $1: $2");
        }
        $named{$_} = 1 for $line =~ /^(?:\+ )?ok ([^-]*) - / ? split /[\s,]+/, $1 : ();
    }
    return $clean;
}

make_path($out);
my @programs = sort keys %source;
ok(!$ENV{TEST_BUILD_FAILED}, 'everything was built') or diag('make failed: see its messages above');
ok(scalar @programs, 'there are programs to run');

@waiting = map { my $name = $_; map { [$name, $_] } @ways } @programs;
my $results = '';

for my $name (@programs) {
    subtest $name => sub {
        my %ran = map { $_ => check_way($name, $_) } @ways;
        my %passed = %ran;
        my @ours = grep { $_ ne 'stock' } @ways;
        for my $way (grep { $ran{$_} } @ours) {
            $passed{$way} &&= check_same($name, $way, 'stock') if $ran{stock};
            $passed{$way} &&= check_same($name, $way, $ours[0]) if $ran{$ours[0]} && $way ne $ours[0];
        }
        $results .= join("\t", $name, $_, $passed{$_} ? 'passed' : 'failed') . "\n" for @ways;
    };
}
spit("$out/times.tsv", $times);
spit("$out/results.tsv", $results) if $ENV{TEST_OUT};
ok($said_libssl, "programs have said which libssl they have") if $libssl;

my @numbers = ((map { "F$_" } 1 .. 13), (map { "C$_" } 1 .. 20), (map { "P$_" } 1 .. 12), (map { "O$_" } 1 .. 7), (map { "S$_" } 1 .. 5, 8, 9, 11));
diag('numbers of the contract named by passing tests: ' . join ' ', grep { $named{$_} } @numbers);
my @not_named = grep { !$named{$_} } @numbers;
if (($ENV{TEST_NAMES} || '*') eq '*' && !$ENV{TEST_WITHOUT} && grep { $_ ne 'stock' } @ways) {
    is("@not_named", '', 'each promise of the contract is named by a test that passes');
}
else {
    diag("not named: @not_named");
}
diag('stock left out parts of: ' . join ' ', grep { $cannot{$_} } @numbers) if %cannot;
done_testing;
