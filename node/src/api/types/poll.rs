//! Polls.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Parameters of `message.poll`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MessagePoll {
    /// `me`, an id, a unique prefix of an id of at least 8 characters, or the local name; a group by `#` and its name.
    pub chat: String,
    /// The question.
    pub body: String,
    /// What can be chosen from: 2 to 16, each of 1 to 128 bytes.
    pub options: Vec<String>,
    /// How many of them everybody may choose; 1 without it.
    #[serde(default)]
    pub max_choices: Option<u32>,
    /// Seconds after which nobody can vote any more; without it there is no end.
    #[serde(default)]
    pub ends_in_s: Option<u32>,
    /// Chosen by the caller; asking again with the same value returns the first message.
    #[serde(default)]
    pub client_id: Option<String>,
}

/// Parameters of `message.vote`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageVote {
    /// The message that asks.
    pub id: String,
    /// Options by number, from 1. None takes the vote back.
    pub choices: Vec<u32>,
}

/// What can be chosen from, and what was.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Poll {
    /// The options.
    pub options: Vec<PollOption>,
    /// How many of them everybody may choose.
    pub max_choices: u32,
    /// How many have voted.
    pub voters: u32,
    /// After this nobody can vote; absent where there is no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<u64>,
    /// The own choices, by number from 1.
    pub mine: Vec<u32>,
}

/// An option of a poll.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PollOption {
    /// Its text.
    pub text: String,
    /// Who chose it.
    pub votes: Vec<Voter>,
}

/// Who chose an option.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Voter {
    /// The contact's id, or `me`; in a group, the name the member gave themselves.
    pub from: String,
    /// In a group, the account id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
}
