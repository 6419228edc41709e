#!/usr/bin/perl
# sslsweep share-key: a key file is made, rotated and refused, and no writer takes another's change away.
use strict;
use warnings;
use Cwd qw(abs_path);
use Fcntl qw(:flock);
use File::Basename qw(dirname);
use POSIX ();
use Test::More;
use lib dirname(abs_path(__FILE__));
use Command qw($sslsweep);
use Installed;

umask 022;
my $folder = "$scratch/keys";
mkdir $folder or die "$folder: $!";
my $file = "$folder/key";

sub share_key { return run($sslsweep, 'share-key', @_) }
sub ids { return [slurp($file) =~ /^([0-9a-f]{8}) [0-9a-f]{64}(?: # staged)?$/mg] }
sub mode { return sprintf '%04o', (stat $_[0])[2] & 07777 }

# One line that names the file, with this in it, and no key.
sub complains {
    my ($part, @words) = @_;
    my $status = share_key(@words);
    is($status, 1, "@words: status 1");
    like($complained, qr/\Asslsweep: \Q$words[-1]\E: [^\n]*$part[^\n]*\n\z/, "says: $part");
    unlike("$said$complained", qr/[0-9a-f]{16}/, 'no key');
}

# Nothing but these files, so no temporary one.
sub folder_has { is_deeply(files_below($folder), [sort @_], 'nothing is left behind') }

subtest 'a file' => sub {
    is(share_key('new', $file), 0, 'is made');
    is_deeply(ids(), [$said =~ /\Akey ([0-9a-f]{8}) seals and opens\n\z/], 'with the key that is named');
    is(mode($file), '0600', 'for its owner alone');
    my $text = slurp($file);
    complains('exists already', 'new', $file);
    is(slurp($file), $text, 'only once');
    symlink 'nothing', "$folder/link" or die "link: $!";
    complains('exists already', 'new', "$folder/link");
    ok(!-e "$folder/nothing", 'and not through a link');
    complains('No such file', 'new', "$folder/none/key");
    is(share_key('new', "$folder/other"), 0, 'another one');
    isnt(slurp("$folder/other"), $text, 'has another key');
    unlink "$folder/other", "$folder/link";
    is(run('sh', '-c', 'cd "$1" && exec "$2" share-key new here', 'sh', $folder, $sslsweep), 0, 'one in this folder');
    unlink "$folder/here";
    folder_has('key');
};

subtest 'a rotation' => sub {
    my ($first) = @{ ids() };
    complains('no key is staged', 'promote', $file);
    complains('no key is old', 'retire', $file);
    spit($file, "# ours\n" . slurp($file) . "# the end\n");
    is(share_key('stage', $file), 0, 'a key is staged');
    my ($second) = $said =~ /\Akey ([0-9a-f]{8}) is staged; [^\n]+\n\z/;
    is_deeply(ids(), [$first, $second], 'behind the first');
    complains("$second waits already", 'stage', $file);
    complains('no key is old', 'retire', $file);
    is_deeply(ids(), [$first, $second], 'nothing has changed');
    is(share_key('promote', $file), 0, 'it is promoted');
    like($said, qr/\Akey $second seals [^\n]+ retire key $first [^\n]+\n\z/, 'it says what comes next');
    is_deeply(ids(), [$second, $first], 'to the front');
    is(share_key('stage', $file), 0, 'the next one may be staged before the old one goes');
    my ($third) = $said =~ /key (\w+)/;
    is(share_key('retire', $file), 0, 'the old one is retired');
    is($said, "key $first removed\n", 'it says which');
    is_deeply(ids(), [$second, $third], 'but not the staged one');
    like(slurp($file), qr/\A# ours\n$second \w+\n# the end\n$third \w+ # staged\n\z/, 'comments stay');
    is(mode($file), '0600', 'the mode too');
    chmod 0400, $file;
    is(share_key('promote', $file), 0, 'a file that is read only');
    is(mode($file), '0400', 'stays so');
    chmod 0600, $file;
    folder_has('key');
};

subtest 'files that are refused' => sub {
    my $text = slurp($file);
    my $line = ($text =~ /^(\w+ \w+)$/m)[0];
    for my $mode (0640, 0604, 0610, 0666) {
        chmod $mode, $file;
        complains(sprintf('mode %04o', $mode), 'stage', $file);
    }
    chmod 0600, $file;
    symlink $file, "$folder/link" or die "link: $!";
    POSIX::mkfifo("$folder/pipe", 0600) or die "pipe: $!";
    mkdir "$folder/folder", 0700;
    my $bad = "$folder/bad";
    spit($bad, '');
    chmod 0600, $bad;
    for my $step (qw(stage promote retire)) {
        complains('symbolic link',    $step, "$folder/link");
        complains('not a regular',    $step, "$folder/pipe");
        complains('not a regular',    $step, "$folder/folder");
        complains('No such file',     $step, "$folder/none");
        complains('has no key',       $step, $bad);
    }
    my @texts = (['line 2 is not a key', "#\n$line 1\n"], ['line 1 is not a key', substr $line, 1], ['line 3 has the id', "$line\n\n$line\n"],
        ['more than 16384 bytes', '#' x 16385], ['line 17 has a key too many', join '', map { sprintf "%08d %s\n", $_, '5a' x 32 } 1 .. 17]);
    for (@texts) {
        my ($why, $text) = @$_;
        spit($bad, $text);
        complains($why, 'stage', $bad);
        is(slurp($bad), $text, 'it stays as it was');
    }
    SKIP: {
        skip 'only root can give a file away', 1 if $> != 0;
        spit($bad, $text);
        chown 65534, 65534, $bad;
        complains('belongs to user 65534', 'stage', $bad);
        is(slurp($bad), $text, 'it stays as it was');
    }
    unlink $bad, "$folder/link", "$folder/pipe";
    rmdir "$folder/folder";
    is(slurp($file), $text, 'nothing has reached the file through a link');
    folder_has('key');
};

subtest 'a folder that cannot be written' => sub {
    plan skip_all => 'root can write everywhere' if $> == 0;
    my $text = slurp($file);
    chmod 0500, $folder;
    complains('cannot be replaced: Permission denied', 'stage', $file);
    chmod 0700, $folder;
    is(slurp($file), $text, 'it stays as it was');
};

subtest 'several writers at once' => sub {
    my $writers = 8;
    for my $round (1 .. 5) {
        spit($file, '0000000a ' . '5a' x 32 . "\n");
        my @pids = map {
            my $pid = fork // die "fork: $!";
            if ($pid == 0) {
                open STDOUT, '>', "$scratch/writer$_";
                open STDERR, '>', '/dev/null';
                exec $sslsweep, 'share-key', 'stage', $file or exit 127;
            }
            $pid;
        } 1 .. $writers;
        my @states = map { waitpid $_, 0; $? >> 8 } @pids;
        is_deeply([sort @states], [0, (1) x ($writers - 1)], 'one of them stages a key');
        my ($staged) = map { slurp("$scratch/writer$_") =~ /\Akey (\w+)/ } 1 .. $writers;
        is_deeply(ids(), ['0000000a', $staged], 'and it is there');
    }

    # A reader never finds a part.
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        open STDOUT, '>', '/dev/null';
        for (1 .. 20) {
            system($sslsweep, 'share-key', $_, $file) == 0 or POSIX::_exit(1) for qw(promote retire stage);
        }
        POSIX::_exit(0);
    }
    my ($reads, $parts) = (0, 0);
    until (waitpid $pid, POSIX::WNOHANG()) {
        $reads++;
        $parts++ if slurp($file) !~ /\A(?:\w{8} \w{64}(?: # staged)?\n){1,3}\z/;
    }
    is($?, 0, 'all steps are taken');
    ok($reads > 20, 'while it is read');
    is($parts, 0, 'as a whole');

    # The lock of a writer that has ended is gone, and one that stays is waited for, but not for ever.
    open my $held, '<', $file or die "$file: $!";
    flock $held, LOCK_EX or die "flock: $!";
    complains('another command holds the file', 'promote', $file);
    close $held;
    is(share_key('promote', $file), 0, 'when it ends');
    folder_has('key');
};

# The epoch in the header of a segment (crates/segment/src/header.rs).
subtest 'a revocation' => sub {
    my $segment = "$folder/segment";
    my $epoch = sub { unpack 'x128Q', slurp($segment) };
    complains('there is no segment', 'revoke', '--segment', $segment);
    spit($segment, "\0" x 12288);
    chmod 0600, $segment;
    complains('is not a segment', 'revoke', '--segment', $segment);
    unlink $segment;
    {
        local $ENV{LD_PRELOAD} = "$top/build/lib/libsslsweep.so";
        local @ENV{qw(SSLSWEEP_SHARE SSLSWEEP_SHARE_KEY)} = ("host:$segment:12k", $file);
        is(run('true'), 0, 'a program makes a segment');
    }
    is($epoch->(), 0, 'whose epoch is 0');
    my $revoke = sub {
        is(share_key('revoke', '--segment', $segment), 0, 'everything is revoked');
        like($said, qr/\Aepoch @{[$epoch->()]} has begun; [^\n]+\n\z/, 'it says so');
        return $epoch->();
    };
    my $since = time;
    my $first = $revoke->();
    ok($since <= $first && $first <= time, 'above every epoch that its fleet had before, though the segment is new');
    ok($revoke->() > $first, 'another revocation within the second counts as well');
    # A clock that was ahead.
    open my $file_handle, '+<:raw', $segment or die "$segment: $!";
    seek $file_handle, 128, 0;
    print {$file_handle} pack 'Q', my $ahead = time + 3600;
    close $file_handle or die "$segment: $!";
    is($revoke->(), $ahead + 1, 'an epoch ahead of the clock is followed by the next');
    chmod 0644, $segment;
    complains('mode 0644', 'revoke', '--segment', $segment);
    is($epoch->(), $ahead + 1, 'a file that others can read is left alone');
    unlink $segment;
    is(share_key('new', '--segment', $segment), 2, 'new takes no segment: status 2');
    ok(!-e $segment, 'and makes none');
    folder_has('key');
};

subtest 'words' => sub {
    for my $wrong ([], ['new'], ['turn', $file], ['new', $file, $file], ['revoke'], ['revoke', $file], ['new', $file, '--segment', $file]) {
        is(share_key(@$wrong), 2, "status 2: share-key @$wrong");
        like($complained, qr/\Asslsweep: [^\n]+\nusage: sslsweep share-key /, 'it says why, and how');
    }
    is(run($sslsweep, qw(help share-key)), 0, 'help');
    like($said, qr/^ +$_ /m, "names $_") for qw(stage promote retire revoke);
};

done_testing;
