//! `sslsweep run`: replaces the command by a program, with the library preloaded.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::arguments::Run;
use crate::doctor;
use crate::output::{Failure, say};
use crate::share;
use crate::system::user;
use crate::text::{plain, shown};

/// Exit statuses, as in `env` and `nohup`.
const CANNOT_PRELOAD: u8 = 125;
const CANNOT_RUN: u8 = 126;
pub const NOT_FOUND: u8 = 127;

/// The path of the library in the tree in which this command lies, wherever that was installed, staged or moved to.
/// If there is none, the path where it should be.
pub fn library() -> PathBuf {
    let version: Vec<&str> = env!("CARGO_PKG_VERSION").split('.').collect();
    let abi = if version[0] == "0" { version[..2].join(".") } else { version[0].to_string() };
    let name = format!("libsslsweep.so.{abi}");
    let command = std::env::current_exe().unwrap_or_default();
    let trees = command.ancestors().skip(2).take(2); // from bin/, or from libexec/sslsweep/
    trees
        .flat_map(folders)
        .map(|folder| folder.join(&name))
        .find(|path| path.exists())
        .unwrap_or_else(|| {
            command.ancestors().nth(2).unwrap_or(Path::new("/")).join("lib").join(&name)
        })
}

/// The folders of a tree in which distributions keep libraries: `lib`, `lib64`, and those of `lib` that are named for
/// a machine, this one's first.
fn folders(tree: &Path) -> Vec<PathBuf> {
    let lib = tree.join("lib");
    let entries = std::fs::read_dir(&lib).into_iter().flatten().flatten();
    let mut machines: Vec<OsString> = entries.map(|entry| entry.file_name()).collect();
    let is_other =
        |name: &OsString| !name.as_bytes().starts_with(std::env::consts::ARCH.as_bytes());
    machines.sort_by_key(|name| (is_other(name), name.clone()));
    let machines: Vec<PathBuf> = machines.iter().map(|name| lib.join(name)).collect();
    [vec![lib, tree.join("lib64")], machines].concat()
}

/// The environment for the library, from the options of the command.
fn environment(run: &Run) -> impl Iterator<Item = (&'static str, OsString)> {
    let on = |set: bool| set.then(|| "1".into());
    let name = |value: PossibleValue| OsString::from(value.get_name());
    let (autoflush, eviction) = (run.autoflush.as_ref(), run.eviction.as_ref());
    let tickets = run.tickets.as_ref();
    [
        ("SSLSWEEP_STATS", on(run.stats)),
        ("SSLSWEEP_VERBOSE", on(run.verbose)),
        ("SSLSWEEP_AUTOFLUSH", autoflush.and_then(ValueEnum::to_possible_value).map(name)),
        ("SSLSWEEP_EVICTION", eviction.and_then(ValueEnum::to_possible_value).map(name)),
        ("SSLSWEEP_TICKETS", tickets.and_then(ValueEnum::to_possible_value).map(name)),
        (share::SHARE, run.share.clone()),
        (share::KEY, run.share_key.clone()),
        (share::WAIT, run.share_wait.map(|millis| millis.to_string().into())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
}

/// Becomes the program. Returns only if that fails.
pub fn run(run: &Run) -> Failure {
    let library = library();
    if let Some(why) = doctor::cannot_preload(&library) {
        return Failure::new(CANNOT_PRELOAD, why);
    }
    if let Some(why) = cannot_share(run, &library) {
        return Failure::new(CANNOT_PRELOAD, why);
    }
    warn(run, &library);
    let mut preload = library.into_os_string();
    if let Some(others) = std::env::var_os("LD_PRELOAD").filter(|others| !others.is_empty()) {
        preload.push(":");
        preload.push(others);
    }
    set("LD_PRELOAD", &preload);
    for (name, value) in environment(run) {
        set(name, &value);
    }
    let error = become_program(&run.program);
    let status = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN };
    Failure::new(status, format!("{}: {}", shown(&run.program[0]), plain(&error)))
}

/// The reason why sessions cannot be shared as the options ask, if there is one.
fn cannot_share(run: &Run, library: &Path) -> Option<String> {
    let value = run.share.as_ref()?;
    // The key file may have been named for the service already.
    let key = run.share_key.clone().or_else(|| std::env::var_os(share::KEY));
    let wait = run.share_wait.map(|millis| millis.to_string().into());
    let wait = wait.or_else(|| std::env::var_os(share::WAIT));
    let [key, wait] = [&key, &wait].map(|it| it.as_deref().map(OsStr::as_bytes));
    let program =
        share::Program { root: Path::new("/"), user: user(), core: Some(library), mapped: None };
    share::examine(value.as_bytes(), key, wait, &program)
        .into_iter()
        .find_map(Result::err)
        .map(|(why, remedy)| format!("cannot share sessions: {why}; {remedy}"))
}

/// Warns if sslsweep can have no effect on the program, or never shares its sessions. The program runs nevertheless.
fn warn(run: &Run, library: &Path) {
    let program = &run.program[0];
    let name = Path::new(program).file_name().unwrap_or(program);
    let path = doctor::find(program);
    if run.share.is_some() && share::never(path.as_deref().unwrap_or(Path::new(name))) {
        say(&format!("{} shares no sessions: {}; {}", shown(name), share::NEVER.0, share::NEVER.1));
    }
    if let Some((why, remedy)) = path.and_then(|path| doctor::hindrance(&path, library)) {
        say(&format!("{} has no effect here: {why}; {remedy}", shown(name)));
    }
}

fn set(name: &str, value: &OsStr) {
    // SAFETY: the process has one thread.
    unsafe { std::env::set_var(name, value) };
}

/// Starts the program in our place. `Command::exec` would reset SIGPIPE, which systemd ignores for services.
pub fn become_program(words: &[OsString]) -> io::Error {
    let words: Result<Vec<CString>, _> =
        words.iter().map(|word| CString::new(word.as_bytes())).collect();
    let Ok(words) = words else { return io::ErrorKind::InvalidInput.into() };
    let mut pointers: Vec<_> = words.iter().map(|word| word.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: an array of strings that ends with NULL; it has at least the program's name.
    unsafe { libc::execvp(pointers[0], pointers.as_ptr()) };
    io::Error::last_os_error()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Autoflush, Eviction, Tickets};

    #[test]
    fn the_folders_of_this_machine_come_first() {
        let tree = std::env::temp_dir().join(format!("sslsweep-folders-{}", std::process::id()));
        let own = format!("{}-linux-gnu", std::env::consts::ARCH);
        for name in ["a-linux-gnu", &own, "z-linux-gnu"] {
            std::fs::create_dir_all(tree.join("lib").join(name)).expect("a folder");
        }
        let found = folders(&tree);
        std::fs::remove_dir_all(&tree).expect("the folder goes");
        let names = ["lib", "lib64", &format!("lib/{own}"), "lib/a-linux-gnu", "lib/z-linux-gnu"];
        assert_eq!(found, names.map(|name| tree.join(name)));
        assert_eq!(
            folders(&tree),
            ["lib", "lib64"].map(|name| tree.join(name)),
            "no folder at all"
        );
    }

    #[test]
    fn options_become_environment() {
        assert_eq!(environment(&Run::default()).count(), 0);
        let all = Run {
            stats: true,
            verbose: true,
            autoflush: Some(Autoflush::Incremental),
            eviction: Some(Eviction::Lru),
            tickets: Some(Tickets::Stateful),
            share: Some("host:/dev/shm/tls".into()),
            share_key: Some("/etc/keys".into()),
            share_wait: Some(5),
            program: vec![],
        };
        let pairs: Vec<String> =
            environment(&all).map(|(name, value)| format!("{name}={}", shown(&value))).collect();
        assert_eq!(
            pairs,
            [
                "SSLSWEEP_STATS=1",
                "SSLSWEEP_VERBOSE=1",
                "SSLSWEEP_AUTOFLUSH=incremental",
                "SSLSWEEP_EVICTION=lru",
                "SSLSWEEP_TICKETS=stateful",
                "SSLSWEEP_SHARE=host:/dev/shm/tls",
                "SSLSWEEP_SHARE_KEY=/etc/keys",
                "SSLSWEEP_SHARE_WAIT=5"
            ]
        );
    }
}
