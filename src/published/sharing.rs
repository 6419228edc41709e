//! Counts of what was shared with other processes, and of what was not and why.
//!
//! They are counts of the process, not of a context: the share library reports an event by its number alone. Each event is
//! counted in memory of the process's own, for the summary at exit, and in the statistics file, if there is one, by one
//! addition each. There is no system call, so a child that counts may be sandboxed.
//!
//! Probes as in `takeover::context::events`.

use std::sync::atomic::{AtomicU64, Ordering};

use probe::probe;
use sslsweep_share_table::{Event, Kind};

use super::place;

/// By the events' numbers. The child of a fork goes on from its parent's.
static COUNTS: [AtomicU64; Event::ALL.len()] = [const { AtomicU64::new(0) }; Event::ALL.len()];

fn of(event: Event) -> &'static AtomicU64 {
    &COUNTS[event.number() as usize]
}

/// An event of sharing has happened.
pub(crate) fn shared(event: Event) {
    of(event).fetch_add(1, Ordering::Relaxed);
    place::note_shared(event);
    let number = u64::from(event.number());
    match event.kind() {
        Kind::Published => probe!(sslsweep, share__publish, number),
        Kind::Fetched => probe!(sslsweep, share__fetch, number),
        Kind::Refused => probe!(sslsweep, share__refuse, number),
        _ => {}
    }
}

/// How often this event has happened in this process.
pub(crate) fn shared_count(event: Event) -> u64 {
    of(event).load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::super::image;
    use super::*;
    use sslsweep_figures::{Family, Process, READY, is_ready, pid_of};

    /// An empty file that children share. It is never given up: the statics of this process keep it.
    fn family() -> &'static Family {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a mapping of its own, anywhere.
        let at =
            unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Family>(), rights, flags, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED);
        // SAFETY: a mapping of this size, on a page, that is never undone; zero bytes are words.
        unsafe { &*at.cast::<Family>() }
    }

    fn process_of(family: &Family, pid: u32) -> Option<&Process> {
        family.processes.iter().find(|process| is_ready(process.owner.load(Ordering::Relaxed), pid))
    }

    fn counted(process: &Process) -> [u64; 3] {
        [Event::AsideProgram, Event::Fetched, Event::RefusedTrust]
            .map(|event| process.shared(event).load(Ordering::Relaxed))
    }

    #[test]
    #[cfg_attr(miri, ignore = "it maps memory and forks")]
    fn s9_a_process_and_its_children_count_without_losing_what_was_before() {
        shared(Event::AsideProgram);
        assert_eq!(shared_count(Event::AsideProgram), 1, "before there is a file");
        let family = family();
        place::begin(family);
        image::begin(family);
        shared(Event::Fetched);
        shared(Event::Fetched);
        let own = process_of(family, std::process::id()).expect("it has a place");
        assert_eq!(counted(own), [1, 2, 0]);

        // SAFETY: the child calls nothing but what counts, which neither allocates nor locks, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            shared(Event::RefusedTrust);
            let whole = shared_count(Event::Fetched) == 2 && shared_count(Event::RefusedTrust) == 1;
            // SAFETY: the child ends here, without the handlers of its parent.
            unsafe { libc::_exit(i32::from(!whole)) };
        }
        let mut status = 0;
        // SAFETY: the status is written to a variable.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0, "a child goes on from its parent's counts");
        let childs = process_of(family, child.unsigned_abs()).expect("it took a place");
        assert_eq!(counted(childs), [1, 2, 1]);
        assert_eq!(counted(own), [1, 2, 0], "each process counts for itself");

        // A place is empty for the next process that has no parent here.
        let owner = childs.owner.load(Ordering::Relaxed);
        assert!(owner & READY != 0 && pid_of(owner) == child.unsigned_abs());
        super::super::words::clear_process(childs);
        assert_eq!(counted(childs), [0, 0, 0]);
    }

    /// The arguments of each note of this probe in a program: its provider, its name and its arguments stand behind each
    /// other, each with an end.
    fn notes<'a>(program: &'a [u8], probe: &str) -> Vec<&'a str> {
        let name = format!("sslsweep\0{probe}\0");
        let places = program.windows(name.len()).enumerate();
        places
            .filter(|(_, bytes)| *bytes == name.as_bytes())
            .map(|(at, _)| {
                let rest = &program[at + name.len()..];
                let end = rest.iter().position(|&byte| byte == 0).expect("an end");
                std::str::from_utf8(&rest[..end]).expect("ASCII")
            })
            .collect()
    }

    #[test]
    #[cfg_attr(miri, ignore = "it has no ELF file")]
    fn o7_probes_have_a_note_with_one_argument_of_64_bits() {
        let program = std::fs::read("/proc/self/exe").expect("it runs");
        for probe in ["share__publish", "share__fetch", "share__refuse"] {
            let notes = notes(&program, probe);
            assert!(!notes.is_empty(), "{probe}");
            for arguments in notes {
                let is_one = !arguments.contains(' ');
                assert!(
                    is_one && arguments.trim_start_matches('-').starts_with("8@"),
                    "{probe}: {arguments}"
                );
            }
        }
        assert!(notes(&program, "share__nothing").is_empty());
    }
}
