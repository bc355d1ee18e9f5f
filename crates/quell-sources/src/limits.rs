//! Sources room: every cap on what a stranger's bytes may ask of this crate. Holds numbers only.
//!
//! What is beyond a cap is a counted reject or a named anomaly, never a silent cut.

use quell_core::time::{HOUR, MINUTE};

/// Bytes of a body as it comes over the wire: 2 MiB.
pub const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of a body after decompression, and of one polled page: 16 MiB.
pub const UNPACKED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of one record.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// Records in one body.
pub const RECORDS_MAX: usize = 10_000;
/// Levels of nesting in one record, the record itself being level 1.
pub const DEPTH_MAX: usize = 64;
/// Signals that one record may give.
pub const SIGNALS_MAX: usize = 1024;
/// Signals that one body may give: who has more sends several bodies, and a poller asks for fewer
/// records.
pub const BODY_SIGNALS_MAX: usize = 20_000;
/// Bytes of an identifier; the core's own limit.
pub const IDENTIFIER_BYTES_MAX: usize = 512;
/// Bytes of an entity's value; the core's own limit.
pub const ENTITY_BYTES_MAX: usize = 2048;
/// Entities of one signal.
pub const ENTITIES_MAX: usize = 64;
/// Bytes of an attribute's value.
pub const ATTRIBUTE_BYTES_MAX: usize = 1024;
/// Attributes that a pack may name; one more is Quell's own `self`.
pub const ATTRIBUTES_MAX: usize = 31;
/// Bytes of a record key; a longer key is replaced by its digest.
pub const KEY_BYTES_MAX: usize = 256;
/// Characters of a reject's detail.
pub const DETAIL_CHARS_MAX: usize = 240;
/// How far in the future a time may lie, in microseconds.
pub const FUTURE_MAX: i64 = 5 * MINUTE;
/// From which distance between event and verdict on a verdict is late, in microseconds.
pub const LATE_FROM: i64 = HOUR;

/// Bytes of one pack.
pub const PACK_BYTES_MAX: usize = 256 * 1024;
/// Groups of event types in one pack.
pub const GROUPS_MAX: usize = 512;
/// Rows of one group.
pub const ROWS_MAX: usize = 64;
/// Characters of one path.
pub const PATH_CHARS_MAX: usize = 256;
