//! What can happen to what is sent to a URL.

use url::{Host, Url};

/// Whether somebody on the way can read what is sent there, and change it: it is neither https nor this machine.
#[must_use]
pub fn is_exposed(url: &Url) -> bool {
    let is_this_machine = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() != "https" && !is_this_machine
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_exposed_unless_it_stays_on_this_machine() {
        for (url, expected) in [
            ("https://a.example.org/fhir", false),
            ("http://a.example.org/fhir", true),
            ("http://localhost.example.org", true),
            ("http://10.0.0.1:9000", true),
            ("http://localhost:9000", false),
            ("http://127.0.0.1:9000", false),
            ("http://127.1.2.3", false),
            ("http://[::1]:9000", false),
        ] {
            assert_eq!(is_exposed(&Url::parse(url).expect("it is a URL")), expected, "{url}");
        }
    }
}
