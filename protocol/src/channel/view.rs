//! A channel as people and programs ask for it and see it.

use crate::ids::ChatId;
use crate::time::UnixTime;

/// From when the holder of a link reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelFrom {
    /// From the first day that can be read here.
    First,
    /// From the day the link is made.
    Today,
}

/// What is to be changed of a channel; `None` leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelChanges {
    /// What it is called; by its owner.
    pub name: Option<String>,
    /// What it is about; by its owner.
    pub topic: Option<String>,
    /// Days that posts stay, 0 for ever; by its owner.
    pub retention_days: Option<u32>,
    /// Whether others can find this device to read from it.
    pub serve: Option<bool>,
}

/// A channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelView {
    /// Its conversation.
    pub chat: ChatId,
    /// What it is called.
    pub name: String,
    /// What it is about.
    pub topic: String,
    /// This account writes in it.
    pub owner: bool,
    /// The beginning of the first day that can be read here.
    pub readable_from: UnixTime,
    /// Posts that are here, and are handed on to others.
    pub posts: u32,
    /// Their bytes.
    pub bytes: u64,
    /// Number of the newest of them.
    pub newest: Option<u64>,
    /// Days that posts stay; 0 for ever.
    pub retention_days: u32,
    /// The owner has signed two histories: the number of the post that showed it.
    pub forked: Option<u64>,
    /// Links on which the other end reads the channel too.
    pub readers: u32,
    /// Others can find this device to read from it.
    pub serve: bool,
    /// Since when it is here.
    pub joined_at: UnixTime,
}

/// A link to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelLinkView {
    /// Its conversation.
    pub chat: ChatId,
    /// Link to copy.
    pub link: String,
    /// Text for a QR code (alphanumeric mode).
    pub qr: String,
    /// The beginning of the first day its holder can read.
    pub readable_from: UnixTime,
}
