//! A link: one connection with one channel, on which both queues are declared.
//!
//! lapin runs each connection on a thread of its own and has no deadline for the handshake or for closing, so against a
//! broker that accepts and then says nothing each attempt would leave a thread and a socket behind. Therefore a link keeps a
//! second handle to its socket and cuts it: when an attempt is given up, and when a close is not answered.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::tcp::{AsyncTcpStream, TLSConfig};
use lapin::types::{FieldTable, ShortString};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};
use tokio::runtime::Handle;
use tokio::time::timeout;
use url::{Host, Url};
use uuid::Uuid;

use super::{RabbitSettings, queue_names};
use crate::fault::{Fault, FaultKind};
use crate::queue::Depth;

/// How long a broker has to answer a polite close.
const GOODBYE: Duration = Duration::from_secs(5);

/// The longest pause between two attempts to connect.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The name that the broker's operator sees on connections and messages.
pub(super) const APP: &str = "davinci-atr-export";

/// Where the broker is, and what our queues are called there.
pub(super) struct Broker {
    uri: AMQPUri,
    namespace: String,
    pub(super) tasks: ShortString,
    pub(super) dead: ShortString,
    pub(super) confirm_timeout: Duration,
    pub(super) connect_timeout: Duration,
}

impl Broker {
    /// Fails with `Invalid`, and never with a message that holds the URL.
    pub(super) fn new(settings: &RabbitSettings) -> Result<Self, Fault> {
        let namespace = settings.namespace.clone();
        if namespace.is_empty() || namespace.len() > 128 {
            return Err(Fault::new(FaultKind::Invalid, "a queue's namespace has 1 to 128 bytes"));
        }
        let mut uri = parse(&settings.url)
            .map_err(|reason| Fault::new(FaultKind::Invalid, format!("the queue's URL cannot be used: {reason}")))?;
        uri.query.heartbeat = Some(settings.heartbeat_seconds);
        let [tasks, dead] = queue_names(&namespace, settings.lane);
        Ok(Self {
            uri,
            tasks: tasks.into(),
            dead: dead.into(),
            namespace,
            confirm_timeout: settings.confirm_timeout,
            connect_timeout: settings.connect_timeout,
        })
    }

    /// Connects and declares the queues. Dropping the future gives the attempt up and leaves nothing behind.
    pub(super) async fn link(&self, role: &str) -> lapin::Result<Link> {
        let socket = Socket::default();
        let connection = self.connect(role, &socket).await?;
        let channel = connection.create_channel().await?;
        self.declare(&channel).await?;
        Ok(Link { channel, held: Some((connection, socket)) })
    }

    /// Sees to it that both queues are there, and says how many messages are ready in each.
    pub(super) async fn declare(&self, channel: &Channel) -> lapin::Result<Depth> {
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        // The dead letters first, so that a message that dies always has a place to go to.
        let dead = channel.queue_declare(self.dead.clone(), durable, quorum()).await?;
        let tasks = channel.queue_declare(self.tasks.clone(), durable, self.task_arguments()).await?;
        Ok(Depth { waiting: tasks.message_count().into(), dead: dead.message_count().into() })
    }

    /// The arguments of the task queue. They cannot be changed once the queue is there: other ones need another name (`v2`).
    ///
    /// There is no delivery limit on purpose: attempts are counted in the job store, at the start of each, while the broker
    /// also counts a delivery when a pod is evicted, and would bury a healthy task after a few rolling restarts.
    fn task_arguments(&self) -> FieldTable {
        let mut arguments = quorum();
        for (name, value) in [
            ("x-dead-letter-exchange", ""),
            ("x-dead-letter-routing-key", self.dead.as_str()),
            // A dead letter is confirmed by its new queue before the old one forgets it.
            ("x-dead-letter-strategy", "at-least-once"),
            // What the strategy demands, and what makes a full queue say so instead of dropping its oldest message.
            ("x-overflow", "reject-publish"),
        ] {
            arguments.insert(name.into(), text(value));
        }
        arguments
    }

    async fn connect(&self, role: &str, socket: &Socket) -> lapin::Result<Connection> {
        let name = format!("{APP} {} {role}", self.namespace);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let socket = socket.clone_for_connect();
        let limit = self.connect_timeout;
        Connection::connector(
            self.uri.clone(),
            lapin::runtime::default_runtime()?,
            async move |uri: AMQPUri, runtime| {
                // lapin's thread runs this, and goes on with it after the attempt is given up: hence a limit here, too.
                let opened = async {
                    let addresses: Vec<_> =
                        tokio::net::lookup_host((uri.authority.host.as_str(), uri.authority.port)).await?.collect();
                    let stream = AsyncTcpStream::connect(&runtime, addresses).await?;
                    if let AsyncTcpStream::Plain(plain) = &stream {
                        // A publish is a few small frames, each of which waits for an answer.
                        plain.get_ref().set_nodelay(true)?;
                        socket.hold(TcpStream::from(plain.get_ref().as_fd().try_clone_to_owned()?))?;
                    }
                    match uri.scheme {
                        AMQPScheme::AMQP => Ok(stream),
                        AMQPScheme::AMQPS => stream.into_tls(&uri.authority.host, TLSConfig::default()).await,
                    }
                };
                timeout(limit, opened).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(Into::into)
            },
            properties,
        )
        .await
    }
}

/// A connection with one channel.
pub(super) struct Link {
    pub(super) channel: Channel,
    held: Option<(Connection, Socket)>,
}

impl Link {
    /// Whether it can be used, as far as this side knows.
    pub(super) fn is_open(&self) -> bool {
        self.channel.status().connected()
    }

    /// Whether the broker has asked its publishers to stop: it is short of memory or disk.
    pub(super) fn is_blocked(&self) -> bool {
        self.held.as_ref().is_some_and(|(connection, _)| connection.status().blocked())
    }
}

impl Drop for Link {
    /// Closes politely, then cuts. What was not acknowledged goes back to the queue either way.
    fn drop(&mut self) {
        let (Some((connection, socket)), Ok(runtime)) = (self.held.take(), Handle::try_current()) else { return };
        runtime.spawn(async move {
            // A refusal means that the connection is gone already.
            let _ = timeout(GOODBYE, connection.close(200, "goodbye".into())).await;
            drop(socket);
        });
    }
}

/// A second handle to the socket of a connection, which is shut down with it.
#[derive(Default)]
struct Socket(Arc<Mutex<Held>>);

#[derive(Default)]
enum Held {
    /// Not connected yet.
    #[default]
    Nothing,
    Socket(TcpStream),
    /// Given up: a socket that comes later is not wanted.
    Cut,
}

/// The end of a [`Socket`] that lapin's thread has; dropping it cuts nothing.
struct SocketSlot(Arc<Mutex<Held>>);

impl Socket {
    fn clone_for_connect(&self) -> SocketSlot {
        SocketSlot(Arc::clone(&self.0))
    }
}

impl SocketSlot {
    fn hold(&self, socket: TcpStream) -> io::Result<()> {
        let mut held = self.0.lock().expect("nothing panics while it holds this lock");
        if matches!(*held, Held::Cut) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        *held = Held::Socket(socket);
        Ok(())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut held = self.0.lock().expect("nothing panics while it holds this lock");
        if let Held::Socket(socket) = std::mem::replace(&mut *held, Held::Cut) {
            // It fails when the other side has closed it already, which is as good.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Waits for an answer of the broker, and not longer than `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    doing: &str,
    work: impl Future<Output = lapin::Result<T>>,
) -> Result<T, Fault> {
    match timeout(limit, work).await {
        Ok(result) => result.map_err(|error| fault(doing, &error)),
        Err(_) => Err(no_answer(doing, limit)),
    }
}

/// The fault of a broker that is silent.
pub(super) fn no_answer(doing: &str, limit: Duration) -> Fault {
    Fault::new(FaultKind::Unavailable, doing).because(format!("no answer from the broker within {limit:?}"))
}

/// The fault that an error of lapin's is.
pub(super) fn fault(doing: &str, error: &lapin::Error) -> Fault {
    let kind = match error.kind() {
        // ACCESS_REFUSED, PRECONDITION_FAILED (the queue is there with other arguments), NOT_ALLOWED (no such vhost).
        ErrorKind::ProtocolError(refusal) if matches!(refusal.get_id(), 403 | 406 | 530) => FaultKind::Invalid,
        ErrorKind::AuthProviderError(_) => FaultKind::Invalid,
        _ => FaultKind::Unavailable,
    };
    // As text: lapin's errors show their source themselves, and it would be said twice.
    Fault::new(kind, doing).because(error.to_string())
}

/// How long to wait after `failures` attempts in a row: 0.1 s, doubled each time up to 5 s, of which a random half is left
/// out so that a hundred workers do not come back in the same moment.
pub(super) fn pause(failures: u32) -> Duration {
    jittered(failures, Uuid::new_v4().as_bytes()[0])
}

fn jittered(failures: u32, random: u8) -> Duration {
    let full = Duration::from_millis(100).saturating_mul(1 << failures.clamp(1, 10) >> 1).min(LONGEST_PAUSE);
    full / 2 + full / 2 * u32::from(random) / 255
}

/// Reads the URL; the reason of a failure never holds a part of it.
fn parse(text: &str) -> Result<AMQPUri, &'static str> {
    let url = Url::parse(text).map_err(|_| "it is not a URL")?;
    if !matches!(url.scheme(), "amqp" | "amqps") {
        return Err("it does not begin with amqp:// or amqps://");
    }
    let host = url.host().ok_or("it names no host")?;
    let mut uri: AMQPUri = text.parse().map_err(|_| "it is not of the form amqp://user:password@host:port/vhost")?;
    if let Host::Ipv6(address) = host {
        // lapin's own parser takes `localhost` for it, without a word.
        uri.authority.host = address.to_string();
    }
    Ok(uri)
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments
}

fn text(value: &str) -> lapin::types::AMQPValue {
    lapin::types::AMQPValue::LongString(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::Lane;

    fn broker(url: &str) -> Result<Broker, Fault> {
        Broker::new(&RabbitSettings {
            url: url.to_owned(),
            namespace: "n".to_owned(),
            lane: Lane::Bulk,
            confirm_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            heartbeat_seconds: 10,
        })
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_without_showing_its_password() {
        for url in [
            "amqp//guest:secret@broker",
            "http://guest:secret@broker",
            "amqp:guest:secret@broker",
            "amqp:///guest:secret",
            "amqp://guest:secret@broker:port/",
            "amqp://guest:secret@broker?frame_max=secret",
        ] {
            let fault = broker(url).err().expect(url);
            assert_eq!(fault.kind(), FaultKind::Invalid, "{url}");
            assert!(!fault.to_string().contains("secret"), "{fault}");
        }
    }

    #[test]
    fn a_url_says_where_the_broker_is() {
        for (url, host, port, vhost) in [
            ("amqp://broker", "broker", 5672, "/"),
            ("amqps://u:p@broker/%2f", "broker", 5671, "/"),
            ("amqp://10.0.0.1:7000/tenant", "10.0.0.1", 7000, "tenant"),
            ("amqp://[fd00::1]:7000/tenant", "fd00::1", 7000, "tenant"),
        ] {
            let uri = broker(url).expect(url).uri;
            assert_eq!((uri.authority.host.as_str(), uri.authority.port, uri.vhost.as_str()), (host, port, vhost));
            assert_eq!(uri.query.heartbeat, Some(10));
        }
    }

    #[test]
    fn pauses_grow_to_their_bound_and_differ() {
        let longest: Vec<_> = (1..=8).map(|failures| jittered(failures, 255).as_millis()).collect();
        assert_eq!(longest, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(jittered(1, 0), Duration::from_millis(50));
        assert_eq!(jittered(u32::MAX, 0), LONGEST_PAUSE / 2);
    }
}
