//! Connections of servers, whose tickets name sessions in the cache if the operator says so (S11).
//!
//! libssl makes a ticket stateful, or leaves it out and sends a session id (TLS 1.2), for a connection with `SSL_OP_NO_TICKET`.
//! A connection gets it when it becomes a server's, as the context may be used by clients as well. The program does not see
//! it: nginx takes away from a connection what its SNI context does not have, after the lookup and before the
//! ticket, and would hand out tickets that the next lookup cannot read.
//!
//! The decision is noted, so that it is made once. A QUIC connection is left alone: its handshake is that of
//! an `SSL` inside, which the program never sees.

use std::ffi::c_ulong;

use super::connections::{self, Tickets};
use super::tickets;
use crate::libssl::types::*;
use crate::libssl::{Api, Libssl};

const NO_TICKET: c_ulong = SSL_OP_NO_TICKET as c_ulong;

/// A connection has become a server's, or is about to; its handshake may have begun already.
pub(crate) fn begins(libssl: &'static Libssl, ssl: SslRef<'_>) {
    let Some(api) = &libssl.api else { return };
    if !tickets::are_stateful()
        || is_quic(api, ssl)
        || (api.SSL_is_server)(ssl) != 1
        || (api.SSL_in_before)(ssl) != 1
        || connections::tickets(libssl, ssl) != Tickets::Undecided
        || (api.SSL_get_options)(ssl) & NO_TICKET != 0
        || !connections::session_context_borrowed(libssl, ssl)
            .is_some_and(|context| context.serves())
    {
        return;
    }
    // Out of memory it has the program's tickets: what is not noted would not be hidden.
    connections::set_tickets(libssl, ssl, Tickets::Stateful);
    if connections::tickets(libssl, ssl) == Tickets::Stateful {
        (api.SSL_set_options)(ssl, NO_TICKET);
    }
}

/// The options that the program has given a connection, of these that libssl has.
pub(crate) fn visible(libssl: &Libssl, ssl: SslRef<'_>, options: c_ulong) -> c_ulong {
    match connections::tickets(libssl, ssl) {
        Tickets::Stateful => options & !NO_TICKET,
        _ => options,
    }
}

/// The program has set options of a connection.
pub(crate) fn set(libssl: &'static Libssl, ssl: SslRef<'_>, options: c_ulong) {
    let is_ours = || connections::tickets(libssl, ssl) == Tickets::Stateful;
    if options & NO_TICKET != 0 && is_ours() {
        connections::set_tickets(libssl, ssl, Tickets::Program);
    }
}

/// The program has cleared options of a connection: it wants tickets of its own there, now or later.
pub(crate) fn cleared(libssl: &'static Libssl, ssl: SslRef<'_>, options: c_ulong) {
    let Some(api) = &libssl.api else { return };
    if options & NO_TICKET != 0 && !is_quic(api, ssl) {
        connections::set_tickets(libssl, ssl, Tickets::Program);
    }
}

fn is_quic(api: &Api, ssl: SslRef<'_>) -> bool {
    (api.SSL_version)(ssl) == OSSL_QUIC1_VERSION
}
