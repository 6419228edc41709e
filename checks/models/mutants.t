#!/usr/bin/perl
# Can the models fail? Each mutant is the cache, or the segment, with one protocol broken, as somebody might break it
# by mistake; sequential tests would still pass. It is caught when a model fails. With the argument `texts` it only looks
# whether each mutant still fits the sources.
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
$ENV{SEED} = 14;    # the same schedules in each run: chance does not decide whether a mutant is caught
# Of the segment's models. Two suffice to catch each mutant, in a third of the time.
$ENV{LOOM_MAX_PREEMPTIONS} = 2;

my $take_under_order = <<'END';
        let mut order = self.lock_order();
        let (slot, session) = shard.lock().take(key, wanted)?;
END

# Name, then what is replaced by what, in the one file of the sources that has it.
my @mutants = (
    ['a removal looks its slot up before it locks the order', $take_under_order, <<'END'],
        let slot = {
            let table = shard.lock();
            table.find(key).filter(|&slot| wanted(table.session(slot)))?
        };
        let mut order = self.lock_order();
        let session = shard.lock().remove(slot);
END
    ['a removal locks the shard before the order', $take_under_order, <<'END'],
        let mut table = shard.lock();
        let mut order = self.lock_order();
        let (slot, session) = table.take(key, wanted)?;
        drop(table);
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
        "        fence(Ordering::Acquire);\n        self.words[STATE].load", '        self.words[STATE].load'],
    ['a get stops at the first record',
        'if found.as_ref().is_none_or(|(former, _)| former.number < head.number) {', 'if true { return Some(record);'],
    ['a put writes without a fence', "        fence(Ordering::Release);\n", ''],
    ['a put publishes without release', 'with_state(self.word, state), Ordering::SeqCst)', 'with_state(self.word, state), Ordering::Relaxed)'],
    ['a claim begins no generation', '(head.word | STATE_BITS).wrapping_add(1)', 'head.word'],
    ['a put takes its number when it has a slot',
        'number: self.next_number(), record }', 'number: 0, record }',
        "claim.publish(contents, State::Live);\n                self.mark_changed", "claim.publish(Contents { number: self.next_number(), ..contents }, State::Live);\n                self.mark_changed"],
    ['a busy slot is reclaimed', 'State::Busy => continue,', 'State::Busy => Cost::Nothing,'],
    ['a take stores the state', <<'END', <<'END'],
        self.change(head.word, dead, Ordering::SeqCst)
END
        let same = self.words[STATE].load(Ordering::Acquire) == head.word;
        if same {
            self.words[STATE].store(dead, Ordering::Release);
        }
        same
END
    ['a take does not look for a second record', '(self.slots_of(name, now).count() == killed).then_some(record)', 'Some(record).filter(|_| killed > 0)'],
    ['a take looks for a second record without a fence', "        fence(Ordering::SeqCst);\n        (self", '        (self'],
    ['a forget without a record leaves nothing', 'if search.dead_until >= until {', 'if search.dead_until <= until {'],
    ['a forget without a slot gives up', 'self.mark().fetch_max(self.next_number(), Ordering::Relaxed);', ''],
    ['a forget marks without a number of its own', 'fetch_max(self.next_number(), ', 'fetch_max(self.sequence.load(Ordering::Relaxed), '],
);

my $mark = <<'END';
        set(&self.groups[group / BITS], group % BITS);
        set(self.top, group / BITS);
END
my $mask = "        mask.fetch_or(slots, Ordering::AcqRel);\n";
my $group = "        let group = bucket % self.group_count();\n";
my $tell = <<'END';
                claim.publish(contents, State::Live);
                self.mark_changed(room.slot);
END
my $pending = "        self.pending.fetch_or(1 << number, Ordering::Release);\n";
my $seen = "        let seen = cell[ANSWERS].load(Ordering::Acquire);\n";
my $waiters = <<'END';
        cell[WAITERS].fetch_add(1, Ordering::Relaxed);
        // Pairs with that of `answer`: either the waiter is counted there, or the answer is seen here.
        fence(Ordering::SeqCst);
        while !is_answered() {
END
my $sleep = <<'END';
        self.sleeping.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !is_busy() {
END

# Of what processes and the agent tell each other.
my @of_the_fleet = (
    ['a slot is marked before it is published', $tell, <<'END'],
                self.mark_changed(room.slot);
                claim.publish(contents, State::Live);
END
    ['a slot is marked from above', $mask . $group . $mark, $group . join('', reverse split /^/, $mark) . $mask],
    ['a mark looks at the upper word without a fence',
        "    // Pairs with the fence of `clear`.\n    fence(Ordering::SeqCst);\n", ''],
    ['the agent takes marks without a fence',
        "    // Pairs with the fence of `set`, and with `is_wanted`.\n    fence(Ordering::SeqCst);\n", ''],
    ['a change and the look for an agent are in no order', 'if cfg!(sslsweep_model) {
            fence', 'if false {
            fence'],
    ['a new agent reads only what is marked', 'if self.read < buckets {', 'if false {'],
    ['the agent takes the mask when it has read the slots',
        'slots: clear(mask) & ALL });', 'slots: mask.load(Ordering::Relaxed) & ALL });',
        "        loop {\n            while let Some(way) = pop(&mut self.marked.slots) {\n", <<'END'],
        loop {
            if self.marked.slots.count_ones() == 1 {
                let way = self.marked.slots.trailing_zeros() as usize;
                let read = bucket(self.marked.bucket);
                let look = read.look(way, now);
                self.marked.slots = 0;
                clear(read.changed());
                if let Ok(Some((change, _))) = look { return Some(change); }
            }
            while let Some(way) = pop(&mut self.marked.slots) {
END
    ['the agent takes the groups when it has read their buckets',
        'self.groups = clear(&dirty.groups[word]);', 'self.groups = dirty.groups[word].load(Ordering::Acquire);',
        "                self.is_begun = false;\n", "                self.is_begun = false;\n                dirty.groups.iter().for_each(|word| drop(clear(word)));\n"],
    ['the agent takes the top word when it has read the groups',
        'self.top = clear(dirty.top);', 'self.top = dirty.top.load(Ordering::Acquire);',
        "                self.is_begun = false;\n", "                self.is_begun = false;\n                clear(dirty.top);\n"],
    ['the agent does not look at a slot again', "            let record = slot.copy();\n            if !slot.is_unchanged(&head) {\n                return Err(Torn);", "            let record = slot.copy();\n            if false {\n                return Err(Torn);"],
    ['what changes under the eyes of the agent is left', 'Err(Torn) => bucket.mark_slots(1 << way),', 'Err(Torn) => {}'],
    ['a fetched record replaces what was put', 'if room.cost == Cost::Same {', 'if false {'],
    ['a question is pending before it has a name', $pending, '', $seen, $seen . $pending],
    ['a question counts the answers when it is pending', $seen, '', $pending, $pending . $seen],
    ['the agent believes any name', '(read(CHECK) == check(name)).then_some(name)', 'Some(name).filter(|_| read(CHECK) != 0)'],
    ['who waits is counted without a fence', $waiters, $waiters =~ s/\n        fence\(Ordering::SeqCst\);//r],
    ['who waits is counted after the last look', $waiters, <<'END'],
        fence(Ordering::SeqCst);
        while !is_answered() {
            cell[WAITERS].fetch_add(1, Ordering::Relaxed);
END
    ['an answer looks for those who wait without a fence', "        fence(Ordering::SeqCst);\n        if cell[WAITERS]", '        if cell[WAITERS]'],
    ['an answer is no release', 'cell[ANSWERS].fetch_add(1, Ordering::Release);', 'cell[ANSWERS].fetch_add(1, Ordering::Relaxed);'],
    ['the agent sleeps without a fence', $sleep, $sleep =~ s/        fence\(Ordering::SeqCst\);\n//r],
    ['the agent sleeps without a look', 'if !is_busy() {', 'let _ = is_busy; {'],
    ['the agent reads the doorbell when it is about to sleep',
        "        let rung = self.rung.load(Ordering::Relaxed);\n", '',
        "            futex.wait(self.rung, rung, deadline);\n", "            let rung = self.rung.load(Ordering::Relaxed);\n            futex.wait(self.rung, rung, deadline);\n"],
    ['the doorbell is rung without a fence', "        fence(Ordering::SeqCst);\n        if self.sleeping", '        if self.sleeping'],
    ['all try at an open breaker', 'is_time && change().is_ok()', '{ let _ = change(); is_time }'],
);

sub slurp { my ($path) = @_; open my $file, '<', $path or die "$path: $!"; local $/; return <$file> }

sub spit {
    my ($path, $text) = @_;
    open my $file, '>', $path or die "$path: $!";
    print $file $text;
    close $file or die "$path: $!";
}

my @folders = qw(src/cache crates/segment/src/slots crates/segment/src/fleet);
my %source = map { my $folder = $_; map { ("$folder/" . basename($_) => slurp($_)) } glob "$root/$folder/*.rs" } @folders;

# Builds what is in the copy and runs these models; whether it was built, and the models that failed.
sub run_models {
    my (@tests) = @_;
    my $said = `cd '$copy/checks/models' && timeout 600 cargo test --release --locked @{[map { "--test $_" } @tests]} 2>&1`;
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

# All texts first: one that does not fit shall not be found minutes later.
my @texts = map { my ($name, @changes) = @$_; [$name, mutated(@changes)] } @mutants, @of_the_fleet;
exit if "@ARGV" eq 'texts';

remove_tree($copy);
make_path("$copy/$_") for qw(src crates/segment/src checks/models);
for (@folders) {
    system('cp', '-R', "$root/$_", "$copy/$_") == 0 or die 'cp';
}
system('cp', '-R', map({ "$root/checks/models/$_" } qw(Cargo.toml Cargo.lock build.rs src tests)), "$copy/checks/models")
    == 0 or die 'cp';

# The checkers are compiled once, which takes as long as the machine needs.
system("cd '$copy/checks/models' && cargo test --release --locked --no-run --quiet") == 0 or die "the models cannot be built\n";

for my $at (0 .. $#texts) {
    my ($name, $text) = @{ $texts[$at] };
    write_sources($text);
    my ($changed) = grep { $text->{$_} ne $source{$_} } keys %$text;
    my $is_of_the_fleet = $at >= @mutants;
    # Of these one suffices.
    local $ENV{LOOM_MAX_PREEMPTIONS} = 1 if $is_of_the_fleet;
    my ($built, $failed, @by) =
        run_models($is_of_the_fleet ? 'fleet' : $changed =~ /segment/ ? 'segment' : qw(exhaustive random));
    ok($built && $failed && @by, "caught: $name") and diag(sprintf '%d models fail: %s', scalar @by, join ' ', @by);
}

# The copy itself is sound, or all of this would show nothing.
write_sources(\%source);
my ($built, $failed) = run_models();
ok($built && !$failed, 'the sources as they are pass');
done_testing;
