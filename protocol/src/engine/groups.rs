//! Groups: what a person asks of them.

use crate::input::{Request, RequestId};
use crate::store::StoreError;

use super::turn::Turn;
use super::{Answer, Engine, not_found};

impl Engine {
    /// Answers a request about groups. `Ok(None)`: the reply comes later.
    pub(super) fn group_request(
        &mut self,
        _id: RequestId,
        _request: Request,
        _turn: &mut Turn,
    ) -> Result<Option<Answer>, StoreError> {
        Ok(Some(not_found("group")))
    }
}
