//! Parameters and results of the methods, as they are in JSON; the schema is made of these types.
//!
//! Names are camelCase, times are integer milliseconds since 1970 UTC and end in `At`, bytes are base64url without padding.
//! Parameters refuse unknown fields (a typing error should not be silent); results may grow.

mod channel;
mod chat;
mod event;
mod group;
mod mesh;
mod message;
mod net;
mod people;
mod poll;
mod relay;
mod system;
mod token;

pub use channel::*;
pub use chat::*;
pub use event::*;
pub use group::*;
pub use mesh::*;
pub use message::*;
pub use net::*;
pub use people::*;
pub use poll::*;
pub use relay::*;
pub use system::*;
pub use token::*;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// No parameters.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Done; nothing to say.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Done {}

/// A list.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub struct List<T> {
    /// Its items.
    pub items: Vec<T>,
}

/// A message or invitation by its id.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ById {
    /// The id.
    pub id: String,
}

/// A conversation.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByChat {
    /// `me`, an id, a unique prefix of an id of at least 8 characters, or the local name; a group or channel by `#` and its name.
    pub chat: String,
}

/// A contact.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByContact {
    /// An id, a unique prefix of an id of at least 8 characters, or the local name.
    pub contact: String,
}
