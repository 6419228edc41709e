//! Lines on standard error, each by one write, so that lines of several threads do not mix.

use std::io::Write;

use crate::guard::uncancelled;

/// Writes `sslsweep[PID]: TEXT`. A standard error that is closed or full is no reason to fail.
pub(crate) fn line(text: &str) {
    // A daemon that closed it may have a client's connection under this number.
    if !is_connection(libc::STDERR_FILENO) {
        let line = format!("sslsweep[{}]: {text}\n", std::process::id());
        let _ = uncancelled(|| std::io::stderr().write_all(line.as_bytes()));
    }
}

fn is_connection(file: libc::c_int) -> bool {
    let mut address = std::mem::MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: `address` has room for `length` bytes; any file number may be asked about.
    let failed = unsafe { libc::getsockname(file, address.as_mut_ptr().cast(), &raw mut length) };
    // SAFETY: filled by getsockname, or zero.
    let family = unsafe { address.assume_init() }.ss_family;
    failed == 0 && [libc::AF_INET, libc::AF_INET6].contains(&i32::from(family))
}
