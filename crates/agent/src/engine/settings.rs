//! Where the engine is, and how to speak to it.

use std::time::Duration;

use redis::{ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates};

use super::Error;

/// How the addresses lead to the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topology {
    /// The address is the engine.
    Single,
    /// The addresses are nodes of a Cluster, which name the others.
    Cluster,
    /// The addresses are sentinels, which name the primary of this name.
    Sentinel(String),
}

/// What the operator has said about the engine.
#[derive(Clone)]
pub struct Settings {
    /// Addresses, as URLs.
    pub urls: Vec<String>,
    /// What the addresses are.
    pub topology: Topology,
    /// The ACL user.
    pub user: Option<String>,
    /// The password of the user.
    pub password: Option<String>,
    /// CA certificates in PEM form, in place of the system's.
    pub ca: Option<Vec<u8>>,
    /// The client's certificate and key, in PEM form.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
    /// The beginning of every key.
    pub prefix: String,
    /// The longest time to connect.
    pub connect: Duration,
    /// The longest time between two pieces of an answer.
    pub answer: Duration,
    /// The entries of the stream of removals that the engine keeps, more or less. An entry has up to
    /// [`ENTRY_NAMES`](super::ENTRY_NAMES) names.
    pub entries: u64,
}

impl Settings {
    /// Checks what can be checked without the engine.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn check(&self) -> Result<(), Error> {
        self.addresses().map(drop)
    }

    /// The addresses, with user and password.
    ///
    /// # Errors
    ///
    /// An address that is not a URL of an engine, or a number of them that does not fit the topology.
    pub(super) fn addresses(&self) -> Result<Vec<ConnectionInfo>, Error> {
        if self.topology == Topology::Single && self.urls.len() != 1 {
            return Err(Error::settings(
                "one address is needed; with several, say --cluster or --sentinel NAME",
            ));
        }
        if self.urls.is_empty() {
            return Err(Error::settings("no address is given"));
        }
        self.urls.iter().map(|url| self.address(url)).collect()
    }

    fn address(&self, url: &str) -> Result<ConnectionInfo, Error> {
        // The URL may hold a password, so that no message shows it.
        let wrong = || {
            Error::settings("an address is no URL; write redis://HOST:PORT or rediss://HOST:PORT")
        };
        let info = url.into_connection_info().map_err(|_| wrong())?;
        Ok(match self.topology {
            // Sentinels have users of their own, which their URLs name.
            Topology::Sentinel(_) => info,
            Topology::Single | Topology::Cluster => self.with_user(info),
        })
    }

    /// The address of an engine, with user and password.
    pub(super) fn with_user(&self, info: ConnectionInfo) -> ConnectionInfo {
        let mut redis = info.redis_settings().clone();
        if let Some(user) = &self.user {
            redis = redis.set_username(user);
        }
        if let Some(password) = &self.password {
            redis = redis.set_password(password);
        }
        info.set_redis_settings(redis)
    }

    /// The certificates for connections by TLS.
    pub(super) fn certificates(&self) -> TlsCertificates {
        let client_tls = self.client.clone();
        TlsCertificates {
            client_tls: client_tls
                .map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key }),
            root_cert: self.ca.clone(),
        }
    }
}

/// Returns whether connections to this address use TLS.
pub(super) fn is_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}
