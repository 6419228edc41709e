#!/usr/bin/perl
# Can the models fail? Each mutant is the cache, or the segment's slots, with one protocol broken, as somebody might break it
# by mistake; sequential tests would still pass. It is caught when a model fails.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(basename dirname);
use File::Path qw(make_path remove_tree);
use Test::More;

my $root = abs_path(dirname(abs_path(__FILE__)) . '/../..');
my $copy = "$root/build/mutant";
# Not that of the models: cargo would take one for the other.
$ENV{CARGO_TARGET_DIR} = "$root/build/mutant-target";
$ENV{SCHEDULES} = 2000;
# Of the segment's models. Two suffice to catch each mutant, in a third of the time.
$ENV{LOOM_MAX_PREEMPTIONS} = 2;

my $find_under_order = <<'END';
        let mut order = self.lock_order();
        let session = {
            let mut table = shard.lock();
            let slot = table.find(key).filter(|&slot| wanted(table.session(slot)))?;
END

# Name, then what is replaced by what, in the one file of the sources that has it.
my @mutants = (
    ['a removal looks its slot up before it locks the order', $find_under_order, <<'END'],
        let slot = {
            let table = shard.lock();
            table.find(key).filter(|&slot| wanted(table.session(slot)))?
        };
        let mut order = self.lock_order();
        let session = {
            let mut table = shard.lock();
END
    ['a removal locks the shard before the order', $find_under_order, <<'END'],
        let held = shard.lock();
        let mut order = self.lock_order();
        let session = {
            let mut table = held;
            let slot = table.find(key).filter(|&slot| wanted(table.session(slot)))?;
END
    ['a removal of one object looks first and takes then',
        'self.take_where(key, |stored| stored == session)',
        'self.get(key).filter(|stored| stored == session).and_then(|_| self.take(key))'],
    ['a store lets go of its locks between looking and inserting',
        "        let slot = table.insert(vacancy, key, session);\n", <<'END'],
        drop(table);
        drop(order);
        order = self.lock_order();
        table = shards[key.shard()].lock();
        let slot = table.insert(vacancy, key, session);
END
    ['a store asks whether there is room before it locks the order',
        "        let mut order = self.lock_order();\n        let mut table = shards[key.shard()].lock();\n\n",
        "        let full = self.len() == limit;\n        let mut order = self.lock_order();\n        let mut table = shards[key.shard()].lock();\n\n",
        'if limit > 0 && order.len() == limit {', 'if limit > 0 && full {'],
    ['what is put back takes the place of what was stored since',
        "        let Err(Some(vacancy)) = table.find_or_reserve(key) else { return Some(session) };\n", <<'END'],
        if let Ok(slot) = table.find_or_reserve(key) {
            order.unlink(key.place(slot));
            table.remove(slot);
        }
        let Err(Some(vacancy)) = table.find_or_reserve(key) else { return Some(session) };
END
    ['an eviction counts before it locks the order',
        "        let mut order = self.lock_order();\n        let excess = order.len()",
        "        let excess = self.len()",
        "        let detached = self.detach(&mut order, Order::pop_for_room, excess, left);\n",
        "        let mut order = self.lock_order();\n        let detached = self.detach(&mut order, Order::pop_for_room, excess, left);\n"],
    ['a flush publishes after it has unlocked',
        "        order.statistics.batches += 1;\n        self.publish(&order);\n",
        "        order.statistics.batches += 1;\n        let (len, earliest) = (order.len(), order.earliest());\n",
        "    len: AtomicUsize,\n", "    pub(super) len: AtomicUsize,\n",
        "        detached == most\n    }\n", <<'END'],
        self.len.store(len, Ordering::Release);
        self.earliest.store(earliest.seconds(), Ordering::Release);
        detached == most
    }
END
    ['storage is given up after the order is unlocked', <<'END', <<'END'],
            let tables: [_; SHARDS] =
                std::array::from_fn(|number| shards[number].lock().take_storage());
            let storage = order.take_storage();
            drop(order);
END
            let storage = order.take_storage();
            drop(order);
            let tables: [_; SHARDS] =
                std::array::from_fn(|number| shards[number].lock().take_storage());
END
    ['a new expiry looks its slot up before it locks the order', <<'END', <<'END'],
        let mut order = self.lock_order();
        let found = {
            let table = shards[key.shard()].lock();
            table.find(key).filter(|&slot| table.session(slot) == session)
        };
END
        let found = {
            let table = shards[key.shard()].lock();
            table.find(key).filter(|&slot| table.session(slot) == session)
        };
        let mut order = self.lock_order();
END
    ['a lookup that counts looks its slot up before it locks the order', <<'END', <<'END'],
        let mut order = match self.eviction {
            Eviction::EarliestExpiry => None,
            Eviction::LeastRecentlyUsed => Some(self.lock_order()),
        };
        let shard = &shards[key.shard()];
        let mut table = if order.is_some() { shard.lock() } else { self.lock_shard(shard) };
        let (slot, session) = table.get(key)?;
        drop(table);
END
        let shard = &shards[key.shard()];
        let (slot, session) = shard.lock().get(key)?;
        let mut order = match self.eviction {
            Eviction::EarliestExpiry => None,
            Eviction::LeastRecentlyUsed => Some(self.lock_order()),
        };
END
    ['a new key unlocks the order half way',
        "        let mut table = shards[new.shard()].lock();\n        let (slot, displaced)", <<'END' . '        let (slot, displaced)'],
        drop(order);
        order = self.lock_order();
        let mut table = shards[new.shard()].lock();
END
    ['a get does not look at the state again', 'if is_dead || !slot.is_unchanged(&head) {', 'if is_dead {'],
    ['a get looks at the state again without a fence',
        "        fence(Ordering::Acquire);\n        self.0[STATE].load", '        self.0[STATE].load'],
    ['a get stops at the first record',
        'if found.as_ref().is_none_or(|(former, _)| former.number < head.number) {', 'if true { return Some(record);'],
    ['a put writes without a fence', "        fence(Ordering::Release);\n", ''],
    ['a put publishes without release', 'with_state(self.word, state), Ordering::Release)', 'with_state(self.word, state), Ordering::Relaxed)'],
    ['a claim begins no generation', '(head.word | STATE_BITS).wrapping_add(1)', 'head.word'],
    ['a put takes its number when it has a slot',
        'number: self.next_number(), record };', 'number: 0, record };',
        'claim.publish(contents, State::Live);', 'claim.publish(Contents { number: self.next_number(), ..contents }, State::Live);'],
    ['a busy slot is reclaimed', 'State::Busy => continue,', 'State::Busy => Cost::Nothing,'],
    ['a take stores the state', <<'END', <<'END'],
        self.change(head.word, dead, Ordering::AcqRel)
END
        let same = self.0[STATE].load(Ordering::Acquire) == head.word;
        if same {
            self.0[STATE].store(dead, Ordering::Release);
        }
        same
END
    ['a take does not look for a second record', '(self.slots_of(name, now).count() == killed).then_some(record)', 'Some(record).filter(|_| killed > 0)'],
    ['a take looks for a second record without a fence', "        fence(Ordering::SeqCst);\n", ''],
    ['a forget without a record leaves nothing', 'if search.dead_until >= until {', 'if search.dead_until <= until {'],
    ['a forget without a slot gives up', 'self.mark().fetch_max(self.next_number(), Ordering::Relaxed);', ''],
    ['a forget marks without a number of its own', 'fetch_max(self.next_number(), ', 'fetch_max(self.sequence.load(Ordering::Relaxed), '],
);

sub slurp { my ($path) = @_; open my $file, '<', $path or die "$path: $!"; local $/; return <$file> }

sub spit {
    my ($path, $text) = @_;
    open my $file, '>', $path or die "$path: $!";
    print $file $text;
    close $file or die "$path: $!";
}

remove_tree($copy);
make_path("$copy/$_") for qw(src crates/segment/src checks/models);
my @folders = qw(src/cache crates/segment/src/slots);
for (@folders) {
    system('cp', '-R', "$root/$_", "$copy/$_") == 0 or die 'cp';
}
system('cp', '-R', map({ "$root/checks/models/$_" } qw(Cargo.toml Cargo.lock build.rs src tests)), "$copy/checks/models")
    == 0 or die 'cp';
my %source = map { my $folder = $_; map { ("$folder/" . basename($_) => slurp($_)) } glob "$root/$folder/*.rs" } @folders;

# Builds what is in the copy and runs these models; whether it was built, and the models that failed.
sub run_models {
    my (@tests) = @_;
    my $said = `cd '$copy/checks/models' && timeout 300 cargo test --release --locked @{[map { "--test $_" } @tests]} 2>&1`;
    my $built = $said =~ /^running \d+ tests/m;
    diag(substr $said, -3000) unless $built;
    return ($built, $? != 0, $said =~ /^test (\w+) \.\.\. FAILED/mg);
}

sub mutated {
    my (@changes) = @_;
    my %text = %source;
    while (my ($from, $to) = splice @changes, 0, 2) {
        my @files = map { ($_) x (() = $text{$_} =~ /\Q$from\E/g) } sort keys %text;
        die "mutants.t is behind the sources: found in (@files), not in one place:\n$from" if @files != 1;
        $text{ $files[0] } =~ s/\Q$from\E/$to/;
    }
    return \%text;
}

sub write_sources {
    my ($text) = @_;
    for my $file (keys %$text) {
        spit("$copy/$file", $text->{$file}) if slurp("$copy/$file") ne $text->{$file};
    }
}

# The checkers are compiled once, which takes as long as the machine needs.
system("cd '$copy/checks/models' && cargo test --release --locked --no-run --quiet") == 0 or die "the models cannot be built\n";

# All texts first: one that does not fit shall not be found minutes later.
my @texts = map { my ($name, @changes) = @$_; [$name, mutated(@changes)] } @mutants;
for (@texts) {
    my ($name, $text) = @$_;
    write_sources($text);
    my ($changed) = grep { $text->{$_} ne $source{$_} } keys %$text;
    my ($built, $failed, @by) = run_models($changed =~ /segment/ ? 'segment' : qw(exhaustive random));
    ok($built && $failed && @by, "caught: $name") and diag(sprintf '%d models fail: %s', scalar @by, join ' ', @by);
}

# The copy itself is sound, or all of this would show nothing.
write_sources(\%source);
my ($built, $failed) = run_models();
ok($built && !$failed, 'the sources as they are pass');
done_testing;
