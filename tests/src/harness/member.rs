//! A program of a site: a process, the wires between it and the servers, and what can be done to either.

use tokio::sync::oneshot;
use tokio::time::timeout;
use url::Url;

use super::programs::{Service, free_port, start_at};
use super::proxy::{Proxy, Wire};
use super::signal::signal;
use super::system::PATIENCE;
use super::tripwire::Place;

/// The servers that a program speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// The job store: Redis.
    Jobs,
    /// The queue: RabbitMQ.
    Queue,
    /// The source: PostgreSQL.
    Source,
    /// The object store: S3.
    Outputs,
}

impl Server {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Jobs, Self::Queue, Self::Source, Self::Outputs];

    fn variable(self) -> &'static str {
        match self {
            Self::Jobs => "ATR_JOBS_URL",
            Self::Queue => "ATR_QUEUE_URL",
            Self::Source => "ATR_SOURCE_URL",
            Self::Outputs => "ATR_OUTPUTS_URL",
        }
    }
}

/// A program and its wires.
pub struct Member {
    /// The port of the API; of a worker, nobody listens there.
    pub port: u16,
    program: String,
    variables: Vec<(&'static str, String)>,
    wires: Vec<(Server, Proxy)>,
    service: Option<Service>,
}

impl Member {
    /// Starts a program with these variables, in which the servers are as they are without a wire.
    pub async fn start(program: &str, variables: &[(&'static str, String)]) -> Self {
        let mut variables = variables.to_vec();
        let mut wires = Vec::new();
        for server in Server::ALL {
            let place = variables.iter_mut().find(|(name, _)| *name == server.variable());
            let (_, url) = place.expect("every server has a URL");
            let proxy;
            (proxy, *url) = wire(server, url).await;
            wires.push((server, proxy));
        }
        let port = free_port();
        let service = Some(start_at(program, &variables, port).await);
        Self { port, program: program.to_owned(), variables, wires, service }
    }

    /// The wire to a server.
    pub fn wire(&self, server: Server) -> &Proxy {
        let found = self.wires.iter().find(|(to, _)| *to == server);
        found.map(|(_, proxy)| proxy).expect("there is a wire to each")
    }

    /// Sends the process a signal, if it runs.
    pub fn signal(&self, name: &str) {
        if let Some(id) = self.service.as_ref().and_then(|service| service.process.id()) {
            signal(name, i64::from(id));
        }
    }

    /// Kills the process with nothing said to anybody; its connections end as those of a dead process do.
    pub async fn kill(&mut self) {
        if let Some(mut service) = self.service.take() {
            service.process.kill().await.expect("it was started here");
        }
        self.heal();
        for (_, wire) in &self.wires {
            wire.cut();
        }
    }

    /// Starts the program again after it was killed or terminated.
    pub async fn start_again(&mut self) {
        self.service = Some(start_at(&self.program, &self.variables, self.port).await);
    }

    /// Ends the process in good order and starts another program in its place.
    pub async fn becomes(&mut self, program: &str) {
        assert!(self.terminate().await, "SIGTERM ends a program well");
        program.clone_into(&mut self.program);
        self.start_again().await;
    }

    /// Ends the process with SIGTERM and answers whether it ended well.
    pub async fn terminate(&mut self) -> bool {
        match self.service.take() {
            Some(service) => service.terminate().await,
            None => true,
        }
    }

    /// Lets every wire carry everything again.
    pub fn heal(&self) {
        for (_, wire) in &self.wires {
            wire.disarm();
            wire.set(Wire::Pass);
        }
    }

    /// Waits until the process ends that was told to; answers whether it ended well.
    pub async fn ends(&mut self) -> bool {
        let mut service = self.service.take().expect("only a program that runs can end");
        let ended = timeout(PATIENCE, service.process.wait()).await.expect("a program that is told to stop stops");
        ended.expect("it was started here").success()
    }

    /// The sum of a metric over those of its lines that hold `part`.
    pub async fn metric(&self, name: &str, part: &str) -> f64 {
        self.service.as_ref().expect("only a program that runs is asked").metric(name, part).await
    }

    /// The admin port.
    pub fn admin_port(&self) -> u16 {
        self.service.as_ref().expect("only a program that runs is asked").admin_port
    }

    /// Waits until the process answers again, after it stood still.
    pub async fn is_awake(&self) {
        let service = self.service.as_ref().expect("only a program that runs can be awake");
        let live = format!("http://127.0.0.1:{}/health/live", service.admin_port);
        let answer = timeout(PATIENCE, reqwest::get(live)).await.expect("a program that goes on answers");
        answer.expect("it listens");
    }
}

/// Arms the wires of several programs.
pub fn arm(members: &[Member], server: Server, place: &Place) -> Vec<oneshot::Receiver<()>> {
    members.iter().map(|member| member.wire(server).arm(place.clone())).collect()
}

/// Waits for the first of them, and lets the wires of the others be.
pub async fn arrival(members: &[Member], server: Server, armed: Vec<oneshot::Receiver<()>>, what: &str) -> usize {
    let first = timeout(PATIENCE, futures_util::future::select_all(armed)).await;
    let Ok((Ok(()), at, _)) = first else { panic!("nobody came to this place: {what}") };
    for (number, member) in members.iter().enumerate() {
        if number != at {
            member.wire(server).disarm();
        }
    }
    at
}

/// A wire to the server of a URL, and the URL by way of it.
async fn wire(server: Server, url: &str) -> (Proxy, String) {
    if server != Server::Outputs {
        let proxy = Proxy::to(url, Wire::Pass).await;
        let url = proxy.url(url);
        return (proxy, url);
    }
    let mut address: Url = url.parse().expect("the address of a bucket is a URL");
    let pairs: Vec<(String, String)> = address.query_pairs().into_owned().collect();
    let (_, endpoint) = pairs.iter().find(|(name, _)| name == "endpoint").expect("a store of a test has an endpoint");
    let proxy = Proxy::to(endpoint, Wire::Pass).await;
    let local = proxy.url(endpoint);
    address
        .query_pairs_mut()
        .clear()
        .extend_pairs(pairs.iter().map(|(name, value)| (name, if name == "endpoint" { &local } else { value })));
    (proxy, address.into())
}
