//! Every parameter of a kick-off on one page: its name, where it is known, and whether it may come more than once.

use crate::start::StartPoint::{self, Attribution, Group, Patients};

/// A parameter of a kick-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// The format of the files.
    OutputFormat,
    /// Only what changed after it.
    Since,
    /// Only what changed before it.
    Until,
    /// The types of the resources.
    Type,
    /// A search that resources of a type must be found by.
    TypeFilter,
    /// The elements that are written.
    Elements,
    /// The patients.
    Patient,
    /// Data about the resources.
    IncludeAssociatedData,
    /// What a file holds together.
    OrganizeOutputBy,
    /// Whether the manifest may be had while the job runs.
    AllowPartialManifests,
    /// The kind of export, of the Da Vinci guides.
    ExportType,
    /// The `Content-Encoding` of the files.
    OutputEncoding,
}

/// A row of the table.
pub struct Row {
    /// What it is called in a request.
    pub name: &'static str,
    /// What it is.
    pub parameter: Parameter,
    /// Whether it may come more than once.
    pub repeats: bool,
    /// Where it is known.
    pub at: &'static [StartPoint],
}

const LISTS: &[StartPoint] = &[Group, Attribution];
const PATIENTS: &[StartPoint] = &[Patients, Group, Attribution];

/// The parameters of Bulk Data STU2 and STU3 (standards §1.2) and of ATR (§3.2).
///
/// `resourceTypes` is what the examples of the ATR guide call `_type` (§5.25). `_outputEncoding` is this server's own: an
/// object store sends a file as it lies there, whatever `Accept-Encoding` says, so that only a client that has asked for
/// compressed files gets them.
static TABLE: [Row; 13] = [
    once("_outputFormat", Parameter::OutputFormat, &StartPoint::ALL),
    once("_since", Parameter::Since, &StartPoint::ALL),
    once("_until", Parameter::Until, &StartPoint::ALL),
    many("_type", Parameter::Type, &StartPoint::ALL),
    many("resourceTypes", Parameter::Type, &[Attribution]),
    many("_typeFilter", Parameter::TypeFilter, &StartPoint::ALL),
    many("_elements", Parameter::Elements, &StartPoint::ALL),
    many("patient", Parameter::Patient, PATIENTS),
    many("includeAssociatedData", Parameter::IncludeAssociatedData, &StartPoint::ALL),
    once("organizeOutputBy", Parameter::OrganizeOutputBy, LISTS),
    once("allowPartialManifests", Parameter::AllowPartialManifests, &StartPoint::ALL),
    once("exportType", Parameter::ExportType, LISTS),
    once("_outputEncoding", Parameter::OutputEncoding, &StartPoint::ALL),
];

const fn once(name: &'static str, parameter: Parameter, at: &'static [StartPoint]) -> Row {
    Row { name, parameter, repeats: false, at }
}

const fn many(name: &'static str, parameter: Parameter, at: &'static [StartPoint]) -> Row {
    Row { name, parameter, repeats: true, at }
}

/// The row of a name, wherever it is known.
pub fn row(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name == name)
}

/// The rows that are known at a start point.
pub fn rows_at(start: StartPoint) -> impl Iterator<Item = &'static Row> {
    TABLE.iter().filter(move |row| row.at.contains(&start))
}

/// The names that are known at a start point, separated by commas.
pub fn names_at(start: StartPoint) -> String {
    rows_at(start).map(|row| row.name).collect::<Vec<_>>().join(", ")
}
