//! The four places below the base URL at which an export starts.

use std::fmt;

use shared::export::Operation;

/// Where a kick-off was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartPoint {
    /// All that the server holds (Bulk Data, "Endpoint - System Level Export").
    System,
    /// All patients (Bulk Data, "Endpoint - All Patients").
    Patients,
    /// An attribution list, by the operation of Bulk Data and of ATR 1.0.0 (standards §3.2).
    Group,
    /// An attribution list, by the operation of ATR 2.x.
    Attribution,
}

impl StartPoint {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::System, Self::Patients, Self::Group, Self::Attribution];

    /// The route below the base; `list` is the id of a Group.
    pub const fn route(self) -> &'static str {
        match self {
            Self::System => "$export",
            Self::Patients => "Patient/$export",
            Self::Group => "Group/{list}/$export",
            Self::Attribution => "Group/{list}/$davinci-data-export",
        }
    }

    /// The operation that is called there.
    pub fn operation(self) -> Operation {
        match self {
            Self::System | Self::Patients | Self::Group => Operation::Export,
            Self::Attribution => Operation::DavinciDataExport,
        }
    }
}

impl fmt::Display for StartPoint {
    /// As the standards write it: `Group/[id]/$export`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.route().replace("{list}", "[id]"))
    }
}
