//! The `Prefer` header (RFC 7240): how a client wants its request to be dealt with. Pure.

/// What a client prefers, as far as this server knows it. What it does not know is passed over, as the RFC asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    /// `respond-async`: it does not wait for the export; every export is dealt with so.
    pub respond_async: bool,
    /// `handling`: what becomes of parameters that are not supported.
    pub handling: Option<Handling>,
    /// `separate-export-status`: the state of the job stands in a header of its own (Bulk Data STU3).
    pub separate_export_status: bool,
}

/// What becomes of parameters, and of values of parameters, that are not supported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handling {
    /// The request is refused.
    #[default]
    Strict,
    /// They are passed over, and each is reported in an error file.
    Lenient,
}

impl Preferences {
    /// Reads all `Prefer` headers of a request, joined by commas. Of a preference that comes twice the first counts
    /// (RFC 7240 §2).
    pub fn read(header: &str) -> Self {
        let mut preferences = Self::default();
        let mut is_handling_given = false;
        for preference in split(header, ',') {
            let parts = split(preference, ';');
            let (name, value) = parts[0].split_once('=').unwrap_or((parts[0], ""));
            let value = value.trim().trim_matches('"').to_ascii_lowercase();
            match name.trim().to_ascii_lowercase().as_str() {
                "respond-async" => preferences.respond_async = true,
                "separate-export-status" => preferences.separate_export_status = true,
                "handling" if !is_handling_given => {
                    is_handling_given = true;
                    preferences.handling = match value.as_str() {
                        "lenient" => Some(Handling::Lenient),
                        "strict" => Some(Handling::Strict),
                        _ => None,
                    };
                }
                _ => {}
            }
        }
        preferences
    }

    /// The `Preference-Applied` of the answer: those of the client's preferences that it is dealt with by; empty when
    /// there are none.
    pub fn applied(self) -> String {
        let handling = self.handling.map(|handling| match handling {
            Handling::Strict => "handling=strict",
            Handling::Lenient => "handling=lenient",
        });
        let applied = [
            self.respond_async.then_some("respond-async"),
            handling,
            self.separate_export_status.then_some("separate-export-status"),
        ];
        applied.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// The parts of a header between the separators that stand outside quotes; at least one.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |character| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match character {
            '\\' if is_quoted && !was_escaped => is_escaped = true,
            '"' if !was_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        character == separator && !is_quoted
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_read_from_lists_and_from_repeated_headers_alike() {
        let asynchronous = Preferences { respond_async: true, ..Preferences::default() };
        let lenient = Preferences { handling: Some(Handling::Lenient), ..asynchronous };
        let strict = Preferences { handling: Some(Handling::Strict), ..asynchronous };
        let separate = Preferences { separate_export_status: true, ..asynchronous };
        for (header, expected) in [
            ("", Preferences::default()),
            (", ,", Preferences::default()),
            ("return=minimal", Preferences::default()),
            ("respond-async", asynchronous),
            ("Respond-Async", asynchronous),
            ("respond-async; wait=10", asynchronous),
            ("respond-async, wait=100", asynchronous),
            ("respond-async,handling=lenient", lenient),
            ("handling = \"lenient\" , respond-async", lenient),
            ("respond-async, handling=Strict; really=\"yes, really\"", strict),
            ("respond-async, handling=strict, handling=lenient", strict),
            ("respond-async, handling=odd, handling=lenient", asynchronous),
            ("respond-async, separate-export-status", separate),
            ("respond-async, other=\"a, handling=lenient, \\\", handling=lenient\"", asynchronous),
            ("other=\"handling=lenient", Preferences::default()),
        ] {
            assert_eq!(Preferences::read(header), expected, "{header}");
        }
    }

    #[test]
    fn the_answer_names_what_was_applied() {
        for (header, applied) in [
            ("", ""),
            ("respond-async", "respond-async"),
            ("return=minimal, handling=odd", ""),
            ("handling=strict", "handling=strict"),
            (
                "separate-export-status, handling=lenient, respond-async",
                "respond-async, handling=lenient, separate-export-status",
            ),
        ] {
            assert_eq!(Preferences::read(header).applied(), applied, "{header}");
        }
    }
}
