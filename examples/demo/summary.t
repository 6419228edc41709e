#!/usr/bin/perl
# The demo's summary, over reports that were recorded: it fits a terminal, and nothing that is wrong passes.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use Test::More;

my $here      = dirname(abs_path(__FILE__));
my $took_over = "sslsweep[4711]: took over the internal session cache of the first SSL_CTX\n";

my $stock = <<'END';
library=OpenSSL 3.0.19 27 Jan 2026
function=SSL_CTX_flush_sessions
step=store stored=16 resumed=0 refused=0 removed=0 callbacks=0
step=resume stored=24 resumed=16 refused=0 removed=0 callbacks=0
step=flush_early stored=24 resumed=0 refused=0 removed=0 callbacks=0
step=flush_100s stored=18 resumed=0 refused=0 removed=6 callbacks=6
step=resume_again stored=28 resumed=12 refused=4 removed=0 callbacks=0
step=expired stored=34 resumed=0 refused=4 removed=0 callbacks=2
step=flush_all stored=0 resumed=0 refused=0 removed=34 callbacks=34
step=resume_none stored=16 resumed=0 refused=16 removed=0 callbacks=0
step=crowd stored=100001 resumed=0 refused=0 removed=100000 callbacks=0 took_us=138403 wait_us=46227 handshakes=112
step=crowd_idle stored=100001 resumed=0 refused=0 removed=0 callbacks=0 took_us=0.1
step=crowd_callback stored=20001 resumed=0 refused=0 removed=20000 callbacks=20000 took_us=440776 wait_us=418877 handshakes=15
step=mixed stored=20000 resumed=0 refused=0 removed=0 callbacks=0 took_us=3336958
step=mixed_half stored=9991 resumed=0 refused=0 removed=10009 callbacks=10009
step=end stored=0 resumed=0 refused=0 removed=9991 callbacks=9991
status=0
END
my $ours = $stock;
set(\$ours, 'crowd',          took_us => 64376,  wait_us => 4488, handshakes => 356);
set(\$ours, 'crowd_callback', took_us => 551151, wait_us => 4363, handshakes => 1900);
set(\$ours, 'mixed',          took_us => 27583);
$ours =~ s/^(function=.*)/$1_ex/m;

my $nginx = <<'END';
version=nginx 1.22.1
step=tls12_first session=New
step=tls12_soon session=Reused
step=tls13_first session=New
step=tls13_soon session=Reused
step=tls12_late session=New
step=tls13_late session=New
status=0
END

my $workers_stock = <<'END';
step=tls12_workers resumed=14 connections=60
step=tls13_workers resumed=18 connections=60
status=0
END
my $workers = with(with($workers_stock, tls12_workers => resumed => 52), tls13_workers => resumed => 53);

my $machines_stock = <<'END';
step=tls12_machines resumed=0 at_once=0 connections=20
step=tls13_machines resumed=0 at_once=0 connections=20
status=0
END
my $machines = $machines_stock;
set(\$machines, tls12_machines => resumed => 20, at_once => 20);
set(\$machines, tls13_machines => resumed => 20, at_once => 19);

my %good = (
    'stock.txt'          => $stock,
    'stock.err'          => '',
    'sslsweep.txt'       => $ours,
    'sslsweep.err'       => $took_over,
    'nginx-stock.txt'    => $nginx,
    'nginx-stock.err'    => '',
    'nginx-sslsweep.txt' => $nginx,
    'nginx-sslsweep.err' => $took_over,
    'workers-stock.txt'    => $workers_stock,
    'workers-stock.err'    => '',
    'workers-sslsweep.txt' => $workers,
    'workers-sslsweep.err' => $took_over,
    'machines-stock.txt'    => $machines_stock,
    'machines-stock.err'    => '',
    'machines-sslsweep.txt' => $machines,
    'machines-sslsweep.err' => $took_over,
);

# Gives values to keys of a step of a report.
sub set {
    my ($report, $step, %values) = @_;
    for (keys %values) {
        $$report =~ s/^(step=$step .*\b$_=)\S+/$1$values{$_}/m or die "no $_ in $step";
    }
    return $$report;
}

sub with { my ($report, @values) = @_; return set(\$report, @values) }

sub without { my ($report, $pattern) = @_; $report =~ s/$pattern// or die "no $pattern"; return $report }

# What the summary of the good reports, with these instead, is and how it ends.
sub summary {
    my ($changed, @arguments) = @_;
    my $folder  = tempdir(CLEANUP => 1);
    my %reports = (%good, %$changed);
    for my $name (keys %reports) {
        next unless defined $reports{$name};
        open my $file, '>', "$folder/$name" or die "$name: $!";
        print $file $reports{$name};
        close $file or die "$name: $!";
    }
    open my $pipe, '-|', "python3", "-B", "$here/summary.py", $folder, @arguments or die "summary.py: $!";
    my $text = join '', <$pipe>;
    close $pipe;
    return ($text, $? >> 8);
}

# make demo itself says four lines before.
sub fits {
    my ($name, $text) = @_;
    my @lines = split /\n/, $text;
    cmp_ok(@lines, '<=', 20, "$name: it fits a terminal of 24 lines") or diag($text);
    is(join("\n", grep { length > 80 } @lines), '', "$name: no line is longer than 80 characters");
    unlike($text, qr/FAIL/, "$name: no failure");
}

my ($text, $status) = summary({});
is($status, 0, 'good reports pass');
fits('good', $text);
like($text, qr/200,000 sessions +46 ms +4.49 ms  10x shorter$/m,         'the longest wait of each side, and the gain');
like($text, qr/callback +419 ms +4.36 ms  96x shorter$/m,                'the same with a remove callback');
like($text, qr/meanwhile +15 +1900  127x more$/m,                        'the handshakes meanwhile');
like($text, qr/mixed timeouts +3337 ms +28 ms  121x faster$/m,           'storing mixed timeouts');
like($text, qr/callback +441 ms +551 ms  1.3x longer$/m,                 'it says where it takes longer');
like($text, qr/14 of 14 steps equal; nginx 1.22.1: 6 of 6 connections/,  'the behaviour is the same');
like($text, qr/of 60 connections by TLS 1.2 +14 +52$/m,                  'what four workers resume');
like($text, qr/of 60 connections by TLS 1.3 +18 +53$/m,                  'also by TLS 1.3');
like($text, qr/second machine \(agents\), of 40 +0 +40  resumed there$/m, 'and what a second machine resumes');
unlike($text, qr/Stores are slower/,                                     'nothing about slow stores');

($text, $status) = summary({}, 'details');
is($status, 0, 'details of good reports pass');
like($text, qr/^ 9 200,000 sessions.*\n.*\n   stock      100001       0       0  100000         0    138 ms        46 ms\n   sslsweep   100001 /m,
    'details show each step');
like($text, qr/other machine, TLS 1.3: resumed +0 +20\n +at the first try +0 +19$/m, 'details show the first tries on the other machine');
like($text, qr/the same client at once +Reused +Reused$/m, 'details show the connections to nginx');
like($text, qr/One TLS server.*14 of 14/s,                 'the summary follows');

($text, $status) = summary({map { ("machines-$_.txt" => "status=77\n") } qw(stock sslsweep)});
is($status, 0, 'without an engine it passes');
fits('without an engine', $text);
unlike($text, qr/second machine/, 'and claims nothing');

($text, $status) = summary({map { ("nginx-$_.txt" => "status=77\n", "machines-$_.txt" => "status=77\n") } qw(stock sslsweep)});
is($status, 0, 'without nginx it passes');
fits('without nginx', $text);
like($text, qr/14 of 14 steps equal; nginx is not here/, 'it says that nginx was not tried');

# libssl 1.1.1 stores without order, and looks at each session when it flushes.
my $old = $stock;
set(\$old, mixed          => took_us    => 9436);
set(\$old, crowd_idle     => took_us    => 4100);
set(\$old, crowd_callback => handshakes => 0);
($text, $status) = summary({'stock.txt' => $old, 'sslsweep.txt' => with($ours, mixed => took_us => 18666)});
is($status, 0, 'slower stores pass, where stock keeps no order');
fits('slower stores', $text);
like($text, qr/mixed timeouts +9.44 ms +19 ms  2.0x slower$/m, 'it says that storing is slower');
like($text, qr/meanwhile +0 +1900 *$/m,                                'none against many has no ratio');
like($text, qr/finds nothing expired takes 0.1 us, not 4.10 ms\.$/m, 'and the gain in return');

# A time says something about the machine too, so it is no failure.
for (
    ['a wait that is not shorter', with($ours, crowd => wait_us => 45000), 'The longest wait among 200,000: libssl alone takes 1.03'],
    ['a wait that is not much shorter with a callback', with($ours, crowd_callback => wait_us => 210000),
        'The longest wait among 40,000: libssl alone takes 1.99'],
    ['slow stores', with($ours, mixed => took_us => 66739160), 'Storing: libssl alone takes 0.05'],
) {
    my ($name, $report, $note) = @$_;
    ($text, $status) = summary({'sslsweep.txt' => $report});
    is($status, 0, "$name: it passes");
    like($text, qr/^\Q$note\E times as long\.\nThat is less than usual\. Is the machine busy\? Try again\.\nSame behaviour/m,
        "$name: it says so");
    is(join("\n", grep { length > 80 } split /\n/, $text), '', "$name: no line is longer than 80 characters");
}

# What is wrong, the reports instead of the good ones, and the line that says so.
for (
    ['a count that differs', {'sslsweep.txt' => with($ours, flush_100s => removed => 5)},
        qr/^FAIL: step flush_100s is not equal: removed \(stock 6, sslsweep 5\)$/m],
    ['a count that is missing', {'sslsweep.txt' => without($ours, qr/ refused=16/)},
        qr/^FAIL: step resume_none is not equal: refused \(stock 16, sslsweep nothing\)$/m],
    ['a count that neither reports', {'stock.txt' => without($stock, qr/ refused=16/), 'sslsweep.txt' => without($ours, qr/ refused=16/)},
        qr/^FAIL: step resume_none is not equal: refused \(stock nothing, sslsweep nothing\)$/m],
    ['a step that is missing', {'sslsweep.txt' => without($ours, qr/^step=mixed .*\n/m)}, qr/^FAIL: the server with sslsweep did not report: mixed$/m],
    ['a wait that is missing', {'sslsweep.txt' => without($ours, qr/ wait_us=4488/)},
        qr/^FAIL: step crowd: a side did not say how long the longest wait among 200,000 took$/m],
    ['no handshake during a flush', {'sslsweep.txt' => with($ours, crowd => wait_us => 0)}, qr/^FAIL: step crowd: a side did not say/m],
    ['no function', {'sslsweep.txt' => without($ours, qr/_ex$/m)}, qr/^FAIL: SSL_CTX_flush_sessions_ex was not found with sslsweep$/m],
    ['a server that fell over', {'sslsweep.txt' => without($ours, qr/^step=crowd .*/ms) . "status=139\n", 'sslsweep.err' => "server: no thread\n"},
        qr/^FAIL: the server with sslsweep ended with status 139; it said:\nserver: no thread$/m],
    ['a server that fell over on libssl alone', {'stock.txt' => "status=2\n"}, qr/^FAIL: the server on libssl alone ended with status 2; it said:\nnothing$/m],
    ['a server that did not run', {'sslsweep.txt' => undef}, qr/^FAIL: the server with sslsweep ended with status unknown/m],
    ['a library that was not loaded', {'sslsweep.err' => ''}, qr/^FAIL: the server ran without sslsweep: /m],
    ['a library that nginx did not load', {'nginx-sslsweep.err' => ''}, qr/^FAIL: nginx ran without sslsweep: /m],
    ['nginx that does not resume', {'nginx-sslsweep.txt' => with($nginx, tls12_soon => session => 'New')},
        qr/^FAIL: nginx, TLS 1.2: the same client at once: Reused on libssl alone, New with sslsweep; both must be Reused$/m],
    ['nginx that resumes too late on both', {map { ("nginx-$_.txt" => with($nginx, tls13_late => session => 'Reused')) } qw(stock sslsweep)},
        qr/^FAIL: nginx, TLS 1.3: the same client after the timeout: Reused on libssl alone, Reused with sslsweep; both must be New$/m],
    ['workers that do not share', {'workers-sslsweep.txt' => with($workers, tls13_workers => resumed => 51)},
        qr/^FAIL: nginx with four workers, TLS 1.3: resumed 18 on libssl alone, 51 with sslsweep; of 60 connections, 52 at least must be/m],
    ['a first connection that resumes', {'workers-sslsweep.txt' => with($workers, tls12_workers => resumed => 60)},
        qr/^FAIL: nginx with four workers, TLS 1.2: resumed 14 on libssl alone, 60/m],
    ['workers that fell over', {'workers-sslsweep.txt' => "status=1\n"}, qr/^FAIL: nginx with four workers with sslsweep ended with status 1/m],
    ['machines that do not share', {'machines-sslsweep.txt' => with($machines, tls13_machines => resumed => 19)},
        qr/^FAIL: nginx on two machines, TLS 1.3: resumed 0 on libssl alone, 19 with sslsweep; of 20 sessions, none must be/m],
    ['machines that share on libssl alone', {'machines-stock.txt' => with($machines_stock, tls12_machines => resumed => 1)},
        qr/^FAIL: nginx on two machines, TLS 1.2: resumed 1 on libssl alone, 20/m],
    ['machines that fell over', {'machines-sslsweep.txt' => "status=1\n"}, qr/^FAIL: nginx on two machines with sslsweep ended with status 1/m],
    ['nginx that fell over', {'nginx-sslsweep.txt' => "status=1\n", 'nginx-sslsweep.err' => "nginx: [emerg]\n"},
        qr/^FAIL: nginx with sslsweep ended with status 1; it said:\nnginx: \[emerg\]$/m],
    ['nginx that is missing on one side', {'nginx-sslsweep.txt' => "status=77\n"}, qr/^FAIL: nginx with sslsweep ended with status 77/m],
) {
    my ($name, $reports, $failure) = @$_;
    ($text, $status) = summary($reports);
    is($status, 1, "$name: it fails");
    like($text, $failure, "$name: it says so");
    is(() = $text =~ /^FAIL/mg, 1, "$name: once") or diag($text);
    like($text, qr/^ 1 16 clients/m, "$name: the details are shown");
    unlike($text, qr/Same behaviour/, "$name: no gain is claimed");
}

done_testing();
