//! The URL of the database: what PostgreSQL understands of it, the schema that is ours, and TLS.

use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::errors;
use crate::fault::{Fault, FaultKind};

/// The schema when the URL names none.
const DEFAULT_SCHEMA: &str = "atr";

/// How long to wait for a connection when nobody says; the driver itself would wait for ever.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the tables are, and how to get there.
#[derive(Clone)]
pub(super) struct Address {
    /// What PostgreSQL is to be told.
    pub config: Config,
    /// The schema: lower-case letters, digits and `_`, so that it needs no quotes.
    pub schema: String,
}

impl Address {
    /// Reads `postgres://user:password@host:5432/database?schema=atr&sslmode=require`.
    ///
    /// `schema` is ours, the rest is PostgreSQL's. Fails with `Invalid`; the message never holds the password.
    pub fn parse(url: &str) -> Result<Self, Fault> {
        let invalid = |why: &str| {
            let form = "postgres://user:password@host:5432/database?schema=atr";
            Fault::new(FaultKind::Invalid, format!("the PostgreSQL URL is not valid ({why}); write it as {form}"))
        };
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(invalid("it begins with another scheme"));
        }
        let (server, query) = url.split_once('?').unwrap_or((url, ""));
        let pairs = || query.split('&').filter(|pair| !pair.is_empty());
        let schema = pairs().find_map(|pair| pair.strip_prefix("schema=")).unwrap_or(DEFAULT_SCHEMA).to_owned();
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit();
        if !schema.bytes().all(plain) || !(1..=63).contains(&schema.len()) || schema.as_bytes()[0].is_ascii_digit() {
            return Err(invalid("a schema has lower-case letters, digits and _, and begins with no digit"));
        }
        let rest: Vec<&str> = pairs().filter(|pair| !pair.starts_with("schema=")).collect();
        let mut config: Config = format!("{server}?{}", rest.join("&"))
            .parse()
            .map_err(|error: tokio_postgres::Error| invalid(&errors::cause(&error)))?;
        if config.get_hosts().is_empty() {
            return Err(invalid("it names no host"));
        }
        let says = |option: &str| rest.iter().any(|pair| pair.starts_with(option));
        if !says("sslmode=") && config.get_hosts().iter().all(is_this_machine) {
            // Nobody is in between, and the certificate that distributions make for a local server is signed by itself.
            config.ssl_mode(SslMode::Disable);
        }
        if !says("application_name=") {
            config.application_name("atr");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        set(&mut config, "search_path", &schema);
        Ok(Self { config, schema })
    }

    /// The same address for the connections that read: each statement must end in `statement`, each start in `connect`.
    pub fn for_reading(mut self, connect: Duration, statement: Duration) -> Self {
        set(&mut self.config, "statement_timeout", &statement.as_millis().to_string());
        // Every read is by key. A plan that is made while the tables are small, and kept while they are filled, must not
        // be one that reads the whole of them.
        set(&mut self.config, "enable_seqscan", "off");
        set(&mut self.config, "enable_bitmapscan", "off");
        self.config.connect_timeout(connect).tcp_user_timeout(connect + statement);
        self.config.keepalives_idle(Duration::from_secs(30));
        self
    }

    /// Connects once; the connection lives as long as the client. The timeout of the driver ends with the TCP handshake,
    /// and a server that is no PostgreSQL may say nothing for ever after it.
    pub async fn connect(&self) -> Result<Client, Fault> {
        const DOING: &str = "failed to connect to PostgreSQL";
        let within = self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        match tokio::time::timeout(within, self.connect_patiently()).await {
            Ok(connected) => connected?.map_err(|error| errors::fault(DOING, &error)),
            Err(_) => Err(Fault::new(FaultKind::Unavailable, DOING).because("the server did not answer in time")),
        }
    }

    async fn connect_patiently(&self) -> Result<Result<Client, tokio_postgres::Error>, Fault> {
        // What ends a connection is what the next call on it fails with.
        if self.config.get_ssl_mode() == SslMode::Disable {
            return Ok(self.config.connect(NoTls).await.map(|(client, connection)| {
                tokio::spawn(async move { drop(connection.await) });
                client
            }));
        }
        Ok(self.config.connect(tls()?).await.map(|(client, connection)| {
            tokio::spawn(async move { drop(connection.await) });
            client
        }))
    }
}

/// TLS that trusts what the machine trusts; `SSL_CERT_FILE` names another bundle of certificates.
pub(super) fn tls() -> Result<MakeRustlsConnect, Fault> {
    // Two providers may be compiled in, then rustls does not choose. If somebody has chosen already, that is as well.
    drop(aws_lc_rs::default_provider().install_default());
    let (connector, _unreadable) = MakeRustlsConnect::with_native_certs().map_err(|errors| {
        let why = errors.first().map_or_else(|| "there are none".to_owned(), ToString::to_string);
        let doing = "failed to find root certificates for TLS to PostgreSQL (sslmode=disable does without)";
        Fault::new(FaultKind::Invalid, format!("{doing}: {why}"))
    })?;
    Ok(connector)
}

fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

/// Adds a setting that the server applies when the connection starts.
fn set(config: &mut Config, name: &str, value: &str) {
    let before = config.get_options().map(|options| format!("{options} ")).unwrap_or_default();
    config.options(format!("{before}-c {name}={value}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Address {
        Address::parse(url).unwrap_or_else(|fault| panic!("{url}: {fault}"))
    }

    #[test]
    fn the_schema_is_taken_out_of_the_url() {
        let found = address("postgres://u:p@db.example.org:5433/payer?connect_timeout=3&schema=tenant_7");
        assert_eq!((found.schema.as_str(), found.config.get_dbname()), ("tenant_7", Some("payer")));
        assert_eq!(found.config.get_connect_timeout(), Some(&Duration::from_secs(3)));
        assert_eq!(found.config.get_options(), Some("-c search_path=tenant_7"));
        assert_eq!(address("postgresql://u@h/d").schema, "atr");
    }

    #[test]
    fn tls_is_tried_unless_the_database_is_on_this_machine() {
        for (url, mode) in [
            ("postgres://u@db.example.org/d", SslMode::Prefer),
            ("postgres://u@db.example.org/d?sslmode=require", SslMode::Require),
            ("postgres://u@db.example.org/d?sslmode=disable", SslMode::Disable),
            ("postgres://u@127.0.0.1/d", SslMode::Disable),
            ("postgres://u@localhost/d", SslMode::Disable),
            ("postgres://u@127.0.0.1/d?sslmode=require", SslMode::Require),
        ] {
            assert_eq!(address(url).config.get_ssl_mode(), mode, "{url}");
        }
    }

    #[test]
    fn a_wrong_url_is_refused_without_its_password() {
        for url in [
            "mysql://u:secret@h/d",
            "postgres://u:secret@h:port/d",
            "postgres://u:secret@h/d?sslmode=perhaps",
            "postgres://u:secret@h/d?schema=Not%20This",
            "postgres://u:secret@h/d?schema=",
            "postgres://u:secret@/d",
        ] {
            let fault = Address::parse(url).err().unwrap_or_else(|| panic!("{url} was taken"));
            assert_eq!(fault.kind(), FaultKind::Invalid, "{url}");
            assert!(!fault.to_string().contains("secret"), "{fault}");
        }
    }
}
