//! The parameters that an operation takes, as its definition tells them: every row of the kick-off's own table.

use serde_json::{Value, json};

use crate::parameters::{Parameter, Row, rows_at};
use crate::start::StartPoint;

/// The `OperationDefinition.parameter` elements of the operation that starts there.
pub fn elements(start: StartPoint) -> Vec<Value> {
    rows_at(start).map(element).collect()
}

fn element(row: &Row) -> Value {
    let (data_type, documentation) = described(row.parameter);
    let mut element = json!({
        "name": row.name,
        "use": "in",
        "min": 0,
        "max": if row.repeats { "*" } else { "1" },
        "documentation": documentation,
        "type": data_type,
    });
    if data_type == "Reference" {
        element["targetProfile"] = json!(["http://hl7.org/fhir/StructureDefinition/Patient"]);
    }
    element
}

/// The data type of a parameter and a sentence on it.
fn described(parameter: Parameter) -> (&'static str, &'static str) {
    match parameter {
        Parameter::OutputFormat => ("string", "NDJSON: application/fhir+ndjson, application/ndjson or ndjson."),
        Parameter::Since => {
            ("instant", "Only what changed after it, and of a list also what was put on the list after it.")
        }
        Parameter::Until => ("instant", "Only what changed before it."),
        Parameter::Type => {
            ("string", "Resource types, with commas between them; without it, those of attribution lists.")
        }
        Parameter::TypeFilter => {
            ("string", "A search for one type, as Type?name=value; of several for one type, one must match.")
        }
        Parameter::Elements => {
            ("string", "The root elements to write, as element or Type.element; mandatory ones are always written.")
        }
        Parameter::Patient => ("Reference", "Only these patients and what hangs on them; as a rule by POST."),
        Parameter::IncludeAssociatedData => ("code", "Data about the resources, such as LatestProvenanceResources."),
        Parameter::OrganizeOutputBy => {
            ("string", "Patient: each file holds the resources of one patient after the other.")
        }
        Parameter::AllowPartialManifests => {
            ("boolean", "Files appear in the manifest while the export is still running.")
        }
        Parameter::ExportType => ("canonical", "hl7.fhir.us.davinci-atr, which it is without the parameter too."),
        Parameter::OutputEncoding => {
            ("code", "How the files are stored: gzip, or identity, the default. A parameter of this server.")
        }
    }
}
