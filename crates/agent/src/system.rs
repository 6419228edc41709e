//! The service manager, and groups by their names.

use std::env;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Tells the service manager a state, such as `READY=1`, if there is one (sd_notify(3)).
pub fn notify(state: &str) {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return };
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&path),
    };
    let sent = address
        .and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = sent {
        crate::log::say(format_args!("the service manager cannot be told {state}: {error}"));
    }
}

/// The id of a group, which is given by its number or its name.
///
/// # Errors
///
/// A line that says that there is no such group.
pub fn group(text: &str) -> Result<u32, String> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let groups = fs::read_to_string("/etc/group")
        .map_err(|error| format!("/etc/group cannot be read: {error}"))?;
    let found = groups.lines().find_map(|line| {
        let mut parts = line.split(':');
        (parts.next() == Some(text)).then(|| parts.nth(1)?.parse().ok())?
    });
    found.ok_or_else(|| format!("there is no group {text} in /etc/group; give its number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups() {
        assert_eq!(group("12345"), Ok(12345));
        assert_eq!(group("root"), Ok(0));
        assert!(group("no such group").is_err());
    }
}
