//! What the lines of an `error` file say, in the words of the oracle.

use serde_json::Value;

use crate::oracle::Reached;

/// Adds what a line says to what is known. Fails when it says of a missing resource what another line has said.
pub fn read(line: &str, reached: &mut Reached) -> Result<(), String> {
    let json: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let issue = &json["issue"][0];
    let text = issue["diagnostics"].as_str().ok_or("an error line has no diagnostics")?;
    let Some((_, target)) = text.split_once(" -> ") else {
        // Of a member, not of a reference: it has no entity, or cannot be read.
        return Ok(());
    };
    let target = target.split(": ").next().unwrap_or_default().to_owned();
    match (issue["code"].as_str(), text.contains("another Group")) {
        (Some("not-found"), _) => {
            if reached.missing.insert(target.clone()) {
                Ok(())
            } else {
                Err(format!("{target} is told to be missing twice"))
            }
        }
        (Some(_), true) => Ok(()),
        (Some(_), false) => {
            reached.unresolvable.insert(target);
            Ok(())
        }
        (None, _) => Err("an error line has no code".to_owned()),
    }
}
