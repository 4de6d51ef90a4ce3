//! What a link hands over: frames, envelopes, padded plaintexts.

use silbo_protocol::limits::ENVELOPE_BYTES_MAX;
use silbo_protocol::time::UnixTime;
use silbo_protocol::wire::envelope::Envelope;
use silbo_protocol::wire::frame::Frame;
use silbo_protocol::wire::padding::{PadClass, pad, pad_to, unpad};

/// A frame decodes to itself after encoding.
pub fn frame(data: &[u8]) {
    if let Ok(frame) = Frame::decode(data) {
        assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
    }
}

/// The parts of an envelope are its bytes.
pub fn envelope(data: &[u8]) {
    let Ok(envelope) = Envelope::parse(data) else { return };
    let fixed = envelope.head.with_tag(&envelope.tag);
    assert_eq!([&fixed[..], envelope.ext, envelope.sealed].concat(), data);
    for kind in 0..=255 {
        if let Some(value) = envelope.extension(kind) {
            assert!(value.len() <= envelope.ext.len());
        }
    }
    for now in [0, 1_704_067_200_000, 1_800_000_000_000, u64::MAX].map(UnixTime) {
        let keep = envelope.head.keep_until(now);
        assert!(keep <= now.after_ms(envelope.head.ttl.ms()));
        let _ = envelope.head.expired(now, 7_200_000);
    }
}

/// Padding comes off only as it went on.
pub fn padding(data: &[u8]) {
    if let Some(plain) = unpad(data) {
        assert_eq!(pad_to(plain, data.len()).as_deref(), Some(data));
    }
    for class in [PadClass::Constrained, PadClass::Rich] {
        if let Ok(padded) = pad(class, data, 96) {
            assert!(padded.len() + 96 <= ENVELOPE_BYTES_MAX);
            assert_eq!(unpad(&padded), Some(data));
        }
    }
}
