//! What two connections must have in common for one to resume the other's session: two digests of tagged lists.
//!
//! libssl looks a session up before a server name has chosen the context, and makes one after that. So there are two:
//!
//! - **Entrance**: what both know at once, which is the context that the connection began with, and the server's name.
//! - **Outcome**: the state of the connection after that.
//!
//! What cannot matter to a resumed connection is left out: ALPN, groups, signature algorithms, OCSP, SRTP. libssl itself checks
//! the session id context.

use sha2::{Digest as _, Sha256};

use crate::openssl::{Api, Certificates, Connection, Digest};

/// Rises with each change of the lists.
const FORMAT: u32 = 1;

/// A list, each of whose entries has a tag and a length, so that no two lists give the same bytes.
struct List(Sha256);

impl List {
    fn new(api: &Api, what: u8) -> Self {
        let mut list = Self(Sha256::new());
        list.add(what, &FORMAT.to_be_bytes());
        list.add(b'v', &api.version().to_be_bytes());
        list
    }

    fn add(&mut self, tag: u8, bytes: &[u8]) {
        let [.., a, b, c, d] = (bytes.len() as u64).to_be_bytes();
        self.0.update([tag, a, b, c, d]);
        self.0.update(bytes);
    }

    fn end(self) -> Digest {
        self.0.finalize().into()
    }
}

/// The entrance of a connection to a context with this certificate, with this server name.
pub(crate) fn entrance(api: &Api, certificate: Option<&Digest>, name: Option<&[u8]>) -> Digest {
    let mut list = List::new(api, b'E');
    if let Some(certificate) = certificate {
        list.add(b'c', certificate);
    }
    if let Some(name) = name {
        list.add(b'n', name);
    }
    list.end()
}

/// The outcome of a connection in its present state. `None` if it has no certificate, or without memory.
pub(crate) fn outcome(
    api: &Api,
    connection: Connection<'_>,
    certificates: &Certificates,
) -> Option<Digest> {
    let mut list = List::new(api, b'O');
    let mut complete = true;
    let known = connection.for_each_certificate(|certificate| {
        // SAFETY: one of the connection's.
        match unsafe { certificates.digest(certificate) } {
            Some(digest) => list.add(b'c', &digest),
            None => complete = false,
        }
    });
    list.add(b'l', connection.levels().map(i64::to_be_bytes).as_flattened());
    connection.for_each_host(|host| list.add(b'h', host));
    // In order, as that of the list means nothing to clients. (Inserted: a sort would be the library's largest function.)
    let mut authorities: Vec<Digest> = Vec::new();
    connection.for_each_client_authority(|name| {
        let authority = Sha256::digest(name).into();
        complete &= authorities.try_reserve(1).is_ok();
        if complete {
            let at = authorities.partition_point(|other| *other < authority);
            authorities.insert(at, authority);
        }
    });
    authorities.iter().for_each(|authority| list.add(b'a', authority));
    let mut room = [[0; 2]; 256];
    list.add(b's', connection.ciphers(&mut room)?.as_flattened());
    list.add(b'r', &[connection.refuses_replays().into()]);
    (known && complete).then(|| list.end())
}
