//! What each setting must hold, and what follows from several of them: URLs, files, the audit trail.

use std::fmt;
use std::path::PathBuf;

use url::Url;

use super::{Access, AuditStream, Links, OWN_TOKEN_PATH, Settings, WrongSetting};
use crate::fhir::OwnBases;
use crate::wire;

impl Settings {
    /// Checks what the types of the settings leave open.
    pub(super) fn check(&self) -> Result<(), WrongSetting> {
        let at_least_one = [
            ("jobs_per_client", self.jobs_per_client),
            ("polls_per_minute", u64::from(self.polls_per_minute)),
            ("poll_burst", u64::from(self.poll_burst)),
            ("link_seconds", self.link_seconds),
            ("retention_seconds", self.retention_seconds),
            ("slice_ids", self.slice_ids),
            ("page_ids", u64::from(self.page_ids)),
            ("file_bytes", self.file_bytes),
            ("window", u64::from(self.window)),
            ("permits", u64::from(self.permits)),
            ("express_permits", u64::from(self.express_permits)),
            ("task_attempts", u64::from(self.task_attempts)),
            ("unpublished_due_seconds", self.unpublished_due_seconds),
            ("published_due_seconds", self.published_due_seconds),
            ("working_due_seconds", self.working_due_seconds),
            ("janitor_seconds", self.janitor_seconds),
            ("source_connections", self.source_connections as u64),
            ("source_request_ids", self.source_request_ids as u64),
            ("source_answer_seconds", self.source_answer_seconds),
            ("call_seconds", self.call_seconds),
            ("upload_seconds", self.upload_seconds),
            ("body_bytes", self.body_bytes as u64),
            ("grace_seconds", self.grace_seconds),
            ("reload_seconds", self.reload_seconds),
            ("fetch_keys_seconds", self.fetch_keys_seconds),
        ];
        for (name, value) in at_least_one {
            if value == 0 {
                return Err(WrongSetting::of(name, "it must be 1 or more"));
            }
        }
        if self.part_bytes < 5 << 20 {
            return Err(WrongSetting::of("part_bytes", "S3 takes no part under 5 MiB (5242880)"));
        }
        if self.namespace.is_empty()
            || !self.namespace.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        {
            return Err(WrongSetting::of("namespace", "it is made of letters, digits, '-' and '_'"));
        }
        if !(0.0..=1.0).contains(&self.trace_ratio) {
            return Err(WrongSetting::of("trace_ratio", "it must be a number from 0 to 1"));
        }
        self.otlp_endpoint()?;
        self.check_access()?;
        self.audit_stream()?;
        self.tls_files()?;
        self.token_endpoint()?;
        self.source_server()?;
        self.public_base().map(|_| ())
    }

    /// Whether callers need an access token.
    #[must_use]
    pub fn asks_for_tokens(&self) -> bool {
        matches!(self.access, Some(Access::Smart | Access::External))
    }

    /// How clients download. Where tokens are asked for, ATR has files ask for them too (standards §5.1).
    #[must_use]
    pub fn link_mode(&self) -> Links {
        self.links.unwrap_or(if self.asks_for_tokens() { Links::Gated } else { Links::Signed })
    }

    /// Tokens go with every request: whoever hears one may use it.
    fn check_access(&self) -> Result<(), WrongSetting> {
        if !self.asks_for_tokens() {
            return Ok(());
        }
        if self.public_url.is_empty() {
            let what = "it is not set; with access tokens it must be, as clients see it";
            return Err(WrongSetting::of("public_url", what));
        }
        let base = self.public_base()?;
        for (name, url) in [("public_url", Some(base)), ("token_url", self.token_endpoint()?)] {
            if url.is_some_and(|url| wire::is_exposed(&url)) {
                return Err(WrongSetting::of(name, "it must be https://…: access tokens are not sent in the clear"));
            }
        }
        Ok(())
    }

    /// The certificate of the API and its key; `None` when it speaks plain HTTP.
    pub fn tls_files(&self) -> Result<Option<[PathBuf; 2]>, WrongSetting> {
        let files = [&self.tls_certificate_file, &self.tls_key_file];
        let [certificate, key] = files.map(|file| !file.as_os_str().is_empty());
        let speaks_tls = both_or_neither(("tls_certificate_file", certificate), ("tls_key_file", key))?;
        Ok(speaks_tls.then(|| files.map(Clone::clone)))
    }

    /// Where the audit trail goes.
    pub fn audit_stream(&self) -> Result<AuditStream, WrongSetting> {
        match self.audit.as_str() {
            "stdout" => Ok(AuditStream::Stdout),
            "none" if self.audit_required => {
                Err(WrongSetting::of("audit", "it is none, and ATR_AUDIT_REQUIRED asks for one"))
            }
            "none" => Ok(AuditStream::None),
            other => match other.strip_prefix("file:").filter(|path| !path.is_empty()) {
                Some(path) => Ok(AuditStream::File(PathBuf::from(path))),
                None => Err(WrongSetting::of("audit", "it must be stdout, file:PATH, or none")),
            },
        }
    }

    /// Where spans are sent to; `None` when they are sent nowhere.
    pub fn otlp_endpoint(&self) -> Result<Option<Url>, WrongSetting> {
        if self.otlp_url.is_empty() {
            return Ok(None);
        }
        let text = format!("{}/v1/traces", self.otlp_url.trim_end_matches('/'));
        let url = Url::parse(&text).map_err(|error| WrongSetting::of("otlp_url", error))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || url.query().is_some() {
            return Err(WrongSetting::of("otlp_url", "it must be http(s)://host:port, the base of OTLP over HTTP"));
        }
        Ok(Some(url))
    }

    /// This server's own token endpoint.
    pub fn own_token_endpoint(&self) -> Result<Url, WrongSetting> {
        let base = self.public_base()?;
        let text = format!("{}/{OWN_TOKEN_PATH}", base.as_str().trim_end_matches('/'));
        Url::parse(&text).map_err(|error| WrongSetting::of("public_url", error))
    }

    /// Where clients get access tokens; `None` when none are asked for.
    ///
    /// This server's own endpoint lies below its base, and may have another name from outside.
    pub fn token_endpoint(&self) -> Result<Option<Url>, WrongSetting> {
        match self.access {
            Some(Access::Smart) if self.token_url.is_empty() => {
                return self.own_token_endpoint().map(Some);
            }
            Some(Access::External) if self.token_url.is_empty() => {
                let what = "it is not set; with access = external it tells clients where their tokens come from";
                return Err(WrongSetting::of("token_url", what));
            }
            _ if self.token_url.is_empty() => return Ok(None),
            _ => {}
        }
        let url = Url::parse(&self.token_url).map_err(|error| WrongSetting::of("token_url", error))?;
        if !matches!(url.scheme(), "http" | "https") || url.fragment().is_some() {
            return Err(WrongSetting::of("token_url", "it must be http(s)://host/path, without a fragment"));
        }
        Ok(Some(url))
    }

    /// The FHIR base as clients see it, without a slash at the end. Without a setting, the listen address and `/fhir`.
    pub fn public_base(&self) -> Result<Url, WrongSetting> {
        let wrong = |what: &dyn fmt::Display| WrongSetting::of("public_url", what);
        let speaks_tls = !self.tls_certificate_file.as_os_str().is_empty();
        let scheme = if speaks_tls { "https" } else { "http" };
        let text = if self.public_url.is_empty() {
            format!("{scheme}://{}/fhir", self.listen)
        } else {
            self.public_url.clone()
        };
        let url = Url::parse(text.trim_end_matches('/')).map_err(|error| wrong(&error))?;
        let is_nowhere = |host: url::Host<&str>| match host {
            url::Host::Ipv4(address) => address.is_unspecified(),
            url::Host::Ipv6(address) => address.is_unspecified(),
            url::Host::Domain(_) => false,
        };
        if self.public_url.is_empty() && url.host().is_some_and(is_nowhere) {
            return Err(wrong(&"it is not set, and ATR_LISTEN is no address that a client could be told"));
        }
        let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !plain {
            return Err(wrong(&"it must be http(s)://host/path, without a user, a query or a fragment"));
        }
        if speaks_tls && url.scheme() != "https" {
            return Err(wrong(&"it must be https://…: with ATR_TLS_CERTIFICATE_FILE the API speaks TLS"));
        }
        Ok(url)
    }

    /// The base URLs that absolute references to this server's own resources begin with.
    pub fn own_bases(&self) -> Result<OwnBases, WrongSetting> {
        let public = self.public_base()?.to_string();
        let others = self.own_urls.split(',').map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned);
        // What a FHIR server refers to below its own base is there.
        let source = self.source_server()?.map(|server| server.base.into());
        Ok(OwnBases::new(std::iter::once(public).chain(others).chain(source)))
    }
}

/// Whether two settings, of which each says nothing without the other, are set; each comes with its name.
pub(super) fn both_or_neither(one: (&str, bool), other: (&str, bool)) -> Result<bool, WrongSetting> {
    let missing = |name: &str, set: &str| {
        Err(WrongSetting::of(name, format!("it is not set, and ATR_{} is", set.to_uppercase())))
    };
    match (one, other) {
        ((_, true), (_, true)) => Ok(true),
        ((_, false), (_, false)) => Ok(false),
        ((set, true), (name, false)) | ((name, false), (set, true)) => missing(name, set),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::*;

    #[test]
    fn tokens_are_asked_for_only_where_nobody_can_hear_them() {
        let token_endpoint = |public: &str| {
            let settings = read(&[("ATR_ACCESS", "smart"), ("ATR_PUBLIC_URL", public)])?;
            let url = settings.token_endpoint().map_err(|error| error.to_string())?;
            Ok::<_, String>(url.map(String::from).unwrap_or_default())
        };
        let own = "https://api.example.org/r4/auth/token".to_owned();
        assert_eq!(token_endpoint("https://api.example.org/r4/"), Ok(own));
        assert_eq!(token_endpoint("http://127.0.0.1:80/fhir"), Ok("http://127.0.0.1/fhir/auth/token".to_owned()));
        for public in ["", "http://api.example.org/r4", "http://localhost.example.org/r4", "http://10.0.0.1/fhir"] {
            let problem = token_endpoint(public).expect_err(public);
            assert!(problem.contains("ATR_PUBLIC_URL"), "{problem}");
        }
    }

    #[test]
    fn with_tokens_of_others_clients_are_told_where_to_get_them_over_https() {
        let external = |token_url: &str| {
            let settings =
                [("ATR_ACCESS", "external"), ("ATR_PUBLIC_URL", "https://a.org/r4"), ("ATR_TOKEN_URL", token_url)];
            read(&settings).map(|settings| settings.link_mode())
        };
        assert_eq!(external("https://login.example.org/token"), Ok(Links::Gated), "as the files of ATR are");
        for token_url in ["", "http://login.example.org/token"] {
            let problem = external(token_url).expect_err(token_url);
            assert!(problem.contains("ATR_TOKEN_URL"), "{problem}");
        }
    }

    #[test]
    fn a_server_on_all_addresses_is_told_which_one_clients_call() {
        let base = |listen, public| read(&[("ATR_LISTEN", listen), ("ATR_PUBLIC_URL", public)]).map(|_| ());
        for listen in ["0.0.0.0:8080", "[::]:8080"] {
            assert!(base(listen, "").is_err_and(|problem| problem.contains("ATR_PUBLIC_URL")), "{listen}");
            assert_eq!(base(listen, "http://127.0.0.1:8080/fhir"), Ok(()), "{listen}");
        }
    }

    #[test]
    fn a_server_that_speaks_tls_says_so_in_its_urls() {
        let base = |public: &str| {
            let files = [("ATR_TLS_CERTIFICATE_FILE", "tls.crt"), ("ATR_TLS_KEY_FILE", "tls.key")];
            let settings = read(&[&files[..], &[("ATR_PUBLIC_URL", public)]].concat())?;
            settings.public_base().map(String::from).map_err(|error| error.to_string())
        };
        assert_eq!(base(""), Ok("https://127.0.0.1:8080/fhir".to_owned()));
        assert!(base("http://127.0.0.1:8080/fhir").is_err_and(|problem| problem.contains("ATR_PUBLIC_URL")));
    }

    #[test]
    fn spans_go_below_the_base_that_is_set() {
        let endpoint = |url: &str| {
            let settings = read(&[("ATR_OTLP_URL", url)])?;
            settings.otlp_endpoint().map(|url| url.map(String::from)).map_err(|error| error.to_string())
        };
        assert_eq!(endpoint(""), Ok(None));
        assert_eq!(endpoint("http://otel:4318/"), Ok(Some("http://otel:4318/v1/traces".to_owned())));
        assert!(endpoint("otel:4317").is_err_and(|problem| problem.contains("ATR_OTLP_URL")));
        let ratio = read(&[("ATR_TRACE_RATIO", "1.5")]);
        assert!(ratio.is_err_and(|problem| problem.contains("ATR_TRACE_RATIO: it must be a number from 0 to 1")));
    }

    #[test]
    fn an_audit_trail_that_is_required_has_to_go_somewhere() {
        let lost = read(&[("ATR_AUDIT", "none"), ("ATR_AUDIT_REQUIRED", "true")]);
        assert!(lost.is_err_and(|problem| problem.contains("ATR_AUDIT")));
    }
}
