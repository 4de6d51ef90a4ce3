//! Why a simulation stopped.

use silbo_protocol::step::RequestError;

/// The first thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A request was answered with an error.
    #[error("{node} refused a request: {error}")]
    Refused {
        /// Name of the node.
        node: String,
        /// Its answer.
        error: RequestError,
    },
    /// An invariant does not hold.
    #[error("{invariant} broken at {node}, {at_ms} ms into the run: {what}")]
    Broken {
        /// `I1` to `I8` of the threat model, or `rest` for a world that does not come to rest.
        invariant: &'static str,
        /// Name of the node.
        node: String,
        /// Virtual time.
        at_ms: u64,
        /// What was seen.
        what: String,
    },
    /// Something that had to happen did not.
    #[error("waited {waited_ms} ms of virtual time in vain: {what}\n{state}")]
    TimedOut {
        /// How long.
        waited_ms: u64,
        /// For what.
        what: String,
        /// Where every node stood.
        state: String,
    },
    /// A scenario saw something else than it expected.
    #[error("{0}")]
    Unexpected(String),
}
