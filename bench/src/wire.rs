//! A slow wire to PostgreSQL: whatever a program asks arrives late, and so each answer does.

use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;
use url::Url;

/// A wire; it is cut when this is dropped.
pub struct SlowWire {
    /// The URL of the far end, through the wire.
    pub url: String,
    carrying: JoinHandle<()>,
}

impl SlowWire {
    /// Puts a wire before the server of a URL, on which each question takes so much longer.
    pub async fn to(url: &str, delay: Duration) -> anyhow::Result<Self> {
        let mut address = Url::parse(url).context("--postgres is no URL")?;
        let host = address.host_str().context("--postgres names no host")?.to_owned();
        let server = (host, address.port().unwrap_or(5432));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let unusable = || anyhow!("--postgres must name a host and a port");
        address.set_host(Some("127.0.0.1")).map_err(|_| unusable())?;
        address.set_port(Some(listener.local_addr()?.port())).map_err(|()| unusable())?;
        let carrying = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let server = server.clone();
                connections.spawn(async move {
                    // A connection that breaks ends with both its ends; whoever uses it will say so.
                    if let Ok(far) = TcpStream::connect(server).await {
                        carry(near, far, delay).await.ok();
                    }
                });
            }
        });
        Ok(Self { url: address.into(), carrying })
    }
}

impl Drop for SlowWire {
    fn drop(&mut self) {
        self.carrying.abort();
    }
}

async fn carry(near: TcpStream, far: TcpStream, delay: Duration) -> std::io::Result<()> {
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let ((mut asked, mut answer), (mut answered, mut ask)) = (near.into_split(), far.into_split());
    let questions = async {
        // A question fits into one piece as a rule, so it is late once.
        let mut piece = vec![0; 256 << 10];
        loop {
            let length = asked.read(&mut piece).await?;
            if length == 0 {
                return ask.shutdown().await;
            }
            sleep(delay).await;
            ask.write_all(&piece[..length]).await?;
        }
    };
    let answers = async {
        copy(&mut answered, &mut answer).await?;
        answer.shutdown().await
    };
    tokio::try_join!(questions, answers).map(|_| ())
}
