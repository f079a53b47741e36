//! Who this system is to the payer's FHIR server.
//!
//! A certificate for the client is no part of this: it belongs to the connection (`platform/fhir_server.rs`).

mod token_file;

use std::fmt;
use std::path::PathBuf;

use base64_simd::STANDARD;
use reqwest::RequestBuilder;
use reqwest::header::HeaderValue;
use url::{Origin, Url};

use self::token_file::TokenFile;
use crate::fault::{Fault, FaultKind};
use crate::token_client::kept::KeptToken;
use crate::wire;

/// What this system shows the payer's FHIR server. Shows no secret in `Debug`.
pub struct Credentials {
    /// The only server that they are sent to.
    server: Origin,
    kind: Kind,
}

enum Kind {
    Nobody,
    Password(HeaderValue),
    TokenFile(TokenFile),
    Client(KeptToken),
}

/// Which credentials a request was sent with, for [`Credentials::refused`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent(u64);

impl Credentials {
    /// Nothing is shown to the server with this base.
    #[must_use]
    pub fn nobody(base: &Url) -> Self {
        Self::of(base, Kind::Nobody)
    }

    /// A user and a password. Fails with `Invalid` when the user holds a colon, which HTTP takes for the end of it (RFC 7617
    /// §2).
    pub fn password(base: &Url, user: &str, password: &str) -> Result<Self, Fault> {
        if user.contains(':') {
            let fault = Fault::new(FaultKind::Invalid, "failed to prepare a user and a password");
            return Err(fault.because("HTTP has no way to send a user with a colon"));
        }
        let value = format!("Basic {}", STANDARD.encode_to_string(format!("{user}:{password}")));
        let value = HeaderValue::try_from(value).expect("base64 is made of letters that a header takes");
        Ok(Self::of(base, Kind::Password(wire::secret(value))))
    }

    /// The token in a file, as it is at the time of each request. Fails with `Invalid` when there is none now.
    pub async fn token_file(base: &Url, path: PathBuf) -> Result<Self, Fault> {
        Ok(Self::of(base, Kind::TokenFile(TokenFile::open(path).await?)))
    }

    /// The tokens that a token endpoint issues to this system.
    #[must_use]
    pub fn client(base: &Url, tokens: KeptToken) -> Self {
        Self::of(base, Kind::Client(tokens))
    }

    fn of(base: &Url, kind: Kind) -> Self {
        Self { server: base.origin(), kind }
    }

    /// Puts the current credentials on a request, in place of those that it has.
    ///
    /// A token may have to be got first, which those who need it at the same time wait for together, and as long as
    /// `TokenClient::within` at most. Fails with `Busy` or `Unavailable` when it cannot be had now; with `Invalid` when
    /// somebody has to mend something, or the request is for another server.
    pub async fn authorize(&self, request: RequestBuilder) -> Result<(RequestBuilder, Sent), Fault> {
        let (value, number) = match &self.kind {
            Kind::Nobody => return Ok((request, Sent(0))),
            Kind::Password(value) => (value.clone(), 0),
            Kind::TokenFile(file) => file.now().await,
            Kind::Client(tokens) => {
                let token = tokens.now().await?;
                (token.authorization, token.number)
            }
        };
        Ok((wire::authorize(request, value, &self.server)?, Sent(number)))
    }

    /// The server has refused a request that was sent with these (401): answers whether [`Credentials::authorize`] will put
    /// others on it, so that it makes sense to try again, once.
    ///
    /// A refused token of a token endpoint is given up, unless it was got a moment ago in place of another refused one.
    pub async fn refused(&self, sent: Sent) -> bool {
        match &self.kind {
            Kind::Nobody | Kind::Password(_) => false,
            Kind::TokenFile(file) => file.now().await.1 != sent.0,
            Kind::Client(tokens) => tokens.refused(sent.0),
        }
    }
}

impl fmt::Debug for Credentials {
    /// Without a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Nobody => "Nobody",
            Kind::Password(_) => "Password",
            Kind::TokenFile(_) => "TokenFile",
            Kind::Client(_) => "Client",
        })
    }
}

#[cfg(test)]
mod tests;
