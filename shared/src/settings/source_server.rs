//! The payer's FHIR server, and who this system is to it: what the settings whose names begin with `source` say of that.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::Url;

use super::rules::both_or_neither;
use super::{SOURCE_SCOPE, Settings, WrongSetting};
use crate::wire;

/// The settings that say something of a client, and nothing without one.
const OF_CLIENT: [&str; 2] = ["source_token_url", "source_scope"];

type UserAndPassword = (String, String);

/// The payer's FHIR server, when it is the source.
pub struct SourceServer {
    /// Its base, without a user.
    pub base: Url,
    /// Who this system is to it.
    pub access: SourceAccess,
    /// The certificate of this system as a client, with its chain, and the private key.
    pub certificate_and_key: Option<[PathBuf; 2]>,
}

/// Who this system is to that server: what its requests say in `Authorization`.
pub enum SourceAccess {
    /// Nothing is said.
    Nobody,
    /// A user and a password, from the URL.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// The access token that is in a file.
    TokenFile(PathBuf),
    /// A client that gets access tokens (SMART Backend Services).
    Client {
        /// Its id.
        id: String,
        /// Its private key.
        key_file: PathBuf,
        /// Where tokens are got; `None` where the server says so itself.
        token_url: Option<Url>,
        /// What is asked for.
        scope: String,
    },
}

impl Settings {
    /// The payer's FHIR server; `None` when the source is something else.
    pub fn source_server(&self) -> Result<Option<SourceServer>, WrongSetting> {
        let Some((base, user)) = self.source_base()? else {
            let what =
                "it is for a FHIR server, and ATR_SOURCE_URL names none: it must be https://host/path, or this must go";
            return self.source_names().first().map_or(Ok(None), |name| Err(WrongSetting::of(name, what)));
        };
        let has_client = both_or_neither(
            ("source_client_id", !self.source_client_id.is_empty()),
            ("source_client_key_file", !self.source_client_key_file.as_os_str().is_empty()),
        )?;
        if let (false, Some(name)) = (has_client, self.source_names().iter().find(|name| OF_CLIENT.contains(name))) {
            return Err(WrongSetting::of(
                name,
                "it is for a client that gets tokens, and ATR_SOURCE_CLIENT_ID is not set",
            ));
        }
        let has_token_file = !self.source_token_file.as_os_str().is_empty();
        let one_of = |name: &str, other: &str| {
            WrongSetting::of(name, format!("it is set, and so is {other}: a request has one Authorization, choose one"))
        };
        let in_url = "a user in ATR_SOURCE_URL";
        let access = match (user, has_token_file, has_client) {
            (None, false, false) => SourceAccess::Nobody,
            (Some((user, password)), false, false) => SourceAccess::Password { user, password },
            (None, true, false) => SourceAccess::TokenFile(self.source_token_file.clone()),
            (None, false, true) => SourceAccess::Client {
                id: self.source_client_id.clone(),
                key_file: self.source_client_key_file.clone(),
                token_url: self.source_token_endpoint()?,
                scope: self.source_scope.clone(),
            },
            (_, true, true) => return Err(one_of("source_token_file", "ATR_SOURCE_CLIENT_ID")),
            (Some(_), true, false) => return Err(one_of("source_token_file", in_url)),
            (Some(_), false, true) => return Err(one_of("source_client_id", in_url)),
        };
        let has_certificate = both_or_neither(
            ("source_certificate_file", !self.source_certificate_file.as_os_str().is_empty()),
            ("source_key_file", !self.source_key_file.as_os_str().is_empty()),
        )?;
        if has_certificate && base.scheme() != "https" {
            let what = "it must be https://…: only there ATR_SOURCE_CERTIFICATE_FILE is shown";
            return Err(WrongSetting::of("source_url", what));
        }
        if !matches!(access, SourceAccess::Nobody) && wire::is_exposed(&base) {
            let what = "it must be https://…: passwords and access tokens are not sent in the clear";
            return Err(WrongSetting::of("source_url", what));
        }
        if self.source_scope.trim().is_empty() {
            return Err(WrongSetting::of("source_scope", "it must name a scope"));
        }
        let files = || [self.source_certificate_file.clone(), self.source_key_file.clone()];
        Ok(Some(SourceServer { base, access, certificate_and_key: has_certificate.then(files) }))
    }

    /// The base of the FHIR server, and the user and the password that its URL names.
    fn source_base(&self) -> Result<Option<(Url, Option<UserAndPassword>)>, WrongSetting> {
        let wrong = |what: &str| WrongSetting::of("source_url", what);
        let scheme = self.source_url.split(':').next().unwrap_or_default().to_ascii_lowercase();
        if !matches!(scheme.as_str(), "http" | "https") {
            return Ok(None);
        }
        let form = "it must be https://host/path, the base of a FHIR server, without a query or a fragment";
        let mut base = Url::parse(&self.source_url).map_err(|_| wrong(form))?;
        if base.query().is_some() || base.fragment().is_some() {
            return Err(wrong(form));
        }
        let decoded = |text: &str| {
            let text = percent_decode_str(text).decode_utf8();
            text.map(String::from).map_err(|_| wrong("its user and password must be UTF-8, percent-encoded"))
        };
        let user = match (base.username(), base.password()) {
            ("", None) => None,
            (user, password) => Some((decoded(user)?, decoded(password.unwrap_or_default())?)),
        };
        let is_bare = base.set_username("").and_then(|()| base.set_password(None)).is_ok();
        if is_bare { Ok(Some((base, user))) } else { Err(wrong(form)) }
    }

    /// Where access tokens for the FHIR server are got; `None` when the server says so itself.
    fn source_token_endpoint(&self) -> Result<Option<Url>, WrongSetting> {
        let wrong = |what: &str| WrongSetting::of("source_token_url", what);
        if self.source_token_url.is_empty() {
            return Ok(None);
        }
        let form = "it must be https://host/path, without a user or a fragment";
        let url = Url::parse(&self.source_token_url).map_err(|_| wrong(form))?;
        let has_user = !url.username().is_empty() || url.password().is_some();
        if !matches!(url.scheme(), "http" | "https") || has_user || url.fragment().is_some() {
            return Err(wrong(form));
        }
        if wire::is_exposed(&url) {
            return Err(wrong("it must be https://…: access tokens are not got in the clear"));
        }
        Ok(Some(url))
    }

    /// Those settings for a FHIR server that are not as they are when nobody says.
    fn source_names(&self) -> Vec<&'static str> {
        let is_file = |file: &PathBuf| !file.as_os_str().is_empty();
        let names = [
            ("source_token_file", is_file(&self.source_token_file)),
            ("source_client_id", !self.source_client_id.is_empty()),
            ("source_client_key_file", is_file(&self.source_client_key_file)),
            ("source_token_url", !self.source_token_url.is_empty()),
            ("source_scope", self.source_scope != SOURCE_SCOPE),
            ("source_certificate_file", is_file(&self.source_certificate_file)),
            ("source_key_file", is_file(&self.source_key_file)),
        ];
        names.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::*;

    const BASE: (&str, &str) = ("ATR_SOURCE_URL", "https://fhir.example.org/r4");
    const TOKEN_FILE: (&str, &str) = ("ATR_SOURCE_TOKEN_FILE", "token");
    const CLIENT: (&str, &str) = ("ATR_SOURCE_CLIENT_ID", "atr");
    const CLIENT_KEY: (&str, &str) = ("ATR_SOURCE_CLIENT_KEY_FILE", "client.pem");
    const CERTIFICATE: (&str, &str) = ("ATR_SOURCE_CERTIFICATE_FILE", "tls.crt");
    const KEY: (&str, &str) = ("ATR_SOURCE_KEY_FILE", "tls.key");

    fn server(variables: &[(&str, &str)]) -> Result<Option<SourceServer>, String> {
        read(variables)?.source_server().map_err(|error| error.to_string())
    }

    fn base_and_access(variables: &[(&str, &str)]) -> Option<(String, SourceAccess)> {
        let server = server(variables).unwrap_or_else(|wrong| panic!("{wrong}"))?;
        Some((server.base.into(), server.access))
    }

    fn refused(variables: &[(&str, &str)]) -> String {
        server(variables).err().unwrap_or_else(|| panic!("they are taken: {variables:?}"))
    }

    #[test]
    fn a_source_that_is_no_fhir_server_is_none() {
        for url in ["", "postgres://u:p@db/payer", "file:data", "httpd:x"] {
            assert!(server(&[("ATR_SOURCE_URL", url)]).is_ok_and(|server| server.is_none()), "{url}");
        }
    }

    #[test]
    fn there_are_four_ways_to_say_who_this_system_is() {
        let nobody = base_and_access(&[BASE]);
        assert!(matches!(nobody, Some((base, SourceAccess::Nobody)) if base == BASE.1));
        let with_user = [("ATR_SOURCE_URL", "https://us%65r:p%40ss%2F@fhir.example.org/r4")];
        let Some((base, SourceAccess::Password { user, password })) = base_and_access(&with_user) else {
            panic!("the URL names a user");
        };
        assert_eq!((base.as_str(), user.as_str(), password.as_str()), (BASE.1, "user", "p@ss/"));
        let in_file = base_and_access(&[BASE, TOKEN_FILE]);
        assert!(matches!(in_file, Some((_, SourceAccess::TokenFile(file))) if file.as_os_str() == "token"));
        for (said, expected) in [("", None), ("https://a.org/token", Some("https://a.org/token"))] {
            let variables = [BASE, CLIENT, CLIENT_KEY, ("ATR_SOURCE_TOKEN_URL", said)];
            let Some((_, SourceAccess::Client { id, token_url, scope, .. })) = base_and_access(&variables) else {
                panic!("a client is named");
            };
            assert_eq!((id.as_str(), scope.as_str()), ("atr", "system/*.read"));
            assert_eq!(token_url.map(String::from).as_deref(), expected);
        }
    }

    #[test]
    fn a_request_has_one_authorization() {
        let with_user = ("ATR_SOURCE_URL", "https://user:s3cret@fhir.example.org/r4");
        for (variables, names) in [
            (&[with_user, TOKEN_FILE][..], ["ATR_SOURCE_TOKEN_FILE", "ATR_SOURCE_URL"]),
            (&[with_user, CLIENT, CLIENT_KEY], ["ATR_SOURCE_CLIENT_ID", "ATR_SOURCE_URL"]),
            (&[BASE, TOKEN_FILE, CLIENT, CLIENT_KEY], ["ATR_SOURCE_TOKEN_FILE", "ATR_SOURCE_CLIENT_ID"]),
        ] {
            let wrong = refused(variables);
            assert!(names.iter().all(|name| wrong.contains(name)) && !wrong.contains("s3cret"), "{wrong}");
        }
    }

    #[test]
    fn what_belongs_together_is_set_together() {
        for (variables, missing) in [
            (&[BASE, CLIENT][..], "ATR_SOURCE_CLIENT_KEY_FILE: it is not set, and ATR_SOURCE_CLIENT_ID is"),
            (&[BASE, CLIENT_KEY], "ATR_SOURCE_CLIENT_ID: it is not set, and ATR_SOURCE_CLIENT_KEY_FILE is"),
            (&[BASE, CERTIFICATE], "ATR_SOURCE_KEY_FILE: it is not set, and ATR_SOURCE_CERTIFICATE_FILE is"),
            (&[BASE, KEY], "ATR_SOURCE_CERTIFICATE_FILE: it is not set, and ATR_SOURCE_KEY_FILE is"),
            (&[BASE, ("ATR_SOURCE_TOKEN_URL", "https://a.org/token")], "ATR_SOURCE_CLIENT_ID is not set"),
            (&[BASE, ("ATR_SOURCE_SCOPE", "system/Group.rs")], "ATR_SOURCE_CLIENT_ID is not set"),
            (&[BASE, CLIENT, CLIENT_KEY, ("ATR_SOURCE_SCOPE", " ")], "ATR_SOURCE_SCOPE"),
        ] {
            let wrong = refused(variables);
            assert!(wrong.contains(missing), "{wrong}");
        }
        let with_certificate = server(&[BASE, CERTIFICATE, KEY, TOKEN_FILE]).expect("a certificate goes with a token");
        assert!(with_certificate.is_some_and(|server| server.certificate_and_key.is_some()));
    }

    #[test]
    fn credentials_are_for_a_fhir_server_only() {
        let scope = ("ATR_SOURCE_SCOPE", "system/Group.rs");
        for setting in [TOKEN_FILE, CLIENT, CLIENT_KEY, scope, CERTIFICATE, KEY] {
            for url in ["", "postgres://user:s3cret@db/payer"] {
                let wrong = refused(&[("ATR_SOURCE_URL", url), setting]);
                let says = wrong.starts_with(&format!("wrong setting {}:", setting.0));
                assert!(says && wrong.contains("ATR_SOURCE_URL") && !wrong.contains("s3cret"), "{wrong}");
            }
        }
    }

    #[test]
    fn credentials_are_not_sent_in_the_clear() {
        let plain = ("ATR_SOURCE_URL", "http://fhir.example.org/r4");
        let local = ("ATR_SOURCE_URL", "http://127.0.0.1:8080/fhir");
        assert!(server(&[plain]).is_ok(), "a server that asks for nothing is no secret of ours");
        for variables in [
            &[("ATR_SOURCE_URL", "http://user:s3cret@fhir.example.org/r4")][..],
            &[plain, TOKEN_FILE],
            &[plain, CLIENT, CLIENT_KEY],
            &[plain, CERTIFICATE, KEY],
            &[local, CERTIFICATE, KEY],
        ] {
            let wrong = refused(variables);
            assert!(wrong.contains("ATR_SOURCE_URL: it must be https") && !wrong.contains("s3cret"), "{wrong}");
        }
        assert!(server(&[local, TOKEN_FILE]).is_ok(), "it stays on this machine");
        for token_url in ["http://a.example.org/token", "https://user:s3cret@a.org/token", "ftp://a.org", "/token"] {
            let wrong = refused(&[BASE, CLIENT, CLIENT_KEY, ("ATR_SOURCE_TOKEN_URL", token_url)]);
            assert!(wrong.contains("ATR_SOURCE_TOKEN_URL") && !wrong.contains("s3cret"), "{wrong}");
        }
    }

    #[test]
    fn a_base_has_neither_query_nor_fragment() {
        for url in ["https://user:s3cret@a.org/r4?a=b", "https://a.org/r4#a", "https://", "http:///"] {
            let wrong = refused(&[("ATR_SOURCE_URL", url)]);
            assert!(wrong.contains("ATR_SOURCE_URL") && !wrong.contains("s3cret"), "{wrong}");
        }
        let not_text = refused(&[("ATR_SOURCE_URL", "https://user:%FF@a.org/r4")]);
        assert!(not_text.contains("UTF-8"), "{not_text}");
    }
}
