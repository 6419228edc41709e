//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use clap::{Args, Parser, Subcommand};

use sslsweep_segment::Segment;

use crate::engine::{Error, Settings, Topology};

const AFTER: &str = "\
The agent carries sessions that servers of this machine share (SSLSWEEP_SHARE=host:PATH) to those of other machines, by
an engine: Redis 7 or Valkey 8. It never has the key of the sessions. A second agent for the same segment waits until
the first has ended.

Sentinels have users of their own: name those in the addresses (redis://USER:PASSWORD@HOST:PORT).

Exit status: 0 after SIGTERM or SIGINT, 1 if the agent cannot run, 2 if the command line is wrong.";

/// Carries shared sessions between this machine and others.
#[derive(Debug, Parser)]
#[command(name = "sslsweep-shared", bin_name = "sslsweep shared", version, after_help = AFTER)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the command does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent of a segment. This word may be left out
    Run(Run),
    /// Show the segment, and what its agent does
    Status {
        /// The segment, as SSLSWEEP_SHARE=host: names it
        #[arg(long, value_name = "PATH[:SIZE]", value_parser = place)]
        segment: Place,
    },
    /// Check whether the engine can be used
    Check(Upstream),
}

/// The words of the command line, with `run` where it is left out.
pub fn words(given: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = given.into_iter().collect();
    let is_option = |word: &OsString| word.as_encoded_bytes().starts_with(b"--");
    if words.get(1).is_some_and(|word| is_option(word) && word != "--help" && word != "--version") {
        words.insert(1, "run".into());
    }
    words
}

/// How the agent runs.
#[derive(Debug, Args)]
pub struct Run {
    /// The segment, as SSLSWEEP_SHARE=host: names it. It is made if it is not there
    #[arg(long, value_name = "PATH[:SIZE]", value_parser = place)]
    pub segment: Place,
    /// Let this group use the segment, by its number or name
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// Serve /metrics and /healthz by HTTP, on a loopback address
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = loopback)]
    pub listen: Option<SocketAddr>,
    /// The engine.
    #[command(flatten)]
    pub upstream: Upstream,
}

/// Which engine, and how to speak to it.
#[derive(Debug, Args)]
pub struct Upstream {
    /// The engine: redis://HOST:PORT, or rediss://HOST:PORT by TLS. Several for --cluster and --sentinel
    #[arg(long = "upstream", value_name = "URL", required = true, num_args = 1..)]
    pub urls: Vec<String>,
    /// The addresses are nodes of a Cluster
    #[arg(long, conflicts_with = "sentinel")]
    pub cluster: bool,
    /// The addresses are sentinels, which know the primary by this name
    #[arg(long, value_name = "NAME")]
    pub sentinel: Option<String>,
    /// The user of the engine's access list
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub user: Option<String>,
    /// A file with the password in its first line
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// The CA certificates of the engine, in place of the system's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The agent's own certificate, if the engine asks for one
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// The key of this certificate
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// The beginning of all keys in the engine
    #[arg(long, value_name = "TEXT", default_value = "sslsweep")]
    pub prefix: String,
    /// The longest time to connect, in milliseconds
    #[arg(long, value_name = "MS", default_value = "1000", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub connect_timeout: u64,
    /// The longest time without an answer, in milliseconds
    #[arg(long, value_name = "MS", default_value = "500", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub timeout: u64,
    /// The entries that the stream of removals keeps, of up to 128 names each
    #[arg(long, value_name = "NUMBER", default_value = "100000", value_parser = clap::value_parser!(u64).range(1..))]
    pub removals: u64,
}

impl Upstream {
    /// Reads the files, and makes settings.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or others can read the password.
    pub fn settings(self) -> Result<Settings, Error> {
        let topology = match self.sentinel {
            Some(name) => Topology::Sentinel(name),
            None if self.cluster => Topology::Cluster,
            None => Topology::Single,
        };
        let password = self.password_file.as_deref().map(password).transpose()?;
        let pem = |path: Option<&Path>| path.map(read).transpose();
        let client = pem(self.cert.as_deref())?.zip(pem(self.key.as_deref())?);
        Ok(Settings {
            urls: self.urls,
            topology,
            user: self.user,
            password,
            ca: pem(self.ca.as_deref())?,
            client,
            prefix: self.prefix,
            connect: Duration::from_millis(self.connect_timeout),
            answer: Duration::from_millis(self.timeout),
            entries: self.removals,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| cannot_read(path, &error))
}

fn cannot_read(path: &Path, error: &io::Error) -> Error {
    Error::settings(format!("{} cannot be read: {error}", path.display()))
}

fn password(path: &Path) -> Result<String, Error> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path).map_err(|error| cannot_read(path, &error))?.permissions().mode();
    if mode & 0o007 != 0 {
        let what = format!(
            "{} can be read by everybody; take these rights away (chmod o= FILE)",
            path.display()
        );
        return Err(Error::settings(what));
    }
    let text = String::from_utf8(read(path)?)
        .map_err(|_| Error::settings(format!("{} is not text", path.display())))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(Error::settings(format!("{} has no password in its first line", path.display()))),
    }
}

/// Where a segment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The path of its file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
}

fn place(text: &str) -> Result<Place, &'static str> {
    // A path may have colons in it.
    let (path, bytes) = match text.rsplit_once(':') {
        Some((path, digits)) if digits.starts_with(|first: char| first.is_ascii_digit()) => (
            path,
            size(digits).ok_or("the size is not a number with k, m or g behind it, as in 64m")?,
        ),
        _ => (text, Segment::DEFAULT_BYTES),
    };
    if !path.starts_with('/') {
        return Err("the path is not absolute");
    }
    Ok(Place { path: OsString::from(path).into(), bytes })
}

fn size(text: &str) -> Option<u64> {
    let factor = match text.bytes().last()? {
        b'k' => 10,
        b'm' => 20,
        b'g' => 30,
        _ => return text.parse().ok(),
    };
    text[..text.len() - 1].parse::<u64>().ok()?.checked_mul(1 << factor)
}

fn loopback(text: &str) -> Result<SocketAddr, &'static str> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(address),
        Ok(_) => Err("not a loopback address; the figures are for this machine alone"),
        Err(_) => Err("not ADDRESS:PORT, such as 127.0.0.1:9419"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_addresses() {
        let of = |path: &str, bytes| Ok(Place { path: path.into(), bytes });
        assert_eq!(place("/run/a"), of("/run/a", 64 << 20));
        assert_eq!(place("/run/a:b"), of("/run/a:b", 64 << 20));
        assert_eq!(place("/run/a:1m"), of("/run/a", 1 << 20));
        assert_eq!(place("/run/a:8192"), of("/run/a", 8192));
        for wrong in ["run/a", "/run/a:1x", "/run/a:99999999999g"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
        assert!(loopback("127.0.0.1:9419").is_ok() && loopback("[::1]:9419").is_ok());
        assert!(loopback("0.0.0.0:9419").is_err() && loopback("localhost").is_err());
    }
}
