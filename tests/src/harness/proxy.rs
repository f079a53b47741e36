//! A TCP proxy between a client and a real server, to break the wire in the ways that wires break.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use url::Url;

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
}

/// A proxy on a port of its own, until it is dropped.
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    listener: JoinHandle<()>,
}

impl Proxy {
    /// A proxy to the server of `url`, whose host and port are taken from it.
    pub async fn to(url: &str, wire: Wire) -> Self {
        let url: Url = url.parse().expect("the URL of a server");
        let port = url.port_or_known_default().or_else(|| well_known(url.scheme())).expect("a URL with a port");
        let server = format!("{}:{port}", url.host_str().expect("a URL with a host"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (state, watch) = watch::channel(State { wire, cuts: 0, silences: 0 });
        let listener = tokio::spawn(listen(listener, server, watch));
        Self { address, state, listener }
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

async fn listen(listener: TcpListener, server: String, watch: watch::Receiver<State>) {
    while let Ok((client, _)) = listener.accept().await {
        if watch.borrow().wire == Wire::Down {
            continue;
        }
        tokio::spawn(carry(client, server.clone(), watch.clone()));
    }
}

/// Carries one connection until one side ends it or it is cut. An error ends it, too: that is all a wire can say.
async fn carry(client: TcpStream, server: String, watch: watch::Receiver<State>) {
    let State { cuts, silences, .. } = *watch.borrow();
    let mut cut = watch.clone();
    let carried = async {
        until_it_passes(&mut watch.clone(), silences).await;
        let server = TcpStream::connect(server).await?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::try_join!(
            pump(from_client, to_server, watch.clone(), silences),
            pump(from_server, to_client, watch.clone(), silences)
        )
    };
    tokio::select! {
        _ = carried => {}
        // It also ends with the proxy, whose end closes the channel.
        _ = cut.wait_for(|state| state.cuts != cuts) => {}
    }
}

/// Carries one direction. Ends with an error at the end of the stream, so that the other direction ends with it.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut watch: watch::Receiver<State>,
    silences: u64,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        until_it_passes(&mut watch, silences).await;
        let wire = watch.borrow().wire;
        if let Wire::Delay(delay) = wire {
            sleep(delay).await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}

async fn until_it_passes(watch: &mut watch::Receiver<State>, silences: u64) {
    let passes = watch.wait_for(|state| state.wire != Wire::BlackHole && state.silences == silences);
    if passes.await.is_err() {
        // The proxy is gone, and `carry` is about to end this connection.
        pending::<()>().await;
    }
}
