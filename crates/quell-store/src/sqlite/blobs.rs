//! Store: bytes under their digest. Never looks into them.

use std::sync::Arc;

use quell_core::id::Digest;
use rusqlite::params;

use super::commit::{check_lease, head};
use super::{SqliteStore, failed, int, keys, place};
use crate::commit::WriteError;
use crate::packed::PackedBlob;
use crate::store::Blobs;

impl Blobs for SqliteStore {
    fn keep(&mut self, tenant: &str, epoch: u64, bytes: &[u8]) -> Result<Digest, WriteError> {
        let packed = PackedBlob::new(bytes)?;
        let ring = Arc::clone(&self.keys);
        let fresh = self.write(|conn, salts| {
            check_lease(conn, tenant, epoch)?;
            let at = head(conn, tenant).map_err(failed)?.last_at.unwrap_or_default();
            let (mut seal, fresh) = keys::seal(conn, &ring, (tenant, epoch), at, salts)?;
            let place = place::blob(tenant, &packed.digest, packed.codec, packed.raw_bytes);
            let sealed = seal.value(&place, &packed.bytes)?;
            conn.prepare_cached(
                "INSERT INTO blob (tenant, epoch, digest, codec, raw_bytes, bytes, key_id)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
            )
            .and_then(|mut insert| {
                insert.execute(params![
                    tenant,
                    int(epoch),
                    packed.digest.0,
                    packed.codec,
                    packed.raw_bytes,
                    sealed.bytes,
                    sealed.key,
                ])
            })
            .map_err(failed)?;
            Ok::<_, WriteError>(fresh)
        })?;
        fresh.into_iter().for_each(|(stored, key)| self.keys.learn(&stored, key));
        self.wal.wrote(packed.bytes.len());
        Ok(packed.digest)
    }

    fn discard(&mut self, tenant: &str, epoch: u64, digest: &Digest) -> Result<(), WriteError> {
        self.write(|conn, _| {
            check_lease(conn, tenant, epoch)?;
            conn.prepare_cached("DELETE FROM blob WHERE tenant = ?1 AND digest = ?2")
                .and_then(|mut delete| delete.execute(params![tenant, digest.0]))
                .map_err(failed)?;
            Ok(())
        })
    }
}
