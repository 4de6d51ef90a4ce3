//! Bytes ↔ types. The only place that parses; the fuzz targets call these very functions.

pub mod bag;
pub mod base32;
pub mod base64;
pub mod channel_link;
pub mod encounter;
pub mod envelope;
pub mod frame;
pub mod invite;
pub mod joining;
pub mod padding;

/// Generated from `proto/silbo.proto`.
#[allow(missing_docs, clippy::all)]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/silbo.v1.rs"));
}
