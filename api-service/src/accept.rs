//! The `Accept` header: which of the media types that the server has a client wants (RFC 9110 §12.5.1). Pure.

/// The media type of a FHIR resource, and the one that clients ask for when they mean it.
pub const JSON: [&str; 2] = ["application/fhir+json", "application/json"];

/// The first of the `offered` media types with the highest quality; `None` when all are refused.
///
/// The most specific range that fits a type gives its quality. A range that cannot be read is passed over. `header` holds
/// all `Accept` headers of the request, joined by commas; an empty one takes anything.
pub fn preferred<'a>(header: &str, offered: &[&'a str]) -> Option<&'a str> {
    let ranges: Vec<Range<'_>> = header.split(',').filter_map(Range::read).collect();
    if ranges.is_empty() {
        return if header.trim().is_empty() { offered.first().copied() } else { None };
    }
    let quality = |media_type: &str| {
        let fitting = ranges.iter().filter(|range| range.fits(media_type));
        fitting.max_by_key(|range| range.precision()).map_or(0, |range| range.quality)
    };
    let best = offered.iter().map(|media_type| quality(media_type)).max()?;
    offered.iter().find(|media_type| best > 0 && quality(media_type) == best).copied()
}

/// One element of an `Accept` header: `type/subtype;q=0.5`.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// In thousandths.
    quality: u16,
}

impl<'a> Range<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        // Other parameters (`fhirVersion`, `charset`) do not choose between the types that there are.
        let q = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
        });
        let quality = match q {
            None => 1_000,
            Some(q) => thousandths(q)?,
        };
        Some(Self { kind, subtype, quality })
    }

    fn fits(&self, media_type: &str) -> bool {
        let Some((kind, subtype)) = media_type.split_once('/') else { return false };
        let is = |range: &str, name: &str| range == "*" || range.eq_ignore_ascii_case(name);
        is(self.kind, kind) && is(self.subtype, subtype)
    }

    fn precision(&self) -> u8 {
        u8::from(self.kind != "*") + u8::from(self.subtype != "*")
    }
}

/// `0.25` as 250; `None` when it is no quality.
fn thousandths(q: &str) -> Option<u16> {
    let quality: f32 = q.parse().ok().filter(|quality| (0.0..=1.0).contains(quality))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it lies from 0 to 1,000")]
    Some((quality * 1_000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_quality_wins_and_the_more_specific_range_decides() {
        for (header, expected) in [
            ("", Some("application/fhir+json")),
            ("*/*", Some("application/fhir+json")),
            ("application/json", Some("application/json")),
            ("application/fhir+json;q=0.5, application/json", Some("application/json")),
            ("text/html, application/xhtml+xml, */*;q=0.1", Some("application/fhir+json")),
            ("Application/FHIR+JSON; charset=utf-8", Some("application/fhir+json")),
            ("application/fhir+json; fhirVersion=4.0", Some("application/fhir+json")),
            ("application/*;q=0.2", Some("application/fhir+json")),
            ("*/*, application/fhir+json;q=0", Some("application/json")),
            ("application/fhir+xml", None),
            ("application/json;q=0", None),
            ("application/json;q=2", None),
            ("nonsense", None),
        ] {
            assert_eq!(preferred(header, &JSON), expected, "{header}");
        }
    }
}
