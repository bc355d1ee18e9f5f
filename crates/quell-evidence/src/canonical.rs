//! Evidence: the one encoding of JSON values, RFC 8785 without floats. Never leans on the order
//! of a map, nor on an option of the JSON library that another crate may switch on.

use serde_json::{Map, Number, Value};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Containers that may lie inside each other, the outermost counted.
pub const MAX_DEPTH: usize = 64;

/// Bytes of one encoded value.
pub const MAX_BYTES: usize = 1 << 20;

/// The greatest magnitude of an integer, 2^53 - 1 (RFC 8785, section 3.2.2.3, by way of I-JSON).
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// What the JSON library treats as its own when it is a member's name.
const RESERVED: &str = "$serde_json::";

/// Why a value or some bytes have no canonical form here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotCanonical {
    /// A number with a fraction or an exponent, or beyond 64 bits.
    #[error("`{0}` is not an integer: write it as a string")]
    Float(String),
    /// An integer that not every reader of JSON can hold.
    #[error("`{0}` is beyond 2^53 - 1: write it as a string")]
    Integer(String),
    /// A member's name outside ASCII.
    #[error("the member name `{}` is not ASCII", .0.escape_debug())]
    Key(String),
    /// A member's name that the JSON library keeps for itself.
    #[error("the member name `{}` is reserved", .0.escape_debug())]
    Reserved(String),
    /// More than [`MAX_DEPTH`] containers inside each other.
    #[error("nested deeper than {0} levels")]
    Deep(usize),
    /// More than [`MAX_BYTES`] bytes.
    #[error("longer than {0} bytes")]
    Long(usize),
    /// Not JSON at all.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// JSON, but written another way: spaces, other order or escapes, a member twice.
    #[error("not in canonical form from byte {0} on")]
    Slack(usize),
}

/// The two caps of one encoding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caps {
    pub(crate) depth: usize,
    pub(crate) bytes: usize,
}

/// What takes encoded bytes: a buffer or a running digest.
pub(crate) trait Sink {
    fn put(&mut self, bytes: &[u8]);
}

/// Encodes `value` by RFC 8785, with members sorted here.
///
/// # Errors
/// [`NotCanonical`] for floats, integers beyond 2^53 - 1, member names that are not ASCII, and
/// beyond [`MAX_DEPTH`] or [`MAX_BYTES`].
pub fn encode(value: &Value) -> Result<Vec<u8>, NotCanonical> {
    let mut out = Vec::new();
    encode_capped(value, Caps::DEFAULT, &mut out)?;
    Ok(out)
}

/// Reads bytes that [`encode`] would write for the value that they hold.
///
/// # Errors
/// [`NotCanonical`] for anything else: other spacing, order or escapes, a member given twice,
/// bytes after the value, and whatever [`encode`] refuses.
pub fn parse_canonical(bytes: &[u8]) -> Result<Value, NotCanonical> {
    parse_capped(bytes, Caps::DEFAULT)
}

impl Caps {
    pub(crate) const DEFAULT: Self = Self { depth: MAX_DEPTH, bytes: MAX_BYTES };
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Sink for Sha256 {
    fn put(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }
}

/// Appends the encoding of `value` to `out`; on an error `out` is as it was.
pub(crate) fn encode_capped(
    value: &Value,
    caps: Caps,
    out: &mut Vec<u8>,
) -> Result<(), NotCanonical> {
    let start = out.len();
    let mut encoder = Encoder { caps, start, out };
    let done = encoder.value(value, 0);
    if done.is_err() {
        out.truncate(start);
    }
    done
}

/// Reads bytes that [`encode_capped`] would write.
pub(crate) fn parse_capped(bytes: &[u8], caps: Caps) -> Result<Value, NotCanonical> {
    if bytes.len() > caps.bytes {
        return Err(NotCanonical::Long(caps.bytes));
    }
    let value: Value =
        serde_json::from_slice(bytes).map_err(|e| NotCanonical::NotJson(e.to_string()))?;
    let mut again = Vec::with_capacity(bytes.len());
    encode_capped(&value, caps, &mut again)?;
    if again == bytes {
        return Ok(value);
    }
    let same = again.iter().zip(bytes).take_while(|(a, b)| a == b).count();
    Err(NotCanonical::Slack(same))
}

/// Writes a string with the escapes of RFC 8785, section 3.2.2.2, and no others.
pub(crate) fn put_string(text: &str, out: &mut impl Sink) {
    out.put(b"\"");
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|b| matches!(b, 0..=0x1f | b'"' | b'\\')) {
        let (plain, tail) = rest.split_at(at);
        out.put(plain);
        let Some((byte, tail)) = tail.split_first() else {
            break;
        };
        put_escape(*byte, out);
        rest = tail;
    }
    out.put(rest);
    out.put(b"\"");
}

/// Writes an integer in decimal.
pub(crate) fn put_integer(number: u64, out: &mut impl Sink) {
    let mut digits = [b'0'; 20];
    let mut left = number;
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + u8::try_from(left % 10).unwrap_or(0);
        used += 1;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    let (_, written) = digits.split_at(digits.len() - used);
    out.put(written);
}

/// Writes one byte that may not stand for itself in a string.
fn put_escape(byte: u8, out: &mut impl Sink) {
    match byte {
        b'"' => out.put(br#"\""#),
        b'\\' => out.put(br"\\"),
        0x08 => out.put(br"\b"),
        0x09 => out.put(br"\t"),
        0x0a => out.put(br"\n"),
        0x0c => out.put(br"\f"),
        0x0d => out.put(br"\r"),
        other => {
            let hex = |nibble: u8| {
                if nibble < 10 { b'0' + nibble } else { b'a' + (nibble - 10) }
            };
            out.put(br"\u00");
            out.put(&[hex(other >> 4), hex(other & 0x0f)]);
        }
    }
}

struct Encoder<'a> {
    caps: Caps,
    start: usize,
    out: &'a mut Vec<u8>,
}

impl Encoder<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), NotCanonical> {
        match value {
            Value::Null => self.out.put(b"null"),
            Value::Bool(true) => self.out.put(b"true"),
            Value::Bool(false) => self.out.put(b"false"),
            Value::Number(number) => self.number(number)?,
            Value::String(text) => put_string(text, self.out),
            Value::Array(items) => self.array(items, self.deeper(depth)?)?,
            Value::Object(members) => self.object(members, self.deeper(depth)?)?,
        }
        if self.out.len() - self.start > self.caps.bytes {
            return Err(NotCanonical::Long(self.caps.bytes));
        }
        Ok(())
    }

    fn deeper(&self, depth: usize) -> Result<usize, NotCanonical> {
        if depth >= self.caps.depth {
            return Err(NotCanonical::Deep(self.caps.depth));
        }
        Ok(depth + 1)
    }

    fn number(&mut self, number: &Number) -> Result<(), NotCanonical> {
        let magnitude = match (number.as_u64(), number.as_i64()) {
            (Some(positive), _) => positive,
            (None, Some(negative)) => negative.unsigned_abs(),
            (None, None) => return Err(NotCanonical::Float(number.to_string())),
        };
        if magnitude > MAX_INTEGER {
            return Err(NotCanonical::Integer(number.to_string()));
        }
        // Not `as_u64().is_none()`: with arbitrary precision the library keeps `-0` as it is.
        if number.as_i64().is_some_and(i64::is_negative) {
            self.out.put(b"-");
        }
        put_integer(magnitude, self.out);
        Ok(())
    }

    fn array(&mut self, items: &[Value], depth: usize) -> Result<(), NotCanonical> {
        self.out.put(b"[");
        for (position, item) in items.iter().enumerate() {
            if position > 0 {
                self.out.put(b",");
            }
            self.value(item, depth)?;
        }
        self.out.put(b"]");
        Ok(())
    }

    fn object(&mut self, members: &Map<String, Value>, depth: usize) -> Result<(), NotCanonical> {
        let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
        sorted.sort_unstable_by_key(|(key, _)| key.as_bytes());
        self.out.put(b"{");
        for (position, (key, value)) in sorted.into_iter().enumerate() {
            if !key.is_ascii() {
                return Err(NotCanonical::Key(key.clone()));
            }
            if key.starts_with(RESERVED) {
                return Err(NotCanonical::Reserved(key.clone()));
            }
            if position > 0 {
                self.out.put(b",");
            }
            put_string(key, self.out);
            self.out.put(b":");
            self.value(value, depth)?;
        }
        self.out.put(b"}");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
