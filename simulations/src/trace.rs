//! The trace: one hash over everything that goes into and comes out of every engine, so that two runs can be compared.

use silbo_protocol::input::Input;
use silbo_protocol::step::{Send, Step};
use silbo_protocol::store::Write;

use crate::node::NodeId;

/// A running BLAKE3 over all inputs and steps, and the last of them in words.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    hasher: blake3::Hasher,
    steps: u64,
    /// Print every input and step to standard error.
    pub verbose: bool,
}

impl Trace {
    /// Hex hash of everything so far.
    pub fn hash(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }

    /// Inputs handled so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    pub(crate) fn note(&mut self, at_ms: u64, node: NodeId, what: &str) {
        self.head(b'n', at_ms, node);
        self.field(what.as_bytes());
        if self.verbose {
            eprintln!("{at_ms:>10} {} -- {what}", node.0);
        }
    }

    pub(crate) fn input(&mut self, at_ms: u64, node: NodeId, input: &Input) {
        self.steps += 1;
        self.head(b'i', at_ms, node);
        match input {
            Input::Frame { link, bytes } => {
                self.field(&link.0.to_be_bytes());
                self.field(bytes);
            }
            other => self.field(format!("{other:?}").as_bytes()),
        }
        if self.verbose {
            eprintln!("{at_ms:>10} {} <- {}", node.0, input_in_words(input));
        }
    }

    pub(crate) fn step(&mut self, at_ms: u64, node: NodeId, step: &Step) {
        self.head(b's', at_ms, node);
        for write in &step.writes {
            match write {
                Write::Put { table, key, value } => {
                    self.field(&[*table as u8]);
                    self.field(key);
                    self.field(value);
                }
                other => self.field(format!("{other:?}").as_bytes()),
            }
        }
        for send in &step.sends {
            match send {
                Send::Frame { link, bytes } => {
                    self.field(&link.0.to_be_bytes());
                    self.field(bytes);
                }
                other => self.field(format!("{other:?}").as_bytes()),
            }
        }
        if step.reply.is_empty() && step.events.is_empty() {
            self.field(b"[][]");
        } else {
            self.field(format!("{:?}{:?}", step.reply, step.events).as_bytes());
        }
        if self.verbose {
            eprintln!("{at_ms:>10} {} -> {}", node.0, step_in_words(step));
        }
    }

    fn head(&mut self, kind: u8, at_ms: u64, node: NodeId) {
        self.hasher.update(&[kind]);
        self.hasher.update(&at_ms.to_be_bytes());
        self.hasher.update(&(node.0 as u64).to_be_bytes());
    }

    fn field(&mut self, bytes: &[u8]) {
        self.hasher.update(&(bytes.len() as u64).to_be_bytes());
        self.hasher.update(bytes);
    }
}

fn input_in_words(input: &Input) -> String {
    match input {
        Input::Frame { link, bytes } => format!("{link} {}", frame_in_words(bytes)),
        other => shortened(&format!("{other:?}")),
    }
}

fn step_in_words(step: &Step) -> String {
    let mut out = format!("{} writes", step.writes.len());
    for write in &step.writes {
        match write {
            Write::Put { table, .. } => out.push_str(&format!(" +{table:?}")),
            Write::Delete { table, .. } => out.push_str(&format!(" -{table:?}")),
            Write::PutItem(row) => out.push_str(&format!(" +item({} {:?})", row.id, row.body)),
            Write::EraseItem { id, .. } => out.push_str(&format!(" -item({id})")),
            Write::EraseChat { chat } => out.push_str(&format!(" -chat({chat})")),
            Write::AppendEvent(event) => out.push_str(&format!(" event({:?} {:?})", event.message, event.kind)),
        }
    }
    for send in &step.sends {
        match send {
            Send::Frame { link, bytes } => out.push_str(&format!(" | {link} {}", frame_in_words(bytes))),
            other => out.push_str(&format!(" | {}", shortened(&format!("{other:?}")))),
        }
    }
    for (id, reply) in &step.reply {
        match reply {
            Ok(reply) => out.push_str(&format!(" | {id:?} ok {}", shortened(&format!("{reply:?}")))),
            Err(error) => out.push_str(&format!(" | {id:?} error {error}")),
        }
    }
    out
}

fn frame_in_words(bytes: &[u8]) -> String {
    use silbo_protocol::wire::frame::Frame;
    match Frame::decode(bytes) {
        Ok(Frame::Envelopes(list)) => {
            let tags: Vec<String> = list.iter().map(|e| format!("{}({} B)", tag_in_words(e), e.len())).collect();
            format!("Envelopes[{}]", tags.join(", "))
        }
        Ok(Frame::Receipts(list)) => format!("Receipts[{}]", list.len()),
        Ok(frame) => shortened(&format!("{frame:?}")),
        Err(error) => format!("no frame: {error} ({} B)", bytes.len()),
    }
}

fn tag_in_words(envelope: &[u8]) -> String {
    envelope.get(4..8).map_or_else(String::new, |tag| tag.iter().map(|b| format!("{b:02x}")).collect())
}

/// The same text with long lists of bytes cut to their last four, which tell keys apart.
fn shortened(text: &str) -> String {
    const BYTES_SHOWN: usize = 4;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, list)) = rest.split_once('[') {
        out.push_str(before);
        out.push('[');
        let end = list.find(|c: char| !matches!(c, '0'..='9' | ',' | ' ')).unwrap_or(list.len());
        let (numbers, behind) = list.split_at(end);
        let count = numbers.split(", ").count();
        if count > 2 * BYTES_SHOWN {
            let last: Vec<&str> = numbers.split(", ").skip(count - BYTES_SHOWN).collect();
            out.push_str(&format!("{count} B ..{}", last.join(",")));
        } else {
            out.push_str(numbers);
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_of_bytes_are_shown_by_their_end() {
        let text = shortened("Key([1, 2, 3, 4, 5, 6, 7, 8, 9]) [1, 2] []");
        assert_eq!(text, "Key([9 B ..6,7,8,9]) [1, 2] []");
    }
}
