//! Groups: what a person asks of them.

use crate::input::{Request, RequestId};
use crate::store::StoreError;

use super::turn::Turn;
use super::{Answer, Engine, not_found};
use crate::step::Reply;

impl Engine {
    /// Answers a request about groups. `Ok(None)`: the reply comes later.
    pub(super) fn group_request(
        &mut self,
        _id: RequestId,
        request: Request,
        _turn: &mut Turn,
    ) -> Result<Option<Answer>, StoreError> {
        match request {
            Request::GroupList => Ok(Some(Ok(Reply::Groups(Vec::new())))),
            _ => Ok(Some(not_found("group"))),
        }
    }
}
