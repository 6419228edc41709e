//! Connections: to one engine, to one that sentinels name, or to the nodes of a Cluster.

use redis::cluster::{ClusterClientBuilder, ClusterConnection, cluster_pipe};
use redis::{
    Client, Cmd, Connection, ConnectionAddr, ConnectionInfo, ConnectionLike, IntoConnectionInfo,
    ServerError, ServerErrorKind, Value, cmd, pipe,
};

use super::Error;
use super::settings::{Settings, Topology, is_tls};

/// The redirections of one command that are followed in a Cluster.
const REDIRECTIONS: u32 = 2;

pub(super) enum Link {
    One(Connection),
    Cluster(Box<ClusterConnection>),
}

impl Link {
    /// Connects. `settings.answer` is the time limit of every answer, of which `extra` is what the engine may wait on purpose.
    pub(super) fn connect(settings: &Settings, extra: std::time::Duration) -> Result<Self, Error> {
        let answer = settings.answer + extra;
        let addresses = settings.addresses()?;
        let link = match &settings.topology {
            Topology::Single => {
                let [address] = &addresses[..] else {
                    return Err(Error::settings("one address is needed"));
                };
                Self::One(open(settings, address.clone())?)
            }
            Topology::Sentinel(name) => Self::One(by_sentinels(settings, &addresses, name)?),
            Topology::Cluster => {
                let tls = addresses.iter().any(is_tls);
                let builder = ClusterClientBuilder::new(addresses)
                    .retries(REDIRECTIONS)
                    .min_retry_wait(1)
                    .max_retry_wait(10)
                    .connection_timeout(settings.connect)
                    .response_timeout(answer);
                let builder = if tls { builder.certs(settings.certificates()) } else { builder };
                Self::Cluster(Box::new(builder.build()?.get_connection()?))
            }
        };
        match &link {
            Self::One(one) => {
                one.set_read_timeout(Some(answer))?;
                one.set_write_timeout(Some(settings.answer))?;
            }
            Self::Cluster(cluster) => cluster.set_write_timeout(Some(settings.answer))?,
        }
        Ok(link)
    }

    /// Sends the commands in one go. Returns the answer to each of them, which may be an error of the engine's.
    ///
    /// # Errors
    ///
    /// The connection is of no use any more.
    pub(super) fn ask(&mut self, commands: Vec<Cmd>) -> Result<Vec<Value>, Error> {
        let wanted = commands.len();
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let answers: Vec<Value> = match self {
            Self::One(one) => {
                let mut pipeline = pipe();
                commands.into_iter().for_each(|command| {
                    pipeline.add_command(command);
                });
                pipeline.ignore_errors().query(one)?
            }
            Self::Cluster(cluster) => {
                let mut pipeline = cluster_pipe();
                commands.iter().for_each(|command| {
                    pipeline.add_command(command.clone());
                });
                match pipeline.query(cluster) {
                    Ok(answers) => answers,
                    // It tells of no other answer then, and follows no redirection. (All commands may be repeated.)
                    Err(error) if error.clone().into_server_errors().is_some() => commands
                        .iter()
                        .map(|command| by_itself(cluster, command))
                        .collect::<Result<_, _>>()?,
                    Err(error) => return Err(error.into()),
                }
            }
        };
        (answers.len() == wanted)
            .then_some(answers)
            .ok_or_else(|| Error::answer("another number of answers"))
    }

    /// Sends a command that belongs to no key.
    pub(super) fn ask_anywhere(&mut self, command: &Cmd) -> Result<Value, Error> {
        Ok(match self {
            Self::One(one) => command.query(one)?,
            Self::Cluster(cluster) => command.query(&mut **cluster)?,
        })
    }

    pub(super) fn ask_one(&mut self, command: Cmd) -> Result<Value, Error> {
        self.ask(vec![command])?.pop().ok_or_else(|| Error::answer("no answer"))
    }
}

/// The answer of a Cluster to one command.
fn by_itself(cluster: &mut ClusterConnection, command: &Cmd) -> Result<Value, Error> {
    let error = match cluster.req_command(command) {
        Ok(answer) => return Ok(answer),
        Err(error) => error,
    };
    match error.clone().into_server_errors().as_deref() {
        Some([(_, error)]) if is_about_one(error) => Ok(Value::ServerError(error.clone())),
        _ => Err(error.into()),
    }
}

/// Returns whether an error is about this command alone, so that others may succeed.
pub(super) fn is_about_one(error: &ServerError) -> bool {
    error.kind() == Some(ServerErrorKind::ResponseError) || error.code() == "WRONGTYPE"
}

fn open(settings: &Settings, address: ConnectionInfo) -> Result<Connection, Error> {
    let client = if is_tls(&address) {
        Client::build_with_tls(address, settings.certificates())?
    } else {
        Client::open(address)?
    };
    Ok(client.get_connection_with_timeout(settings.connect)?)
}

/// Connects to the primary that the first sentinel with an answer names.
///
/// (The crate's own client for sentinels waits without a limit for one that hangs.)
fn by_sentinels(
    settings: &Settings,
    sentinels: &[ConnectionInfo],
    name: &str,
) -> Result<Connection, Error> {
    let mut failure = Error::settings("no sentinel is given");
    for sentinel in sentinels {
        match by_sentinel(settings, sentinel, name) {
            Ok(connection) => return Ok(connection),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn by_sentinel(
    settings: &Settings,
    sentinel: &ConnectionInfo,
    name: &str,
) -> Result<Connection, Error> {
    let mut asked = open(settings, sentinel.clone())?;
    asked.set_read_timeout(Some(settings.answer))?;
    let named: Option<(String, u16)> =
        cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name).query(&mut asked)?;
    let (host, port) =
        named.ok_or_else(|| Error::settings("the sentinels know no primary of this name"))?;
    let address = match sentinel.addr() {
        ConnectionAddr::TcpTls { insecure, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: None }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    let mut primary = open(settings, settings.with_user(address.into_connection_info()?))?;
    primary.set_read_timeout(Some(settings.answer))?;
    // A sentinel may name an old primary for a while.
    let role: Vec<Value> = cmd("ROLE").query(&mut primary)?;
    match role.first() {
        Some(Value::BulkString(role)) if role == b"master" => Ok(primary),
        _ => Err(Error::answer("the engine that the sentinels name is no primary")),
    }
}
