//! The task of the notices: what the kick-off passed over for a client that asked for lenient handling.

use shared::export::Written;

use crate::frame::{Frame, TaskError};
use crate::parts::Parts;

/// Writes one line of an error file for each notice (Bulk Data, "Response - Output Manifest": an OperationOutcome for each
/// of these parameters).
pub async fn notices(frame: &Frame<'_>) -> Result<Written, TaskError> {
    let mut parts = Parts::new(frame);
    let mut told = Ok(());
    for notice in &frame.request.notices {
        told = parts.problem(notice).await;
        if told.is_err() {
            break;
        }
    }
    parts.close(told).await
}
