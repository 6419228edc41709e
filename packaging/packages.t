#!/usr/bin/perl
# The packages in build/packages hold what `make install` lays down, say what they need, and work: the Debian
# ones installed on this machine, used and purged again, the RPM ones in a scratch root. `make test-packages`
# builds them and runs this, as root; the environment is that of tests-c/support/Installed.pm.
#
# Nothing is done where an sslsweep package is installed already, since it would be purged.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use Test::More;
use lib dirname(abs_path(__FILE__)) . '/../tests-c/support';
use Installed;

my @names    = ('sslsweep', 'sslsweep-share', 'sslsweep-fleet', 'sslsweep-dev');
my @services = ('nginx', 'redis-server');
my $packages = "$top/build/packages";

$> == 0 or BAIL_OUT('installing needs root');
for my $package (@names) {
    run('dpkg-query', '-W', '-f', '${db:Status-Status}', $package) eq '0' && $said ne 'not-installed'
        and BAIL_OUT("the package $package is here already ($said); it would be purged");
}

sub only {
    my ($pattern) = @_;
    my @found = glob "$packages/$pattern";
    return @found == 1 ? $found[0] : BAIL_OUT(@found . " of $packages/$pattern: run make deb rpm first");
}

sub output {
    my (@command) = @_;
    runs("@command[0 .. ($#command > 1 ? 1 : $#command)]", @command);
    chomp(my $text = $said);
    return $text;
}

my @debs = map { only("${_}_*.deb") } @names;
my @rpms = map { only("$_-$version-*.rpm") } 'sslsweep', 'sslsweep-share', 'sslsweep-fleet', 'sslsweep-devel';

my $arch = output('dpkg-architecture', '-qDEB_HOST_MULTIARCH');
my $libdir = "/usr/lib/$arch";

# The Makefile's own list, for the folders of a package; manual pages are compressed there.
sub installed {
    my ($part, $where) = @_;
    my $list = output(@make, '--no-print-directory', '-s', '-C', $top, "--eval=list: ; \@echo \$(INSTALLED_$part)",
        'PREFIX=/usr', "LIBDIR=$where", 'list');
    return map { m{/man/} ? "$_.gz" : $_ } split ' ', $list;
}

sub same { my ($found, $wanted, $name) = @_; return is_deeply([sort @$found], [sort @$wanted], $name) }

# What the library asks of the C library: the highest version among its symbols'.
sub glibc_least {
    my ($library) = @_;
    my @versions = sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] }
        map { [split /\./] } output('readelf', '-VW', $library) =~ /\bGLIBC_([0-9.]+)/g;
    return join '.', @{ $versions[-1] }[0, 1];
}

subtest 'contents of the Debian packages' => sub {
    my $doc  = '/usr/share/doc/sslsweep';
    # debhelper compresses what has more than 4 kB.
    my @docs = map { "$doc/$_" } qw(README.md.gz compatibility.md.gz operations.md.gz sharing.md.gz fleet.md.gz security.md.gz changelog.gz changelog.Debian.gz
        copyright top.svg), -s "$top/docs/metrics.md" > 4096 ? 'metrics.md.gz' : 'metrics.md';
    my %wanted = (
        'sslsweep'     => [installed('RUNTIME', $libdir), @docs, '/usr/share/lintian/overrides/sslsweep'],
        'sslsweep-share' => [installed('SHARE', $libdir), "$doc-share", '/usr/share/lintian/overrides/sslsweep-share'],
        'sslsweep-fleet' => [installed('FLEET', $libdir), "$doc-fleet"],
        'sslsweep-dev' => [installed('DEV', $libdir), "$doc-dev"],
    );
    for my $i (0 .. $#names) {
        runs("$names[$i] unpacks", 'dpkg-deb', '-x', $debs[$i], "$scratch/$names[$i]");
        same([map { "/$_" } @{ files_below("$scratch/$names[$i]") }], $wanted{ $names[$i] }, "the files of $names[$i]");
        is(output('dpkg-deb', '-f', $debs[$i], 'Version'), "$version-1", 'its version');
    }
    for my $text (qw(README operations sharing)) {
        my $content = output('zcat', "$scratch/sslsweep$doc/$text.md.gz");
        like($content, qr{LD_PRELOAD=\Q$libdir/$name\E}, "$text.md names the library where it is");
        unlike($content, qr{/usr/local/(?:lib|share)\b}, 'and nothing where it is not');
        my @linked = grep { !/^https:/ } $content =~ /\]\(([^)\s]+)\)/g;
        is_deeply([grep { !-e "$scratch/sslsweep$doc/$_" && !-e "$scratch/sslsweep$doc/$_.gz" } @linked], [], 'its links lead somewhere');
        cmp_ok(scalar @linked, '>', 0, 'it has some');
    }
    my $library = "$scratch/sslsweep$libdir/$name";
    my $least = glibc_least($library);
    like(output('dpkg-deb', '-f', $debs[0], 'Depends'), qr/(?:^|, )libc6 \(>= \Q$least\E\)/, "needs glibc $least");
    unlike($said, qr/ssl|crypto/, 'P3: and no libssl');
    like(output('dpkg-deb', '-f', $debs[1], 'Depends'), qr/^sslsweep \(= \Q$version\E-1\), libc6 /, 'that of the share library needs this one');
    unlike($said, qr/ssl\d|crypto/, 'P3: and no libssl');
    like(output('dpkg-deb', '-f', $debs[2], 'Depends'), qr/^sslsweep-share \(= \Q$version\E-1\), libc6 /, 'that of the agent needs that one');
    unlike($said, qr/ssl\d|crypto/, 'and no libssl');
    is(output('dpkg-deb', '-f', $debs[3], 'Depends'), "sslsweep (= $version-1)", 'that for development needs the first');
    like(output('dpkg-deb', '-I', $debs[0], 'shlibs'), qr/^libsslsweep \Q$abi\E sslsweep \(>= \Q$version\E\)$/,
        'what is linked with the library will need this package');
    for my $stripped ($library, "$scratch/sslsweep-share$libdir/$share") {
        unlike(output('readelf', '-SW', $stripped), qr/\.debug_/, "$stripped is stripped");
    }
    like(slurp("$top/LICENSE"), qr/^\s*Apache License\n\s*Version 2\.0,/, 'our licence is the one in copyright');
    my @others = split /\n/, output('cargo', 'tree', '--manifest-path', "$top/Cargo.toml", '--locked', '-e', 'normal',
        '--prefix', 'none', '-f', '{p} {l}');
    same([grep { !/Apache-2\.0/ } @others], [], 'and so are those of the crates inside');
    my $notices = slurp("$scratch/sslsweep/usr/share/sslsweep/NOTICES");
    for my $package (qw(sslsweep-cli sslsweep-share sslsweep-agent)) {
        my @inside = split /\n/, output('cargo', 'tree', '--manifest-path', "$top/Cargo.toml", '--locked', '-p', $package,
            '-e', 'normal,no-proc-macro', '--prefix', 'none', '-f', '{p};{l}');
        my %missing = map { /^(\S+) v([^ ;]+)/ ? ("$1-$2" => 1) : () } grep { !/Apache-2\.0/ } @inside;
        delete @missing{ $notices =~ /^---- (\S+) /mg };
        same([keys %missing], [], "the other licences of $package are in the notices");
    }
    runs('lintian finds nothing', 'lintian', '--allow-root', '--fail-on', 'error,warning', @debs);
};

subtest 'contents of the RPM packages' => sub {
    my $lib = output('rpm', '--eval', '%{_libdir}');
    my ($runtime, $shared, $fleet, $devel) = map { [split /\n/, output('rpm', '-qpl', $_)] } @rpms;
    my @ours = ('/usr/share/sslsweep', '/usr/share/sslsweep/bpftrace', '/usr/share/sslsweep/grafana', '/usr/share/sslsweep/systemd',
        map { "/usr/share/sslsweep/systemd/$_.service.d" } @services);
    same([grep { !m{/(?:doc|licenses)/} } @$runtime], [installed('RUNTIME', $lib), @ours], 'the files of sslsweep');
    same([grep { !m{/(?:doc|licenses)/} } @$shared], [installed('SHARE', $lib)], 'the files of sslsweep-share');
    same([grep { !m{/(?:doc|licenses)/} } @$fleet], [installed('FLEET', $lib), '/usr/libexec/sslsweep'], 'the files of sslsweep-fleet');
    same([grep { !m{/(?:doc|licenses)/} } @$devel], [installed('DEV', $lib)], 'the files of sslsweep-devel');
    for my $file (qw(LICENSE README.md CHANGELOG.md compatibility.md operations.md sharing.md fleet.md security.md metrics.md top.svg)) {
        is(scalar(grep { m{/(?:doc|licenses)/.*/\Q$file\E$} } @$runtime), 1, "$file is there");
    }

    my $wide = output('rpm', '--eval', '%{__isa_bits}') == 64 ? '(64bit)' : '';
    my $least = glibc_least("$scratch/sslsweep$libdir/$name");
    my %requires = map { $_ => 1 } split /\n/, output('rpm', '-qp', '--requires', $rpms[0]);
    ok($requires{"$_()$wide"}, "needs $_") for @{ dynamic("$scratch/sslsweep$libdir/$name", 'NEEDED') };
    ok($requires{"libc.so.6(GLIBC_$least)$wide"}, "needs glibc $least");
    same([grep { /ssl|crypto/ } keys %requires], [], 'P3: and no libssl');
    like(output('rpm', '-qp', '--provides', $rpms[0]), qr/^\Q$name()$wide\E$/m, 'provides the library');
    like(output('rpm', '-qp', '--requires', $_), qr/^sslsweep\(\S+\) = \Q$version\E-1$/m, "$_ needs it") for @rpms[1, 3];
    like(output('rpm', '-qp', '--requires', $rpms[2]), qr/^sslsweep-share\(\S+\) = \Q$version\E-1$/m, 'that of the agent needs that for sharing');
    unlike(output('rpm', '-qp', '--requires', $rpms[1]), qr/libssl|libcrypto/, 'P3: that of the share library needs no libssl');
    is(output('rpm', '-qp', '--scripts', @rpms), '', 'nothing runs at their installation');
    is(run('rpm', '-K', '--nosignature', @rpms), 0, 'they are whole') or diag($said . $complained);
};

subtest 'the same again' => sub {
    my %before = map { $_ => slurp($_) } @debs, @rpms;
    umask 077;    # not our umask nor the time of day decides
    runs('make deb rpm', @make, '--no-print-directory', '-C', $top, 'deb', 'rpm');
    umask 022;
    ok(slurp($_) eq $before{$_}, s{.*/}{}r . ' is the same, byte for byte') for @debs, @rpms;
};

my %pages = ('1 sslsweep' => 'man1/sslsweep.1', '7 sslsweep' => 'man7/sslsweep.7',
    map { ("3sslsweep $_" => "man3/$_.3sslsweep") } qw(SSL_CTX_flush_sessions_ex sslsweep_flush
        sslsweep_for_each_session sslsweep_get_statistics));

sub check_pages {
    my $found = 0;
    for my $question (sort keys %pages) {
        my $path = "/usr/share/man/$pages{$question}.gz";
        is(output('man', '-w', split ' ', $question), $path, "man $question");
        runs('it unpacks', 'gzip', '-dc', $path);
        my $page = spit("$scratch/page", $said);
        runs('mandoc has nothing to say against it', 'mandoc', '-T', 'lint', '-W', 'warning', $page);
        local %ENV = (%ENV, LC_ALL => 'C.UTF-8', MANROFFSEQ => '', MANWIDTH => 80);
        runs('nor has man', 'man', '--warnings', '-E', 'UTF-8', '-l', '-Tutf8', '-Z', $page);
        is($complained, '', 'not a word');
    }
}

# The drop-ins as sslsweep(7) says to put them in force, but for the folder; the paths are the manual's.
sub check_drop_ins {
    my $manual = slurp("$top/docs/man/sslsweep.7.in");
    my ($options, $from) = $manual =~ m{^cp \\(-rs) (\S+)/nginx\.service\.d /etc/systemd/system/$}m
        or return fail('the command in sslsweep(7) is understood');
    $from =~ s/\@DATADIR\@/\/usr\/share/;
    my $units = "$scratch/units";
    mkdir $units or die "$units: $!";
    # The system's own units stand behind ours, for what every service depends on.
    local %ENV = (%ENV, SYSTEMD_UNIT_PATH => "$units:", SYSTEMD_LOG_LEVEL => 'debug', SYSTEMD_LOG_TARGET => 'console');
    for my $service (@services) {
        my $unit = spit("$units/$service.service", "[Service]\nExecStart=/bin/true\n");
        my @verify = ('systemd-analyze', 'verify', $unit);
        runs("the drop-in of $service is put in force", 'cp', $options, "$from/$service.service.d", "$units/");
        my $link = "$units/$service.service.d/sslsweep.conf";
        is(readlink $link, "$from/$service.service.d/sslsweep.conf", 'by a link');
        runs('systemd has nothing against it', @verify);
        my $all = $said . $complained;
        like($all, qr/^\s*DropIn Path: \Q$link\E$/m, 'and has read it');
        my ($preload) = $all =~ /^\s*Environment: LD_PRELOAD=(.*)$/m or fail('and it preloads');
        unlike($all, qr/^\Q$link\E:/m, 'without a remark');
        local $ENV{LD_PRELOAD} = $preload;
        is(run("$scratch/plain"), 7, 'a program with this environment');
        like($said, qr/^\Q$present\E/, 'it has sslsweep');
    }
    my $wrong = spit("$units/nginx.service.d/wrong.conf", "[Service]\nEnvironment=LD PRELOAD\n");
    run('systemd-analyze', 'verify', "$units/nginx.service");
    like($said . $complained, qr/^\Q$wrong\E:2: /m, 'a line that is wrong would have been named');
    unlink $wrong;
}

# Everything with our names on it, in the folders where packages put things.
sub traces {
    my @command = ('find', '-H', qw(/etc /usr /var/lib /var/cache), '-xdev', '(', '-iname', '*sslsweep*', '-o',
        '-name', 'SSL_CTX_flush_sessions_ex.3*', ')');
    run(@command);    # its exit status depends on files that others make and remove meanwhile
    return [grep { !m{^/var/cache/apt/} } split /\n/, $said];
}

my $purge;
END {
    if ($purge) { my $status = $?; run('dpkg', '-P', reverse @names); $? = $status }
}

prepare();
subtest 'the Debian packages, installed' => sub {
    my $before = traces();
    $purge = 1;
    # Some small systems leave manual pages and documentation out.
    runs('dpkg -i', 'dpkg', '--path-include=*', '-i', @debs) or return;
    runs('dpkg finds them as they should be', 'dpkg', '--verify', @names);
    is($said, '', 'every file');

    check_wrapper('/usr/bin/sslsweep', "$libdir/$name");
    is(run('sslsweep', 'run', '--share', "$scratch/plain"), 7, 'the share library is found');
    is($complained, '', 'without a word');
    runs('the agent is found', 'sslsweep', 'shared', '--version');
    {
        local $ENV{SSLSWEEP_VERBOSE} = 1;
        is(run('sslsweep', 'openssl', 'ciphers'), 0, 'the openssl of this system');
        like($complained, qr/^sslsweep\[\d+\]: version \Q$version\E$/m, 'it loads sslsweep');
        like($complained, qr/^sslsweep\[\d+\]: took over the internal session cache of the first SSL_CTX$/m,
            'which takes over');
    }
    is(run("$scratch/plain"), 7, 'a program started without the command');
    unlike($said, qr/^\Q$present\E/, 'is left alone');
    check_pkg_config();
    check_pages();
    check_drop_ins();

    runs('dpkg -P', 'dpkg', '-P', reverse @names);
    $purge = 0;
    same(traces(), $before, 'nothing is left');
    unlike(output('ldconfig', '-p'), qr/sslsweep/, 'nor in the cache of the loader');
    isnt(run('man', '-w', split ' '), 0, "no page $_") for sort keys %pages;
    runs('a link left in force does no harm', 'env', "SYSTEMD_UNIT_PATH=$scratch/units:", 'systemd-analyze', 'verify',
        "$scratch/units/nginx.service");
    is($complained, '', 'and is not worth a word');
};

subtest 'the RPM packages, in a root of their own' => sub {
    my $root = "$scratch/root";
    mkdir $root or die "$root: $!";
    my @rpm = ('rpm', '--root', $root);
    runs('an empty database', @rpm, '--initdb');
    my %database = map { $_ => 1 } @{ files_below($root) };
    # What they need is not in this root.
    runs('rpm -i', @rpm, '--nodeps', '-i', @rpms) or return;
    my @installed = ('sslsweep', 'sslsweep-share', 'sslsweep-fleet', 'sslsweep-devel');
    runs('rpm finds them as they should be', @rpm, '--nodeps', '-V', @installed);
    my $lib = output('rpm', '--eval', '%{_libdir}');
    check_pkg_config("$root$lib", $root);
    # The command finds its library in the tree in which it lies itself.
    check_wrapper("$root/usr/bin/sslsweep", "$root$lib/$name");
    runs('rpm -e', @rpm, '-e', @installed);
    same([grep { !$database{$_} && !m{^var/lib/rpm/|^usr/lib/sysimage/rpm/} } @{ files_below($root) }], [], 'nothing is left');
    ok(!-e "$root/usr/share/sslsweep", 'nor an empty folder of our own');
};

done_testing;
