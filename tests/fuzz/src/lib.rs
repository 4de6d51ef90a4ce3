//! The bodies of all fuzz targets. [`target`] runs one of them on one input; a defect is a panic.
//!
//! ```text
//!   bin/replay.rs        plain stable Rust: every file of corpus/<target>/, then mutations of them from a seed
//!   fuzz_targets/*.rs    libFuzzer: `cargo fuzz run <target> --features libfuzzer`
//!   targets/             what is called with the bytes, and what must hold afterwards
//!   fixture.rs           accounts, sessions and stores that the bytes are thrown at; the same in every run
//!   seeds.rs             makes the corpus from real values          mutate.rs   changes them
//! ```
//! Decoders behind a checksum, a MAC or a seal get the input twice: as it is, and with the protection made right
//! again, because whoever holds an invitation or is a contact can do that too.

pub mod fixture;
pub mod mutate;
pub mod seeds;
pub mod targets;

/// A target: its name and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, in the order they are run.
pub const TARGETS: &[Target] = &[
    ("base32", targets::text::base32),
    ("base64", targets::text::base64),
    ("invite_text", targets::text::invite_text),
    ("invite_binary", targets::text::invite_binary),
    ("safety_number", targets::text::safety_number),
    ("recovery_words", targets::text::recovery_words),
    ("frame", targets::wire::frame),
    ("envelope", targets::wire::envelope),
    ("padding", targets::wire::padding),
    ("event_record", targets::records::event_record),
    ("slot_record", targets::records::slot_record),
    ("stored_state", targets::records::stored_state),
    ("presence_validate", targets::presence::validate),
    ("presence_open", targets::presence::open),
    ("session_open", targets::session::open),
    ("skipped_open", targets::session::skipped),
    ("init_box", targets::session::init_box),
    ("init_block", targets::session::init_block),
    ("prekey_bundle", targets::session::prekey_bundle),
    ("card", targets::identity::card),
    ("device_log", targets::identity::device_log),
    ("group_operations", targets::group_operations::operations),
    ("mailbox_evidence", targets::mailbox::evidence),
    ("mailbox_server", targets::mailbox::server),
    ("riblt_cells", targets::carry::riblt_cells),
    ("reconcile_message", targets::carry::reconcile_message),
    ("group_told", targets::group::told),
    ("group_letter", targets::group::read_letter),
    ("group_stored", targets::group::stored),
    ("packets", targets::packets::packets),
    ("channel_link", targets::channel::link),
    ("channel_post", targets::channel::post),
    ("channel_reader", targets::channel::reader),
    ("engine", targets::engine::engine),
];

/// Runs a target on one input; false if there is no target of this name.
pub fn target(name: &str, data: &[u8]) -> bool {
    match TARGETS.iter().find(|(known, _)| *known == name) {
        Some((_, body)) => {
            body(data);
            true
        }
        None => false,
    }
}

/// Reads an input piece by piece; short inputs give zeros and empty pieces.
pub struct Pieces<'a>(&'a [u8]);

impl<'a> Pieces<'a> {
    /// Reads from the beginning.
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// One byte; `None` at the end.
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Two bytes, big-endian.
    pub fn short(&mut self) -> u16 {
        let high = self.byte().unwrap_or(0);
        u16::from_be_bytes([high, self.byte().unwrap_or(0)])
    }

    /// A length of two bytes and so many bytes, or as many as are left.
    pub fn piece(&mut self) -> &'a [u8] {
        let len = usize::from(self.short()).min(self.0.len());
        let (piece, rest) = self.0.split_at(len);
        self.0 = rest;
        piece
    }

    /// Everything that is left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// A piece as [`Pieces::piece`] reads it.
pub fn piece(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).expect("seeds are shorter than 64 KiB");
    [&len.to_be_bytes()[..], bytes].concat()
}
