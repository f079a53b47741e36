//! The parameters of a kick-off as one valid request. Pure.
//!
//! `table` says which parameters there are, `pairs` how they come in, `values` what a single value means; here they become
//! the [`Selection`] and the [`Delivery`] of a job.
//!
//! What is wrong is always refused. What is not supported is refused too, unless the client asked for lenient handling:
//! then it is passed over, and becomes a notice for the error file (Bulk Data, `Prefer: handling=lenient`).

mod pairs;
mod table;
mod values;

use std::collections::BTreeSet;

use shared::export::{Delivery, Selection};
use shared::fhir::{Instant, Issue, IssueCode, ResourceType, UnknownElement};

pub use self::pairs::{Pairs, of_body, of_query};
pub use self::table::{Parameter, Row, rows_at};
use self::table::{names_at, row};
use crate::error::{ApiError, shown};
use crate::prefer::Handling;
use crate::start::StartPoint;

/// What `_type` must hold on `$davinci-data-export` (standards §3.2, "minimum").
const MINIMUM: [ResourceType; 3] = [ResourceType::GROUP, ResourceType::PATIENT, ResourceType::COVERAGE];

/// The most patients that a request may name, and the most notices that it may cause: both are kept with the job.
const MOST: usize = 10_000;

/// The most searches that a request may filter by: each is tried on every resource of its type.
const MOST_FILTERS: usize = 100;

/// What the parameters depend on.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Where the kick-off was sent to.
    pub start: StartPoint,
    /// Whether it was sent by `POST`.
    pub is_post: bool,
    /// What becomes of what is not supported.
    pub handling: Handling,
    /// The time of the kick-off.
    pub now: Instant,
}

/// The parameters, checked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// What is written; its `patients` are to be filled from those that are named here.
    pub selection: Selection,
    /// In which form.
    pub delivery: Delivery,
    /// The references of `patient` as they came, each once; `None` without the parameter.
    pub patients: Option<BTreeSet<String>>,
    /// What was passed over.
    pub notices: Vec<Issue>,
}

impl Parameters {
    /// Checks the pairs of a kick-off.
    pub fn check(pairs: &[(String, String)], context: Context) -> Result<Self, ApiError> {
        let mut reading = Reading { context, read: Self::default(), seen: BTreeSet::new() };
        for (name, value) in pairs {
            reading.take(name, value)?;
        }
        reading.finish()
    }
}

/// An error about a parameter.
pub fn refused(name: &str, code: IssueCode, problem: impl Into<String>) -> ApiError {
    ApiError::Parameter { name: name.to_owned(), code, problem: problem.into() }
}

/// A notice that something about a parameter was passed over.
pub fn passed_over(name: &str, problem: &str) -> Issue {
    Issue::warning(IssueCode::NotSupported, shown(&format!("ignored: {problem}"))).at(shown(name))
}

struct Reading {
    context: Context,
    read: Parameters,
    seen: BTreeSet<&'static str>,
}

impl Reading {
    fn take(&mut self, name: &str, value: &str) -> Result<(), ApiError> {
        let start = self.context.start;
        let Some(row) = row(name).filter(|row| row.at.contains(&start)) else {
            let problem = format!("the parameter '{name}' is not supported here; {start} takes {}", names_at(start));
            // It says whose data may be sent: to pass it over would send everybody's.
            let is_vital = row(name).is_some_and(|row| row.parameter == Parameter::Patient);
            return if is_vital {
                Err(refused(name, IssueCode::NotSupported, problem))
            } else {
                self.pass(name, problem)
            };
        };
        if !self.seen.insert(row.name) && !row.repeats {
            let problem = format!("{name} is given more than once; give it once");
            return Err(refused(name, IssueCode::Value, problem));
        }
        self.read_value(row, value)
    }

    fn read_value(&mut self, row: &Row, value: &str) -> Result<(), ApiError> {
        let name = row.name;
        let wrong = |problem| refused(name, IssueCode::Value, problem);
        match row.parameter {
            Parameter::Since => {
                let since = values::instant(name, value).map_err(wrong)?;
                if since > self.context.now {
                    return Err(wrong(format!("_since lies in the future: the time here is {}", self.context.now)));
                }
                self.read.selection.since = Some(since);
            }
            // One that lies in the future changes nothing: an export ends at its transaction time all the same.
            Parameter::Until => self.read.selection.until = Some(values::instant(name, value).map_err(wrong)?),
            Parameter::AllowPartialManifests => {
                self.read.delivery.partial_manifests = values::flag(name, value).map_err(wrong)?;
            }
            Parameter::Type => return values::list(value).try_for_each(|item| self.add_type(name, item)),
            Parameter::Elements => return values::list(value).try_for_each(|item| self.add_element(item)),
            Parameter::Patient => return self.add_patients(value),
            Parameter::TypeFilter => {
                return values::filters(value).into_iter().try_for_each(|one| self.add_filter(one));
            }
            Parameter::OutputFormat => return values::output_format(value).or_else(|problem| self.pass(name, problem)),
            Parameter::ExportType => return values::export_type(value).or_else(|problem| self.pass(name, problem)),
            Parameter::OutputEncoding => match values::encoding(value) {
                Ok(encoding) => self.read.delivery.encoding = encoding,
                Err(problem) => return self.pass(name, problem),
            },
            Parameter::OrganizeOutputBy if value == ResourceType::PATIENT.name() => {
                self.read.delivery.organized_by_patient = true;
            }
            Parameter::OrganizeOutputBy => {
                return self.pass(name, format!("files cannot be organized by '{value}' here; use Patient"));
            }
            Parameter::IncludeAssociatedData => {
                return values::list(value).try_for_each(|item| {
                    let problem = format!("there is no associated data for '{item}': this server holds no Provenance");
                    self.pass(name, problem)
                });
            }
        }
        Ok(())
    }

    fn add_type(&mut self, name: &str, item: &str) -> Result<(), ApiError> {
        let types = self.read.selection.types.get_or_insert_default();
        let choice = || format!("choose from {}", ResourceType::ATTRIBUTION.map(ResourceType::name).join(", "));
        match item.parse::<ResourceType>() {
            Ok(resource_type) if resource_type.is_attribution() => {
                types.insert(resource_type);
                Ok(())
            }
            Ok(_) => {
                self.pass(name, format!("{name} names {item}, which attribution lists do not lead to; {}", choice()))
            }
            Err(_) => {
                let problem = format!("{name} names '{item}', which is not a resource type; {}", choice());
                Err(refused(name, IssueCode::Value, problem))
            }
        }
    }

    fn add_element(&mut self, item: &str) -> Result<(), ApiError> {
        match self.read.selection.elements.extend(item) {
            Ok(()) => Ok(()),
            Err(problem @ UnknownElement::Empty) => {
                Err(refused("_elements", IssueCode::Value, format!("_elements: {problem}")))
            }
            Err(problem) => self.pass("_elements", format!("_elements: {problem}")),
        }
    }

    fn add_filter(&mut self, value: &str) -> Result<(), ApiError> {
        match values::filter(value) {
            Ok(query) => {
                if self.read.selection.filters.values().map(Vec::len).sum::<usize>() == MOST_FILTERS {
                    let problem =
                        format!("_typeFilter is given more than {MOST_FILTERS} times; export in several requests");
                    return Err(refused("_typeFilter", IssueCode::TooLong, problem));
                }
                self.read.selection.filters.entry(query.resource_type()).or_default().push(query);
                Ok(())
            }
            Err(values::Unusable::Unsupported(problem)) => self.pass("_typeFilter", problem),
            Err(values::Unusable::Wrong(problem)) => Err(refused("_typeFilter", IssueCode::Value, problem)),
        }
    }

    fn add_patients(&mut self, value: &str) -> Result<(), ApiError> {
        if self.context.start != StartPoint::Attribution && !self.context.is_post {
            let problem = "patient is taken by POST only, as a Reference in a Parameters resource";
            return Err(refused("patient", IssueCode::NotSupported, problem));
        }
        let patients = self.read.patients.get_or_insert_default();
        patients.extend(values::list(value).map(str::to_owned));
        if patients.len() > MOST {
            let problem = format!("patient names more than {MOST} patients; export them in several requests");
            return Err(refused("patient", IssueCode::TooLong, problem));
        }
        Ok(())
    }

    /// Deals with what is not supported.
    fn pass(&mut self, name: &str, problem: String) -> Result<(), ApiError> {
        if self.context.handling == Handling::Strict {
            return Err(refused(name, IssueCode::NotSupported, problem));
        }
        if self.read.notices.len() == MOST {
            let problem = format!("more than {MOST} parameters or values are not supported; leave them out");
            return Err(refused(name, IssueCode::TooLong, problem));
        }
        self.read.notices.push(passed_over(name, &problem));
        Ok(())
    }

    /// Checks what one parameter has to do with another.
    fn finish(mut self) -> Result<Parameters, ApiError> {
        let Selection { types, since, until, filters, .. } = &self.read.selection;
        if let (Some(since), Some(until)) = (since, until)
            && until <= since
        {
            let problem = "_until must lie after _since: nothing changes between them";
            return Err(refused("_until", IssueCode::Value, problem));
        }
        if let Some(types) = types {
            if self.context.start == StartPoint::Attribution
                && let Some(missing) = MINIMUM.iter().find(|needed| !types.contains(needed))
            {
                let problem = format!(
                    "_type must hold Group, Patient and Coverage on $davinci-data-export, and {missing} is missing; add it, or leave _type out to get all types"
                );
                return Err(refused("_type", IssueCode::Required, problem));
            }
            if types.is_empty() {
                let problem = "none of the types in _type is one that attribution lists lead to, so that nothing is left to export";
                return Err(refused("_type", IssueCode::NotSupported, problem));
            }
            if let Some(useless) = filters.keys().find(|filtered| !types.contains(filtered)) {
                let problem = format!(
                    "_typeFilter filters {useless}, which _type leaves out; add it to _type, or leave the filter out"
                );
                return Err(refused("_typeFilter", IssueCode::Value, problem));
            }
        }
        if self.read.delivery.organized_by_patient && self.read.patients.is_some() {
            self.read.delivery.organized_by_patient = false;
            let problem = "organizeOutputBy is not possible together with patient; leave one of them out";
            self.pass("organizeOutputBy", problem.to_owned())?;
        }
        Ok(self.read)
    }
}

#[cfg(test)]
mod tests;
