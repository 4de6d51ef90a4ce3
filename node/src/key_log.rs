//! A log of the keys that sealed what left, for tests that count key reuse. Debug builds only.
//!
//! ```text
//!   frames after the commit ─▶ KeyLog ─▶ $SILBO_KEYLOG:  "TAG HASH" a line, in hexadecimal
//! ```
//! A tag is a function of a chain's header key and the number in the chain, and so are the header's cipher key and nonce
//! and the message key (protocol: `session::tags`, `session::ratchet`). One tag on two different envelopes is therefore
//! one (key, nonce) pair used for two plaintexts; the same envelope sent again is the same line again. What was sealed
//! but never left is no reuse: nobody else has seen it. The log holds nothing that the carrier of the envelope does not
//! see, and it is in no release build.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use silbo_protocol::wire::envelope::ENVELOPE_FIXED_BYTES;
use silbo_protocol::wire::frame::Frame;
use silbo_protocol::wire::proto::mbox_req::Op;

/// Names the file; without it nothing is logged.
const VARIABLE: &str = "SILBO_KEYLOG";
/// Bytes in front of the tag.
const HEAD_BYTES: usize = 4;

/// The open log, if the environment asks for one.
pub(crate) struct KeyLog(Option<File>);

impl KeyLog {
    /// Opens the file for appending.
    ///
    /// # Panics
    /// When the file that was asked for cannot be opened: a test must not pass because its log is missing.
    pub(crate) fn open() -> Self {
        let file = std::env::var_os(VARIABLE).map(|path| {
            let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
            opened.expect("the key log that was asked for opens")
        });
        Self(file)
    }

    /// Notes the envelopes of a frame that is about to leave.
    ///
    /// # Panics
    /// When the log cannot be written.
    pub(crate) fn note(&mut self, frame: &[u8]) {
        let Some(file) = &mut self.0 else { return };
        let envelopes = match Frame::decode(frame) {
            Ok(Frame::Envelopes(envelopes)) => envelopes,
            Ok(Frame::MboxReq(request)) => match request.op {
                Some(Op::Deposit(deposit)) => deposit.env,
                _ => return,
            },
            _ => return,
        };
        let mut lines = String::new();
        for envelope in &envelopes {
            let Some(tag) = envelope.get(HEAD_BYTES..ENVELOPE_FIXED_BYTES) else { continue };
            lines.extend(tag.iter().map(|byte| format!("{byte:02x}")));
            lines.push_str(&format!(" {}\n", blake3::hash(envelope).to_hex()));
        }
        file.write_all(lines.as_bytes()).expect("the key log is written");
    }
}
