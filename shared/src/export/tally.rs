//! The account of a list's members: what became of each, so that a payer can explain every one that is not there.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// What one task, or all tasks of a job together, found of the members of a list.
///
/// The List task counts the entries, the tasks of the Patient slices count each patient once, so that of all tasks
/// together `patients` = `written` + all of `left_out` + `missing` + `unreadable`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Elements of `Group.member`. A patient that is attributed to several providers has as many.
    pub entries: u64,
    /// Those among them that are `inactive`.
    pub inactive: u64,
    /// Those among them that lead to no Patient of this server: without an entity, by identifier only, to another server.
    pub without_patient: u64,
    /// Patients that the entries lead to, each once.
    pub patients: u64,
    /// Those among them whose Patient was written.
    pub written: u64,
    /// Those among them whose Patient was not, by the parameter that left it out.
    pub left_out: BTreeMap<String, u64>,
    /// Those among them for whom there is no Patient.
    pub missing: u64,
    /// Those among them whose Patient is not the JSON of one.
    pub unreadable: u64,
    /// Lines of the error files for references that lead to nothing, by path. What the members name by another way than
    /// `Type/id` has a line for each member; any other target has one, under the path by which it was met first.
    pub missing_references: BTreeMap<String, u64>,
}

impl AddAssign<&Self> for Tally {
    fn add_assign(&mut self, more: &Self) {
        self.entries += more.entries;
        self.inactive += more.inactive;
        self.without_patient += more.without_patient;
        self.patients += more.patients;
        self.written += more.written;
        self.missing += more.missing;
        self.unreadable += more.unreadable;
        for (sums, counts) in
            [(&mut self.left_out, &more.left_out), (&mut self.missing_references, &more.missing_references)]
        {
            for (name, count) in counts {
                *sums.entry(name.clone()).or_default() += count;
            }
        }
    }
}
