//! A TCP proxy between a client and a real server, to break the wire in the ways that wires break.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use url::Url;

use super::tripwire::{Armed, Event, Place, Scan, Side};

/// What the wire does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Carries everything.
    Pass,
    /// Carries everything, each piece this much later.
    Delay(Duration),
    /// Carries nothing and says nothing; what was sent meanwhile arrives when it passes again, as TCP would have it.
    /// New connections are accepted, as by a server that has stopped: its kernel goes on taking them.
    BlackHole,
    /// Ends every connection as soon as it is made: the server is down.
    Down,
}

#[derive(Clone, Copy)]
struct State {
    wire: Wire,
    /// How often the connections have been cut; one that is older than the last cut ends.
    cuts: u64,
    /// How often they have been silenced; one that is older than the last time carries nothing more.
    silences: u64,
    /// How often those that were held at a place have been let go.
    releases: u64,
}

/// A proxy on a port of its own, until it is dropped.
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    tripwire: Tripwire,
    listener: JoinHandle<()>,
}

/// The place on the wire at which something is to happen, if there is one.
type Tripwire = Arc<Mutex<Option<Armed>>>;

impl Proxy {
    /// A proxy to the server of `url`, whose host and port are taken from it.
    pub async fn to(url: &str, wire: Wire) -> Self {
        let url: Url = url.parse().expect("the URL of a server");
        let port = url.port_or_known_default().or_else(|| well_known(url.scheme())).expect("a URL with a port");
        let server = format!("{}:{port}", url.host_str().expect("a URL with a host"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (state, watch) = watch::channel(State { wire, cuts: 0, silences: 0, releases: 0 });
        let tripwire = Tripwire::default();
        let listener = tokio::spawn(listen(listener, server, watch, Arc::clone(&tripwire)));
        Self { address, state, tripwire, listener }
    }

    /// The same URL, by way of this proxy.
    pub fn url(&self, url: &str) -> String {
        let mut url: Url = url.parse().expect("the URL of a server");
        url.set_host(Some(&self.address.ip().to_string())).expect("it had a host");
        url.set_port(Some(self.address.port())).expect("it had a host");
        url.into()
    }

    /// What the wire does from now on, to the connections that are there and to new ones.
    pub fn set(&self, wire: Wire) {
        self.state.send_modify(|state| state.wire = wire);
        if wire == Wire::Down {
            self.cut();
        }
    }

    /// Waits until what goes over the wire comes to this place. The connection that came there carries nothing more from
    /// then on, until it is released or cut; the others go on.
    pub fn arm(&self, place: Place) -> oneshot::Receiver<()> {
        let (armed, tripped) = Armed::new(place);
        *self.tripwire.lock().unwrap_or_else(PoisonError::into_inner) = Some(armed);
        tripped
    }

    /// Waits for nothing any more, and ends the connections that are held.
    pub fn disarm(&self) {
        let armed = self.tripwire.lock().unwrap_or_else(PoisonError::into_inner).take();
        if armed.is_some_and(|armed| armed.has_tripped()) {
            self.cut();
        }
    }

    /// Lets the connection go that is held at a place: what was kept arrives now.
    pub fn release(&self) {
        self.tripwire.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.state.send_modify(|state| state.releases += 1);
    }

    /// Ends the connections that are there, at once and on both sides. New ones go as before.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Lets the connections that are there fall silent for ever, as when a firewall forgets them. New ones go as before.
    pub fn silence(&self) {
        self.state.send_modify(|state| state.silences += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.listener.abort();
    }
}

fn well_known(scheme: &str) -> Option<u16> {
    match scheme {
        "amqp" => Some(5672),
        "redis" => Some(6379),
        "postgres" | "postgresql" => Some(5432),
        _ => None,
    }
}

async fn listen(listener: TcpListener, server: String, watch: watch::Receiver<State>, tripwire: Tripwire) {
    while let Ok((client, _)) = listener.accept().await {
        if watch.borrow().wire == Wire::Down {
            continue;
        }
        let wire = Connection {
            silences: watch.borrow().silences,
            watch: watch.clone(),
            tripwire: Arc::clone(&tripwire),
            held_until: Arc::default(),
        };
        tokio::spawn(carry(client, server.clone(), wire));
    }
}

/// What both directions of a connection go by.
#[derive(Clone)]
struct Connection {
    /// How often the wire had been silenced when it was made.
    silences: u64,
    watch: watch::Receiver<State>,
    tripwire: Tripwire,
    /// The number of the release that it waits for since it came to the place of the tripwire; before, 0.
    held_until: Arc<AtomicU64>,
}

/// Carries one connection until one side ends it or it is cut. An error ends it, too: that is all a wire can say.
async fn carry(client: TcpStream, server: String, connection: Connection) {
    let mut cut = connection.watch.clone();
    let cuts = cut.borrow().cuts;
    let carried = async {
        connection.clone().until_it_passes().await;
        let server = TcpStream::connect(server).await?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::try_join!(
            pump(from_client, to_server, connection.clone(), Side::Client),
            pump(from_server, to_client, connection.clone(), Side::Server)
        )
    };
    tokio::select! {
        _ = carried => {}
        // It also ends with the proxy, whose end closes the channel.
        _ = cut.wait_for(|state| state.cuts != cuts) => {}
    }
}

/// Carries what one side sends. Ends with an error at the end of the stream, so that the other direction ends with it.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut connection: Connection,
    side: Side,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut scan = Scan::of(side);
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let piece = &buffer[..read];
        connection.until_it_passes().await;
        if let Wire::Delay(delay) = connection.wire() {
            sleep(delay).await;
        }
        let event = connection.sees(&mut scan, piece);
        if event == Some(Event::Keep) {
            connection.until_it_passes().await;
        }
        to.write_all(piece).await?;
        if event == Some(Event::LastPiece) {
            connection.until_it_passes().await;
        }
    }
}

impl Connection {
    fn wire(&self) -> Wire {
        self.watch.borrow().wire
    }

    async fn until_it_passes(&mut self) {
        let silences = self.silences;
        let passes = self.watch.wait_for(|state| {
            state.wire != Wire::BlackHole
                && state.silences == silences
                && state.releases >= self.held_until.load(Ordering::SeqCst)
        });
        if passes.await.is_err() {
            // The proxy is gone, and `carry` is about to end this connection.
            pending::<()>().await;
        }
    }

    /// Looks at a piece that is about to be carried, and holds the connection when it comes to the place of the tripwire.
    fn sees(&self, scan: &mut Scan, piece: &[u8]) -> Option<Event> {
        let mut armed = self.tripwire.lock().unwrap_or_else(PoisonError::into_inner);
        let event = armed.as_mut()?.sees(scan, piece)?;
        self.held_until.store(self.watch.borrow().releases + 1, Ordering::SeqCst);
        Some(event)
    }
}
