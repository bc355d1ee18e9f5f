//! Store: keys, and what is encrypted with them. Never writes a key in clear, to no file, log or
//! error, and never decides what is worth encrypting.
//!
//! XChaCha20-Poly1305 throughout. Its nonce of 24 bytes may be drawn at random for as many
//! ciphertexts as a day has (AES-GCM's of 12 bytes only for 2^32 under one key, NIST SP 800-38D),
//! so that no counter must survive a crash, a restored backup or a copied folder.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Key, Tag, XChaCha20Poly1305, XNonce};
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use quell_core::id::Tenant;
use quell_core::time::{DAY, Time};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::commit::WriteError;
use crate::salt::Salts;

/// Bytes of a nonce.
pub(crate) const NONCE_BYTES: usize = 24;

/// Bytes that a ciphertext is longer than what it hides.
pub(crate) const TAG_BYTES: usize = 16;

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// A nonce.
pub(crate) type Nonce = [u8; NONCE_BYTES];

/// The key-encryption key: it wraps data keys and nothing else. Its owner keeps it away from the
/// store's disk; here it is in memory alone, and overwritten when it is dropped.
#[derive(Clone)]
pub struct OuterKey(Zeroizing<[u8; KEY_BYTES]>);

/// A text that is no key. It is not shown: it may be nearly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the store's key is not 32 bytes in hexadecimal or base64")]
pub struct BadKey;

/// What a data key is for: what is erased by erasing the key of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// Bodies of journal frames.
    Journal = 0,
    /// Everything else: rows that outlive the day, bodies and salts of evidence records.
    Rows = 1,
}

/// A data key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrappedKey {
    /// From 1; 0 says "in clear".
    pub(crate) id: u32,
    pub(crate) tenant: Tenant,
    /// Days since 1970 in UTC.
    pub(crate) day: i64,
    pub(crate) purpose: Purpose,
    pub(crate) nonce: Nonce,
    pub(crate) wrapped: Vec<u8>,
}

/// A data key ready for use.
pub(crate) struct DataKey {
    pub(crate) id: u32,
    cipher: XChaCha20Poly1305,
}

/// Why a data key is not at hand.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoKey {
    /// No key was given, or the data key was erased.
    #[error("it is encrypted under key `{0}`, which is not at hand")]
    NotAtHand(u32),
    /// The stored data key does not open under the key that was given.
    #[error("key `{0}` does not open under the store's key: its bytes have changed")]
    Damaged(u32),
    /// The table of data keys cannot be read.
    #[error("the data keys cannot be read: {0}")]
    Unread(String),
}

/// Gives data keys by their number.
pub(crate) trait Keys {
    /// The key, if it is at hand.
    fn key(&self, id: u32) -> Result<Arc<DataKey>, NoKey>;
}

/// No key at all: what a store in clear needs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NoKeys;

/// The keys of one store, shared by its writer and its readers.
#[derive(Default)]
pub(crate) struct Keyring {
    outer: Option<OuterKey>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    by_id: BTreeMap<u32, Arc<DataKey>>,
    of_day: BTreeMap<(Tenant, i64, Purpose), u32>,
}

/// Encrypts what one commit writes; clear where the store has no key.
pub(crate) struct Seal {
    keys: Option<(Arc<DataKey>, Arc<DataKey>)>,
    prefix: [u8; 16],
    count: u64,
}

/// A value as it is stored.
#[derive(Debug)]
pub(crate) struct Sealed<'a> {
    /// 0 for clear.
    pub(crate) key: u32,
    /// As it is, or nonce, ciphertext and tag.
    pub(crate) bytes: Cow<'a, [u8]>,
}

impl OuterKey {
    /// Reads a key: 64 hexadecimal digits, or base64 with padding.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let text = text.trim().as_bytes();
        let decode = || HEXLOWER_PERMISSIVE.decode(text).or_else(|_| BASE64.decode(text));
        let bytes = Zeroizing::new(decode().map_err(|_| BadKey)?);
        let bytes: [u8; KEY_BYTES] = bytes.as_slice().try_into().map_err(|_| BadKey)?;
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// Wraps a data key.
    pub(crate) fn wrap(&self, key: &mut WrappedKey, data: &[u8]) -> Result<(), WriteError> {
        let mut wrapped = Vec::with_capacity(KEY_BYTES + TAG_BYTES);
        let outer = DataKey::new(0, &self.0);
        outer.seal_into(&key.nonce, &key.place(), data, &mut wrapped)?;
        key.wrapped = wrapped;
        Ok(())
    }

    /// The bytes of a wrapped data key; none under another outer key, or when it was changed.
    pub(crate) fn unwrap(&self, key: &WrappedKey) -> Option<Zeroizing<Vec<u8>>> {
        let outer = DataKey::new(0, &self.0);
        let data = outer.open(&key.nonce, &key.place(), &key.wrapped)?;
        (data.len() == KEY_BYTES).then(|| Zeroizing::new(data))
    }
}

impl WrappedKey {
    /// What the wrapping is bound to.
    fn place(&self) -> Vec<u8> {
        let id = self.id.to_be_bytes();
        let day = self.day.to_be_bytes();
        let purpose = [self.purpose as u8];
        place("quell/data-key/v1", &[&id, self.tenant.as_bytes(), &day, &purpose])
    }
}

impl DataKey {
    pub(crate) fn new(id: u32, bytes: &[u8; KEY_BYTES]) -> Self {
        Self { id, cipher: XChaCha20Poly1305::new(&Key::from(*bytes)) }
    }

    /// Appends ciphertext and tag of `plain`, bound to `place`.
    pub(crate) fn seal_into(
        &self,
        nonce: &Nonce,
        place: &[u8],
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), WriteError> {
        let start = out.len();
        out.extend_from_slice(plain);
        let body = out.get_mut(start..).unwrap_or_default();
        let tag = self
            .cipher
            .encrypt_inout_detached(&XNonce::from(*nonce), place, body.into())
            .map_err(|_| WriteError::Failed("a value is too long to be encrypted".to_owned()))?;
        out.extend_from_slice(&tag);
        Ok(())
    }

    /// What was sealed; none when a byte of it, of its nonce or of its place is another one.
    pub(crate) fn open(&self, nonce: &Nonce, place: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (body, tag) = sealed.split_last_chunk::<TAG_BYTES>()?;
        let mut plain = body.to_vec();
        self.cipher
            .decrypt_inout_detached(
                &XNonce::from(*nonce),
                place,
                plain.as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .ok()?;
        Some(plain)
    }
}

impl Keys for NoKeys {
    fn key(&self, id: u32) -> Result<Arc<DataKey>, NoKey> {
        Err(NoKey::NotAtHand(id))
    }
}

impl Keyring {
    /// A ring without data keys yet.
    pub(crate) fn new(outer: Option<OuterKey>) -> Self {
        Self { outer, known: Mutex::default() }
    }

    /// The key that wraps, where one was given.
    pub(crate) fn outer(&self) -> Option<&OuterKey> {
        self.outer.as_ref()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A key that was learned before.
    pub(crate) fn find(&self, id: u32) -> Option<Arc<DataKey>> {
        self.lock().by_id.get(&id).cloned()
    }

    /// The key of a day that was learned before.
    pub(crate) fn of_day(&self, tenant: &str, day: i64, purpose: Purpose) -> Option<Arc<DataKey>> {
        let known = self.lock();
        let id = known.of_day.get(&(tenant.to_owned(), day, purpose))?;
        known.by_id.get(id).cloned()
    }

    /// Unwraps a stored key, without learning it.
    pub(crate) fn unwrap(&self, stored: &WrappedKey) -> Result<Arc<DataKey>, NoKey> {
        let outer = self.outer.as_ref().ok_or(NoKey::NotAtHand(stored.id))?;
        let data = outer.unwrap(stored).ok_or(NoKey::Damaged(stored.id))?;
        let bytes = data.as_slice().try_into().map_err(|_| NoKey::Damaged(stored.id))?;
        Ok(Arc::new(DataKey::new(stored.id, bytes)))
    }

    /// Keeps a key that is stored for certain.
    pub(crate) fn learn(&self, stored: &WrappedKey, key: Arc<DataKey>) {
        let mut known = self.lock();
        let of_day = (stored.tenant.clone(), stored.day, stored.purpose);
        known.of_day.insert(of_day, stored.id);
        known.by_id.insert(stored.id, key);
    }
}

impl Seal {
    /// Encrypts nothing.
    pub(crate) fn clear() -> Self {
        Self { keys: None, prefix: [0; 16], count: 0 }
    }

    /// Encrypts under the keys of a day, for journal and rows. One random half of the nonces is
    /// drawn for the whole commit, the other half counts: none comes twice.
    pub(crate) fn new(
        journal: Arc<DataKey>,
        rows: Arc<DataKey>,
        salts: &mut dyn Salts,
    ) -> Result<Self, WriteError> {
        let mut prefix = [0; 16];
        let drawn = salts.next().map_err(|error| WriteError::Failed(error.to_string()))?;
        prefix.iter_mut().zip(drawn).for_each(|(to, from)| *to = from);
        Ok(Self { keys: Some((journal, rows)), prefix, count: 0 })
    }

    /// Bytes by which a frame is longer than in clear.
    pub(crate) fn frame_overhead(&self) -> usize {
        if self.keys.is_some() { NONCE_BYTES + TAG_BYTES } else { 0 }
    }

    /// Key and nonce of the next frame; none for clear.
    pub(crate) fn frame(&mut self) -> Option<(Arc<DataKey>, Nonce)> {
        let journal = Arc::clone(&self.keys.as_ref()?.0);
        Some((journal, self.nonce()))
    }

    /// A nonce that was not used before.
    pub(crate) fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; NONCE_BYTES];
        let parts = self.prefix.into_iter().chain(self.count.to_be_bytes());
        nonce.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        self.count = self.count.wrapping_add(1);
        nonce
    }

    /// A value as it is to be stored at its place.
    pub(crate) fn value<'a>(
        &mut self,
        place: &[u8],
        plain: &'a [u8],
    ) -> Result<Sealed<'a>, WriteError> {
        let Some((_, rows)) = &self.keys else {
            return Ok(Sealed { key: 0, bytes: Cow::Borrowed(plain) });
        };
        let rows = Arc::clone(rows);
        let nonce = self.nonce();
        let mut bytes = Vec::with_capacity(NONCE_BYTES + plain.len() + TAG_BYTES);
        bytes.extend_from_slice(&nonce);
        rows.seal_into(&nonce, place, plain, &mut bytes)?;
        Ok(Sealed { key: rows.id, bytes: Cow::Owned(bytes) })
    }
}

/// What a value of a row says in clear; none when it does not open.
pub(crate) fn open_value(key: &DataKey, place: &[u8], stored: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = stored.split_first_chunk::<NONCE_BYTES>()?;
    key.open(nonce, place, sealed)
}

/// Where a ciphertext belongs, as its associated data: a tag and fields, each after its length,
/// so that no two places are the same bytes.
pub(crate) fn place(tag: &str, fields: &[&[u8]]) -> Vec<u8> {
    let mut bytes =
        Vec::with_capacity(tag.len() + 4 + fields.iter().map(|f| f.len() + 4).sum::<usize>());
    for field in std::iter::once(tag.as_bytes()).chain(fields.iter().copied()) {
        bytes.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(field);
    }
    bytes
}

/// The place of a row of a table.
pub(crate) fn row_place(tenant: &str, table: &str, key: &[&[u8]]) -> Vec<u8> {
    let fields: Vec<&[u8]> =
        [tenant.as_bytes(), table.as_bytes()].into_iter().chain(key.iter().copied()).collect();
    place("quell/row/v1", &fields)
}

/// The day of a time, in days since 1970.
pub(crate) fn day(at: Time) -> i64 {
    at.0.div_euclid(DAY)
}

impl fmt::Debug for OuterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OuterKey(..)")
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("outer", &self.outer).finish_non_exhaustive()
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("encrypts", &self.keys.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
