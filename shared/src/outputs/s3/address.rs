//! The address of a bucket, as it stands in the settings.

use thiserror::Error;
use url::Url;

/// Where objects are written, and how to talk to the store that keeps them.
///
/// ```text
/// s3://bucket/prefix?endpoint=http://127.0.0.1:9000&region=us-east-1&path_style=true
/// ```
///
/// | setting           | what it is                                        | if it is not there                                   |
/// |-------------------|---------------------------------------------------|------------------------------------------------------|
/// | `endpoint`        | where the store is                                | AWS                                                  |
/// | `public_endpoint` | where clients see the store: links are for it     | `endpoint`                                           |
/// | `region`          | the region that requests are signed for           | with an `endpoint`, `us-east-1`; else as AWS says    |
/// | `path_style`      | `true`: the bucket is in the path, not in the host | `true` with an `endpoint`, else `false`              |
/// | `checksums`       | `when_required` or `when_supported` (CRC on all)  | `when_required` with an `endpoint`, else as AWS says |
///
/// Credentials have no place in it: an address is logged and shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Address {
    /// The bucket. It has to be there.
    pub bucket: String,
    /// What all names of objects begin with, without a slash at either end; may be empty.
    pub prefix: String,
    /// The URL of the store, without a slash at its end; none is AWS.
    pub endpoint: Option<String>,
    /// The URL of the store as clients see it, if it is another.
    pub public_endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: Option<String>,
    /// Whether the bucket stands in the path of a URL and not in its host.
    pub path_style: bool,
    /// When requests carry checksums; none is as AWS and its environment variables have it.
    pub checksums: Option<Checksums>,
}

/// When requests carry a checksum of their own, beside the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksums {
    /// Only where S3 asks for one. Many stores that are not AWS refuse the others.
    WhenRequired,
    /// Wherever S3 takes one.
    WhenSupported,
}

/// A text that is not the address of a bucket, and what is wrong with it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("not the address of an S3 bucket (s3://bucket/prefix?endpoint=…): {0}")]
pub struct NotAnS3Address(String);

impl S3Address {
    /// Reads an address. Fails with what is wrong with it; the message never repeats credentials.
    pub fn parse(text: &str) -> Result<Self, NotAnS3Address> {
        let url = Url::parse(text).map_err(|error| NotAnS3Address(error.to_string()))?;
        if url.scheme() != "s3" {
            return wrong(format!("it begins with {}:", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return wrong("credentials do not belong in it");
        }
        if url.port().is_some() {
            return wrong("a bucket has no port; the place of the store is the setting `endpoint`");
        }
        if url.fragment().is_some() {
            return wrong("it has a fragment (#)");
        }
        let Some(bucket) = url.host_str().filter(|bucket| !bucket.is_empty()) else {
            return wrong("it names no bucket");
        };
        if !bucket.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
            return wrong(format!("{bucket} cannot be the name of a bucket"));
        }
        let prefix = url.path().trim_matches('/');
        if !(prefix.is_empty() || is_name(prefix)) {
            return wrong(format!("the prefix {prefix} has an empty step, or more than letters, digits and ._- in it"));
        }

        let mut settings = Settings::default();
        for (name, value) in url.query_pairs() {
            settings.take(&name, &value)?;
        }
        let elsewhere = settings.endpoint.is_some();
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            region: settings.region.or_else(|| elsewhere.then(|| "us-east-1".to_owned())),
            path_style: settings.path_style.unwrap_or(elsewhere),
            checksums: settings.checksums.or(elsewhere.then_some(Checksums::WhenRequired)),
            endpoint: settings.endpoint,
            public_endpoint: settings.public_endpoint,
        })
    }
}

/// Whether a text can begin the names of objects: steps of letters, digits and `._-`, which no store and no URL spells in
/// two ways.
pub(super) fn is_name(text: &str) -> bool {
    text.split('/').all(|step| {
        !["", ".", ".."].contains(&step) && step.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    })
}

/// The query of an address, as far as it is read.
#[derive(Default)]
struct Settings {
    endpoint: Option<String>,
    public_endpoint: Option<String>,
    region: Option<String>,
    path_style: Option<bool>,
    checksums: Option<Checksums>,
}

impl Settings {
    fn take(&mut self, name: &str, value: &str) -> Result<(), NotAnS3Address> {
        match name {
            "endpoint" => set(&mut self.endpoint, name, endpoint(name, value)?),
            "public_endpoint" => set(&mut self.public_endpoint, name, endpoint(name, value)?),
            "region" if value.is_empty() => wrong("region is empty"),
            "region" => set(&mut self.region, name, value.to_owned()),
            "path_style" => match value.parse() {
                Ok(yes) => set(&mut self.path_style, name, yes),
                Err(_) => wrong(format!("path_style is true or false, not {value}")),
            },
            "checksums" => match value {
                "when_required" => set(&mut self.checksums, name, Checksums::WhenRequired),
                "when_supported" => set(&mut self.checksums, name, Checksums::WhenSupported),
                _ => wrong(format!("checksums is when_required or when_supported, not {value}")),
            },
            // The value is not repeated: a mistaken setting may well be a secret.
            _ => wrong(format!(
                "it has no setting {name}; there are endpoint, public_endpoint, region, path_style and checksums"
            )),
        }
    }
}

fn set<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), NotAnS3Address> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => wrong(format!("{name} is there twice")),
    }
}

fn endpoint(name: &str, value: &str) -> Result<String, NotAnS3Address> {
    let url = Url::parse(value).map_err(|error| NotAnS3Address(format!("{name} is not a URL: {error}")))?;
    if !["http", "https"].contains(&url.scheme()) {
        return wrong(format!("{name} begins with http:// or https://, not with {}:", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong(format!("credentials do not belong in {name}"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong(format!("{name} ends before its ? or #"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn wrong<T>(what: impl Into<String>) -> Result<T, NotAnS3Address> {
    Err(NotAnS3Address(what.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_full_is_read() {
        let text = "s3://exports/prod/atr?endpoint=http://127.0.0.1:9000/&region=eu-west-1&path_style=false\
                    &public_endpoint=https%3A%2F%2Ffiles.example.org&checksums=when_supported";
        let wanted = S3Address {
            bucket: "exports".to_owned(),
            prefix: "prod/atr".to_owned(),
            endpoint: Some("http://127.0.0.1:9000".to_owned()),
            public_endpoint: Some("https://files.example.org".to_owned()),
            region: Some("eu-west-1".to_owned()),
            path_style: false,
            checksums: Some(Checksums::WhenSupported),
        };
        assert_eq!(S3Address::parse(text), Ok(wanted));
    }

    #[test]
    fn a_bucket_alone_is_one_at_aws() {
        let wanted = S3Address {
            bucket: "my.exports-1".to_owned(),
            prefix: String::new(),
            endpoint: None,
            public_endpoint: None,
            region: None,
            path_style: false,
            checksums: None,
        };
        for text in ["s3://my.exports-1", "s3://my.exports-1/"] {
            assert_eq!(S3Address::parse(text).as_ref(), Ok(&wanted), "{text}");
        }
    }

    #[test]
    fn a_store_of_ones_own_has_the_defaults_that_such_stores_need() {
        let address = S3Address::parse("s3://exports?endpoint=http://store:9000").expect("is an address");
        assert_eq!(address.region.as_deref(), Some("us-east-1"));
        assert!(address.path_style);
        assert_eq!(address.checksums, Some(Checksums::WhenRequired));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("exports", "relative URL"),
            ("http://exports", "http:"),
            ("s3:///prefix", "no bucket"),
            ("s3://", "no bucket"),
            ("s3://exp%20orts", "name of a bucket"),
            ("s3://exports:9000", "endpoint"),
            ("s3://exports/a//b", "a//b"),
            ("s3://exports/a%20b", "a%20b"),
            ("s3://exports#top", "fragment"),
            ("s3://exports?endpoint=127.0.0.1", "endpoint is not a URL"),
            ("s3://exports?endpoint=ftp://store", "endpoint begins with http:// or https://, not with ftp:"),
            ("s3://exports?public_endpoint=http://store?x", "public_endpoint ends"),
            ("s3://exports?region=", "region is empty"),
            ("s3://exports?path_style=yes", "path_style is true or false, not yes"),
            ("s3://exports?checksums=never", "checksums"),
            ("s3://exports?bucket=two", "no setting bucket"),
            ("s3://exports?region=a&region=b", "region is there twice"),
        ] {
            let said = S3Address::parse(text).expect_err(text).to_string();
            assert!(said.contains(named), "{text}: {said}");
        }
    }

    #[test]
    fn credentials_are_refused_and_not_repeated() {
        for text in
            ["s3://key:hush@exports", "s3://exports?endpoint=http://key:hush@store", "s3://exports?secret_key=hush"]
        {
            let said = S3Address::parse(text).expect_err(text).to_string();
            assert!(!said.contains("hush"), "{said}");
        }
    }
}
