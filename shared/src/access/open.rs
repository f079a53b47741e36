//! Lets everybody in, as one client that may do everything: for the trial on a laptop.

use async_trait::async_trait;

use super::{Authorizer, Caller, Lists, Refusal, Scopes, TokenEndpoint};
use crate::export::ClientId;

/// The authorizer that asks nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;

#[async_trait]
impl Authorizer for Open {
    async fn caller(&self, _authorization: Option<&str>) -> Result<Caller, Refusal> {
        Ok(Caller { client: ClientId("open".to_owned()), scopes: Scopes::all(), lists: Lists::All })
    }

    fn token_endpoint(&self) -> Option<&dyn TokenEndpoint> {
        None
    }
}
