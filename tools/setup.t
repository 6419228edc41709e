#!/usr/bin/perl
# setup.sh on machines that lack this and that: all that is missing is said at once, before anything is installed; nothing is where the
# build could not work anyway. The machine is a PATH with stubs: they note their calls, and an installed package is a file.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use Test::More;

my $setup = dirname(abs_path(__FILE__)) . '/setup.sh';

sub write_stub {
    my ($path, $text) = @_;
    open my $file, '>', $path or die "$path: $!";
    print $file "#!/bin/sh\n$text";
    close $file or die "$path: $!";
    chmod 0755, $path or die "$path: $!";
}

# machine OPTIONS: rust (its version, none when undef), crates (present, network, none), user id, apt, candidate of apt's cargo.
sub machine {
    my (%is) = (rust => '1.85.0', crates => 'present', id => 0, apt => 1, candidate => '(none)', tools => [], @_);
    my $folder = tempdir(CLEANUP => 1);
    my $bin = "$folder/bin";
    mkdir $bin or die "$bin: $!";
    for my $tool (qw(cat cut dirname grep head sed sort tail tr uname)) {
        my ($path) = grep { -x } map { "$_/$tool" } split /:/, $ENV{PATH};
        symlink $path, "$bin/$tool" or die "$tool: $!";
    }
    my $log = "$folder/calls";
    my $note = "echo \"\${0##*/} \$*\" >>$log\n";
    write_stub("$bin/$_", '') for qw(make perl cc), @{ $is{tools} };
    write_stub("$bin/id", "echo $is{id}\n");
    write_stub("$bin/apt-get", $note) if $is{apt};
    write_stub("$bin/apt-cache", "echo '  Candidate: $is{candidate}'\n") if $is{apt};
    my %fetches = (present => 'exit 0', network => "case \$* in *--offline*) exit 101 ;; esac",
        none => "echo '  no such host' >&2; exit 101");
    write_stub("$bin/cargo", "case \$1 in --version) echo 'cargo $is{rust} (0 2025)' ;; fetch) $note$fetches{$is{crates}} ;; esac\n")
        if defined $is{rust};
    return { bin => $bin, log => $log };
}

# How setup.sh ended, what it said, and the calls that it made.
sub setup {
    my ($machine, $what) = @_;
    my $text;
    {
        local %ENV = (PATH => $machine->{bin}, HOME => '/nonexistent');
        open my $pipe, '-|', '/bin/sh', '-c', '/bin/sh "$@" 2>&1', 'sh', $setup, $what or die "sh: $!";
        $text = do { local $/; <$pipe> } // '';
        close $pipe;
    }
    my $status = $? >> 8;
    my @calls;
    if (open my $file, '<', $machine->{log}) { chomp(@calls = <$file>) }
    return ($status, $text, [grep { /^apt-get/ } @calls], [grep { /^cargo/ } @calls]);
}

my $packages = qr/\bopenssl\b.*abigail-tools .*\bg\+\+.*\bgdb\b.*\btmux\b.*\bvalgrind\b/;
my @all = qw(openssl prove abidiff c++ pkg-config gdb bpftrace python3 tmux setpriv readelf valgrind);

subtest 'nothing is missing' => sub {
    my ($status, $said, $apt, $cargo) = setup(machine(tools => \@all), 'test');
    is($status, 0, 'status');
    is($said, '', 'not a word');
    is_deeply($apt, [], 'no call of apt-get');
    is(scalar @$cargo, 1, 'cargo is asked once whether the crates are here');
};

subtest 'packages are missing' => sub {
    my ($status, $said, $apt) = setup(machine(), 'test');
    is($status, 0, 'status');
    like($said, qr/\Asetup: Rust 1\.85\.0 is here; installing .*$packages\n\z/, 'they are named in one line, with the version of Rust');
    is(scalar @$apt, 1, 'one call of apt-get');
    like($apt->[0], qr/^apt-get install .*$packages/, 'has them all');
};

subtest 'crates are fetched before packages are installed' => sub {
    my ($status, $said, $apt, $cargo) = setup(machine(crates => 'network'), 'test');
    is($status, 0, 'status');
    like($said, qr/\Asetup: fetching the crates that Cargo\.lock names\nsetup: Rust 1\.85\.0 is here; installing /, 'both are said');
    is(scalar @$cargo, 2, 'by the network when they are not here');
    is(scalar @$apt, 1, 'then the packages');
};

# name, machine, what is said
for (
    ['no Rust', { rust => undef }, qr/Rust: cargo 1\.85 or newer is needed, none is here: use rustup/],
    ['no Rust, and apt has it', { rust => undef, candidate => '1.85.0+dfsg3-1' }, qr/none is here: apt-get install cargo\n/],
    ['Rust is too old', { rust => '1.63.0', candidate => '0.66.0+ds1-1' }, qr/cargo 1\.85 or newer is needed, 1\.63\.0 is here: use rustup/],
    ['no crates', { crates => 'none' }, qr/crates: cargo cannot fetch them \(no such host\): .*make dist/],
    ['not root', { id => 1000 }, qr/packages: sudo apt-get install --no-install-recommends .*$packages/],
    ['not root, no Rust', { id => 1000, rust => undef }, qr/Rust: .*\n.*packages: sudo apt-get install .*$packages/],
    ['another system', { apt => 0 }, qr/programs: please install .*a C\+\+ compiler called c\+\+, .*gdb, .*valgrind/],
    ['another system, no Rust', { apt => 0, rust => undef }, qr/Rust: .*\n.*programs: please install /],
  ) {
    my ($name, $machine, $pattern) = @$_;
    subtest $name => sub {
        my ($status, $said, $apt) = setup(machine(%$machine), 'test');
        is($status, 1, 'status');
        like($said, qr/^setup: nothing was installed; this is missing:\n/m, 'says that nothing was installed');
        like($said, $pattern, 'what is missing, and what to do');
        like($said, qr/$packages|programs: /, 'the packages as well');
        is_deeply($apt, [], 'no call of apt-get');
    };
}

subtest 'a word that is not known' => sub {
    my ($status, $said) = setup(machine(), 'nothing');
    is($status, 1, 'status');
    like($said, qr/\Asetup: usage: setup\.sh WHAT, one of: build demo test .*packages \n\z/, 'the words are named');
};

# Here because everybody's first two commands are that and make.
subtest 'make help' => sub {
    my $top   = dirname($setup) . '/..';
    my @lines = `make -s --no-print-directory -C '$top' help`;
    cmp_ok(scalar @lines, '>', 10, 'it lists commands');
    cmp_ok(scalar @lines, '<=', 24, 'on a screen');
    is_deeply([grep { length > 81 } @lines], [], 'of 80 columns');
};

done_testing;
