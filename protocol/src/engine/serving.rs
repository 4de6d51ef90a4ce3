//! The relay role of this node: hands requests to the mailbox server and its answers to links.

use super::timers::Timer;
use super::turn::Turn;
use super::{Answer, Engine};
use crate::ids::LinkId;
use crate::input::RelayLimits;
use crate::limits::RETENTION_DAYS_RANGE;
use crate::mailbox::server::MailStep;
use crate::step::{Reply, RequestError};
use crate::store::StoreError;
use crate::time::MINUTE_MS;
use crate::wire::proto;

/// Expired mail is looked for this often when nothing is due earlier.
const SWEEP_MS: u64 = 10 * MINUTE_MS;

impl Engine {
    pub(super) fn serve(&mut self, limits: Option<RelayLimits>, turn: &mut Turn) -> Answer {
        if let Some(limits) = &limits
            && !RETENTION_DAYS_RANGE.contains(&limits.retention_days)
        {
            return Err(RequestError::Invalid { field: "retention", why: "from 1 to 90 days".to_owned() });
        }
        let writes = self.mail.set_limits(limits);
        turn.extend(writes);
        self.timers.set(Timer::MailSweep, turn.now.moment.after_ms(SWEEP_MS));
        Ok(Reply::RelayStatus(self.mail.status()))
    }

    pub(super) fn serve_request(
        &mut self,
        link: LinkId,
        req: proto::MboxReq,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let step = self.mail.handle(link, req, turn.now, turn.store())?;
        self.pass_on(step, turn);
        Ok(())
    }

    pub(super) fn mail_sweep(&mut self, turn: &mut Turn) -> Result<(), StoreError> {
        let step = self.mail.sweep(turn.now, turn.store())?;
        let pause = if step.writes.is_empty() { SWEEP_MS } else { 1_000 };
        self.pass_on(step, turn);
        self.timers.set(Timer::MailSweep, turn.now.moment.after_ms(pause));
        Ok(())
    }

    fn pass_on(&mut self, step: MailStep, turn: &mut Turn) {
        turn.extend(step.writes);
        for (link, frame) in step.frames {
            turn.frame(link, &frame);
        }
    }
}
