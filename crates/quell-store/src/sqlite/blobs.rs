//! Store: bytes under their digest. Never looks into them.

use quell_core::id::Digest;
use rusqlite::params;

use super::commit::check_lease;
use super::{SqliteStore, failed, int};
use crate::commit::WriteError;
use crate::packed::PackedBlob;
use crate::store::Blobs;

impl Blobs for SqliteStore {
    fn keep(&mut self, tenant: &str, epoch: u64, bytes: &[u8]) -> Result<Digest, WriteError> {
        let packed = PackedBlob::new(bytes)?;
        self.write(|conn, _| {
            check_lease(conn, tenant, epoch)?;
            conn.prepare_cached(
                "INSERT INTO blob (tenant, epoch, digest, codec, raw_bytes, bytes)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
            )
            .and_then(|mut insert| {
                insert.execute(params![
                    tenant,
                    int(epoch),
                    packed.digest.0,
                    packed.codec,
                    packed.raw_bytes,
                    packed.bytes,
                ])
            })
            .map_err(failed)
        })?;
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
