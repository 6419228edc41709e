//! Contexts in memory that processes share (P11). Some servers give OpenSSL such memory, by
//! `CRYPTO_set_mem_functions`, so that all their processes use one context and one cache. Our state is each
//! process's own, so such contexts are left to libssl.

use std::ffi::c_void;
use std::fs::File;
use std::io::{ErrorKind, Read};

use crate::libssl::Api;
use crate::libssl::types::CtxRef;
use crate::{options, published, report, system};

/// Returns whether a new context is to be left to libssl, which is said once.
pub(super) fn is_left(api: &Api, ctx: CtxRef<'_>) -> bool {
    // A process may have memory functions of another kind, to count or to wipe.
    let is_left = has_memory_functions(api)
        && File::open("/proc/self/maps").map_or_else(
            |_| can_be_mapped_again(ctx.address()),
            |maps| is_shared(maps, ctx.address()),
        );
    if is_left && published::note_left_shared() == 0 && options::get().verbose {
        report::line("leaves to libssl each SSL_CTX in memory that processes share");
    }
    is_left
}

/// Returns whether the program has given libcrypto functions for memory. Where the addresses of libcrypto's own differ for
/// another reason, the mapping decides.
fn has_memory_functions(api: &Api) -> bool {
    let null = std::ptr::null_mut;
    let (mut malloc, mut realloc, mut free) = (null(), null(), null());
    (api.CRYPTO_get_mem_functions)(&mut malloc, &mut realloc, &mut free);
    let own = [
        api.CRYPTO_malloc.map_or(null(), |own| own as *mut c_void),
        api.CRYPTO_realloc.map_or(null(), |own| own as *mut c_void),
        api.CRYPTO_free.map_or(null(), |own| own as *mut c_void),
    ];
    [malloc, realloc, free] != own
}

/// Returns whether an address lies in a shared mapping, where there is no `/proc` or no descriptor left: only the pages of such a
/// one can be mapped once more. (Before Linux 4.14 others seem to be. In doubt libssl keeps the context: nothing is
/// lost by that but what sslsweep is for. Not the first way, as pages of a large size cannot be asked about so.)
fn can_be_mapped_again(address: usize) -> bool {
    let bytes = system::page_size();
    let page = std::ptr::without_provenance_mut(address & !(bytes - 1));
    // SAFETY: nothing changes at the address: what is asked for is another mapping, anywhere.
    let other = unsafe { libc::mremap(page, 0, bytes, libc::MREMAP_MAYMOVE) };
    if other == libc::MAP_FAILED {
        return false;
    }
    // SAFETY: that other mapping, which nobody has seen.
    unsafe { libc::munmap(other, bytes) };
    true
}

/// Returns whether an address lies in a shared mapping, by the lines of `/proc/self/maps`: `BEGIN-END rwxs ...`. Reads it
/// without an allocation.
fn is_shared(mut maps: impl Read, address: usize) -> bool {
    let mut chunk = [0; 1024];
    let mut line = Line::default();
    loop {
        let read = match maps.read(&mut chunk) {
            Ok(0) => return false,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return true,
        };
        for &byte in &chunk[..read] {
            line.push(byte);
            if byte == b'\n' {
                if (line.begin..line.end).contains(&address) {
                    return line.mode[3] == b's';
                }
                line = Line::default();
            }
        }
    }
}

/// The beginning of a line.
#[derive(Debug, Default)]
struct Line {
    begin: usize,
    end: usize,
    mode: [u8; 4],
    /// In which of those we are, and how far.
    field: usize,
    place: usize,
}

impl Line {
    fn push(&mut self, byte: u8) {
        let digit = (byte as char).to_digit(16).unwrap_or(0) as usize;
        match (self.field, byte) {
            (0, b'-') | (1, b' ') => self.field += 1,
            (0, _) => self.begin = self.begin << 4 | digit,
            (1, _) => self.end = self.end << 4 | digit,
            _ if self.place < 4 => {
                self.mode[self.place] = byte;
                self.place += 1;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &[u8] = b"\
55d0c0a00000-55d0c0a21000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000001000 rw-s 00000000 00:01 1029                       /dev/zero (deleted)
7f0000001000-7f0000002000 r--p 00000000 fe:01 7                          /lib/a-b s
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
";

    #[test]
    fn the_mapping_of_an_address_decides() {
        for (address, shared) in [
            (0x55d0_c0a0_0000, false),
            (0x7eff_ffff_ffff, false),
            (0x7f00_0000_0000, true),
            (0x7f00_0000_0fff, true),
            (0x7f00_0000_1000, false),
            (0xffff_ffff_ff60_0000, false),
            (0, false),
        ] {
            assert_eq!(is_shared(MAPS, address), shared, "{address:x}");
        }
        assert!(!is_shared(&MAPS[..100], 0x7f00_0000_0000), "a line that is cut off");
    }
}
