//! Binary room, the evidence bundle: everything up to the newest checkpoint in one file that
//! verifies offline with the public key alone.

use quell_evidence::bundle::Writer;
use quell_evidence::note::{Note, VerifierKey};
use quell_store::views::Views;

use crate::fault::Fault;
use crate::server::control::all_records;

/// Writes the bundle of a tenant.
pub(crate) fn export(views: &dyn Views, tenant: &str, verifier: &str) -> Result<Vec<u8>, Fault> {
    let bad = |e: &dyn std::fmt::Display| Fault::evidence(e.to_string());
    let key: VerifierKey = verifier.trim_end().parse().map_err(|e| bad(&e))?;
    let checkpoint = views.checkpoint(tenant, None).map_err(|e| Fault::store(&e))?;
    let checkpoint = checkpoint.ok_or_else(|| Fault::evidence("no checkpoint was signed yet"))?;
    let note = Note::parse(checkpoint.note.as_bytes()).map_err(|e| bad(&e))?;
    let records = all_records(views, tenant);
    let mut failed = None;
    let stored = records
        .map_while(|record| match record {
            Ok(record) => Some(record),
            Err(error) => {
                failed = Some(error);
                None
            }
        })
        .take_while(|record| record.seq < checkpoint.size);
    let bytes = write(&note, &key, tenant, stored)?;
    match failed {
        None => Ok(bytes),
        Some(error) => Err(Fault::store(&error)),
    }
}

fn write(
    note: &Note,
    key: &VerifierKey,
    tenant: &str,
    records: impl Iterator<Item = quell_store::StoredRecord>,
) -> Result<Vec<u8>, Fault> {
    let bad = |e: &dyn std::fmt::Display| Fault::evidence(e.to_string());
    let mut bytes = Vec::new();
    let mut writer = Writer::new(note, key, tenant, &mut bytes).map_err(|e| bad(&e))?;
    for stored in records {
        let record = stored.record().map_err(|e| bad(&e))?;
        writer.write(&record, &mut bytes).map_err(|e| bad(&e))?;
    }
    writer.finish(&mut bytes).map_err(|e| bad(&e))?;
    Ok(bytes)
}
