# What the tests of the command have in common: the command from build/, a program whose figures are known, and waiting.
package Command;
use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use IPC::Open2 qw(open2);
use Test::More;
use Time::HiRes qw(sleep time);
use lib dirname(abs_path(__FILE__)) . '/../../../tests-c/support';
use Installed;

our @EXPORT = qw($sslsweep $library $here key_file without_share $SECONDS within compile served child_of %told $pid start start_contained stop store_more);

our $sslsweep = "$top/build/bin/sslsweep";
our $library  = "$top/build/lib/$name";
our $here     = dirname(abs_path(__FILE__));
our $SECONDS  = 60;    # for anything that takes a moment
my @cc = split ' ', $ENV{CC} || 'cc';

delete @ENV{qw(NO_COLOR SSLSWEEP_STATS SSLSWEEP_AUTOFLUSH SSLSWEEP_EVICTION SSLSWEEP_TICKETS SSLSWEEP_SHARE SSLSWEEP_SHARE_KEY)};

# Until it is so, or not in time.
sub within {
    my ($condition) = @_;
    for (my $until = time + $SECONDS; time < $until; sleep 0.05) {
        return 1 if $condition->();
    }
    return 0;
}

sub compile {
    my ($to, @rest) = @_;
    is(run(@cc, '-O1', '-w', '-D_GNU_SOURCE', '-o', "$scratch/$to", @rest), 0, "$to is built") or BAIL_OUT($complained);
    return "$scratch/$to";
}

# The program whose figures are known, linked with more options or with none.
sub served {
    my ($to, @options) = @_;
    # A static libcrypto needs the libraries that its .pc file names.
    my @libraries = grep({ $_ eq '-static' } @options) ? ask('--static', '--libs', 'libssl') : qw(-lssl -lcrypto);
    return compile($to, @options, "-I$top/tests-c/support", "$here/served.c", "$top/tests-c/support/handshake.c", "$top/tests-c/support/support.c",
        @libraries, qw(-ldl -pthread));
}

# A file with one key.
sub key_file {
    my ($to) = @_;
    my $path = spit("$scratch/$to", '00000001 ' . '5a' x 32 . "\n");
    chmod 0600, $path;
    return $path;
}

# The command of a tree that has no share library.
sub without_share {
    my $tree = "$scratch/without-share";
    runs('a tree without the share library', 'sh', '-c', "mkdir -p $tree/lib && cp -a $top/build/bin $tree/ && cp -a $top/build/lib/$name* $tree/lib/")
        or BAIL_OUT($complained);
    return "$tree/bin/sslsweep";
}

our %told;    # {context}{figure}
our $pid;
my ($from, $to);

sub start {
    my (@command) = @_;
    %told = ();
    $pid = open2($from, $to, @command);
    while (my $line = <$from>) {
        return if $line eq "ready\n";
        $told{$1}{$2} = $3 if $line =~ /^(\w+) (\w+) (\d+)$/;
    }
    BAIL_OUT("@command did not come to its end");
}

# The child of a process that runs this program, if there is one. (A bare Debian has no pgrep.)
sub child_of {
    my ($parent, $program) = @_;
    for (glob '/proc/[0-9]*/stat') {
        open my $file, '<', $_ or next;
        my ($child, $its, $of) = (readline($file) // '') =~ /^(\d+) \((.*)\) \S (\d+) /s or next;
        return $child if $of == $parent && $its eq $program;
    }
    return;
}

# The same in pid and mount namespaces of its own, with a folder of its own for figures. Returns its number out here.
sub start_contained {
    my ($program) = @_;
    start('unshare', '--pid', '--fork', '--mount-proc', '--mount', 'sh', '-c',
        "mount -t tmpfs none /dev/shm && exec $sslsweep run --stats $program");
    my $inside;
    ok(within(sub { $inside = child_of($pid, 'served') }), 'the process in it');
    return $inside;
}

sub stop {
    close $to;
    waitpid $pid, 0;
    return $?;
}

sub store_more {
    print {$to} "more\n";
    $to->flush;
    my $answer = <$from>;
    $told{2}{$_} += 7 for qw(sessions stores);
    return;
}

1;
