//! Store: the tree's tables. Never signs anything that is not stored as read.

use std::sync::Arc;

use quell_core::time::Time;
use quell_evidence::Hash;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::commit::check_lease;
use super::views::Reader;
use super::{SqliteStore, failed, int, unsigned};
use crate::commit::WriteError;
use crate::store::{CheckpointSigner, SequenceError, Sequencer};
use crate::tree::{self, Growth, LEAVES_PER_STEP, Next, STEPS_PER_CHECKPOINT};
use crate::views::StoredCheckpoint;

impl Sequencer for SqliteStore {
    fn integrate(&mut self, tenant: &str, epoch: u64, limit: usize) -> Result<u64, SequenceError> {
        check_lease(&self.conn, tenant, epoch)?;
        let (size, _) = edge(&self.conn, tenant)?;
        if leaves(&self.conn, tenant, size, 1)?.is_empty() {
            return Ok(size);
        }
        self.write(|conn, _| {
            check_lease(conn, tenant, epoch)?;
            let (size, hashes) = edge(conn, tenant)?;
            let mut growth = Growth::from_edge(size, &hashes).map_err(WriteError::Damaged)?;
            let mut nodes = Vec::new();
            for leaf in leaves(conn, tenant, size, limit.min(LEAVES_PER_STEP))? {
                growth.append(leaf, &mut nodes);
            }
            write_nodes(conn, tenant, epoch, &nodes).map_err(failed)?;
            write_edge(conn, tenant, epoch, &growth).map_err(failed)?;
            Ok(growth.size())
        })
    }

    fn checkpoint(
        &mut self,
        tenant: &str,
        epoch: u64,
        now: Time,
        signer: &dyn CheckpointSigner,
    ) -> Result<StoredCheckpoint, SequenceError> {
        let mut size = None;
        for _ in 0..STEPS_PER_CHECKPOINT {
            let grown = self.integrate(tenant, epoch, LEAVES_PER_STEP)?;
            if size.replace(grown) == Some(grown) {
                break;
            }
        }
        let next = tree::next_checkpoint(
            &Reader::new(&self.conn, Arc::clone(&self.keys)),
            tenant,
            now,
            signer,
        )?;
        let checkpoint = match next {
            Next::Stands(last) => return Ok(last),
            Next::New(checkpoint) => checkpoint,
        };
        self.write(|conn, _| {
            check_lease(conn, tenant, epoch)?;
            write_checkpoint(conn, tenant, epoch, &checkpoint).map_err(failed)?;
            Ok::<_, SequenceError>(())
        })?;
        Ok(checkpoint)
    }
}

/// Size and right edge of the tree.
fn edge(conn: &Connection, tenant: &str) -> Result<(u64, Vec<Hash>), WriteError> {
    let row: Option<(u64, Vec<u8>)> = conn
        .prepare_cached("SELECT size, edge FROM tree WHERE tenant = ?1")
        .and_then(|mut select| {
            select.query_row([tenant], |row| Ok((unsigned(row, 0)?, row.get(1)?))).optional()
        })
        .map_err(failed)?;
    let Some((size, bytes)) = row else { return Ok((0, Vec::new())) };
    let (hashes, rest) = bytes.as_chunks::<32>();
    if rest.is_empty() {
        Ok((size, hashes.to_vec()))
    } else {
        Err(WriteError::Damaged("the edge of the tree is not a list of hashes".to_owned()))
    }
}

/// Leaf hashes of records from `from` on, which must follow each other without a gap.
fn leaves(
    conn: &Connection,
    tenant: &str,
    from: u64,
    limit: usize,
) -> Result<Vec<Hash>, WriteError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows: Vec<(u64, Hash)> = conn
        .prepare_cached(
            "SELECT seq, leaf FROM record WHERE tenant = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3",
        )
        .and_then(|mut select| {
            select
                .query_map(params![tenant, int(from), limit], |row| {
                    Ok((unsigned(row, 0)?, row.get(1)?))
                })?
                .collect()
        })
        .map_err(failed)?;
    for ((seq, _), expected) in rows.iter().zip(from..) {
        if *seq != expected {
            return Err(WriteError::Damaged(format!("evidence record {expected} is missing")));
        }
    }
    Ok(rows.into_iter().map(|(_, leaf)| leaf).collect())
}

fn write_nodes(
    conn: &Connection,
    tenant: &str,
    epoch: u64,
    nodes: &[tree::Node],
) -> rusqlite::Result<()> {
    for node in nodes {
        conn.prepare_cached(
            "INSERT INTO tree_node (tenant, level, idx, epoch, hash) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![tenant, node.level, int(node.index), int(epoch), node.hash])?;
    }
    Ok(())
}

fn write_edge(
    conn: &Connection,
    tenant: &str,
    epoch: u64,
    growth: &Growth,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT OR REPLACE INTO tree (tenant, epoch, size, edge) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![tenant, int(epoch), int(growth.size()), growth.edge().as_flattened()])?;
    Ok(())
}

fn write_checkpoint(
    conn: &Connection,
    tenant: &str,
    epoch: u64,
    checkpoint: &StoredCheckpoint,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO checkpoint (tenant, size, epoch, at, merge_delay, origin, root, note)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        tenant,
        int(checkpoint.size),
        int(epoch),
        checkpoint.at.0,
        checkpoint.merge_delay,
        checkpoint.origin,
        checkpoint.root,
        checkpoint.note,
    ])?;
    Ok(())
}
