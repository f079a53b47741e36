//! The OperationOutcome: how FHIR says what went wrong.

use serde::{Deserialize, Serialize};

/// How bad an issue is (R4 `issue-severity`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The request, or the resource, was not dealt with.
    Error,
    /// Something is not there that should be.
    Warning,
    /// For the record.
    Information,
}

/// What kind of issue it is (R4 `issue-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IssueCode {
    /// The content does not have the shape that FHIR gives it.
    Structure,
    /// A required element is missing.
    Required,
    /// A value is not allowed.
    Value,
    /// The content is not valid.
    Invalid,
    /// The server does not do this.
    NotSupported,
    /// There is no such resource, job or path.
    NotFound,
    /// No such method here.
    Processing,
    /// The caller is not known.
    Login,
    /// The caller may not do this.
    Forbidden,
    /// Too much at once.
    Throttled,
    /// It may work later.
    Transient,
    /// The server failed.
    Exception,
    /// Too large.
    TooLong,
    /// For the record.
    Informational,
    /// It was there and is deleted.
    Deleted,
}

/// One `OperationOutcome.issue`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// How bad it is.
    pub severity: Severity,
    /// What kind it is.
    pub code: IssueCode,
    /// A sentence that a person can act on.
    pub diagnostics: String,
    /// FHIRPaths of the elements, or names of the parameters, that it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expression: Vec<String>,
}

impl Issue {
    /// An issue of severity `error`.
    pub fn error(code: IssueCode, diagnostics: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, diagnostics: diagnostics.into(), expression: Vec::new() }
    }

    /// An issue of severity `warning`.
    pub fn warning(code: IssueCode, diagnostics: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, diagnostics) }
    }

    /// An issue of severity `information`.
    pub fn information(code: IssueCode, diagnostics: impl Into<String>) -> Self {
        Self { severity: Severity::Information, ..Self::error(code, diagnostics) }
    }

    /// The same issue, about this element or parameter.
    #[must_use]
    pub fn at(mut self, expression: impl Into<String>) -> Self {
        self.expression.push(expression.into());
        self
    }

    /// The OperationOutcome of this one issue, as JSON on one line.
    #[must_use]
    pub fn outcome(&self) -> String {
        #[derive(Serialize)]
        struct OperationOutcome<'a> {
            #[serde(rename = "resourceType")]
            resource_type: &'static str,
            issue: [&'a Issue; 1],
        }
        serde_json::to_string(&OperationOutcome { resource_type: "OperationOutcome", issue: [self] })
            .expect("an issue is made of strings")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issue_is_an_operation_outcome_on_one_line() {
        let issue = Issue::warning(IssueCode::NotFound, "Organization/9 is not there\nat all").at("Coverage.payor");
        assert_eq!(
            issue.outcome(),
            r#"{"resourceType":"OperationOutcome","issue":[{"severity":"warning","code":"not-found","diagnostics":"Organization/9 is not there\nat all","expression":["Coverage.payor"]}]}"#
        );
    }
}
