//! Binary room, the evidence bundle: everything up to the newest checkpoint in one file that
//! verifies offline with the public key alone.

use quell_evidence::bundle::{Broken, Writer};
use quell_evidence::leaf::{Body, Record};
use quell_evidence::note::VerifierKey;
use quell_store::views::{Pick, Records, Views};

use crate::fault::Fault;

/// Why no bundle was written.
enum Unwritten {
    Broken(Broken),
}

impl From<Broken> for Unwritten {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// Writes the bundle of a tenant.
pub(crate) fn export(views: &dyn Views, tenant: &str, verifier: &str) -> Result<Vec<u8>, Fault> {
    let key: VerifierKey =
        verifier.trim_end().parse().map_err(|_| Fault::evidence("the public key is not valid"))?;
    let checkpoint = views.checkpoint(tenant, None).map_err(|e| Fault::store(&e))?;
    let checkpoint = checkpoint.ok_or_else(|| Fault::evidence("no checkpoint was signed yet"))?;
    let writer = Writer::new(checkpoint.note.as_bytes(), &key, tenant)
        .map_err(|e| Fault::evidence(e.to_string()))?;
    let mut failed = None;
    let limit = usize::try_from(checkpoint.size).unwrap_or(usize::MAX);
    let records = Records::new(views, tenant, Pick::All, 0).take(limit).map_while(|stored| {
        let record = stored.map_err(|e| e.to_string());
        match record.and_then(|stored| owned(&stored)) {
            Ok(record) => Some(record),
            Err(error) => {
                failed = Some(error);
                None
            }
        }
    });
    let mut bytes = Vec::new();
    let written = writer.write(records, |part| {
        bytes.extend_from_slice(part);
        Ok::<(), Unwritten>(())
    });
    match (failed, written) {
        (Some(error), _) => Err(Fault::store(&error)),
        (None, Err(Unwritten::Broken(broken))) => Err(Fault::evidence(broken.to_string())),
        (None, Ok(())) => Ok(bytes),
    }
}

fn owned(stored: &quell_store::StoredRecord) -> Result<Record<'static>, String> {
    let record = stored.record().map_err(|e| e.to_string())?;
    let body = match record.body {
        Body::Kept { salt, bytes } => Body::Kept { salt, bytes: bytes.into_owned().into() },
        Body::Erased { digest } => Body::Erased { digest },
    };
    Ok(Record { header: record.header.into_owned(), body })
}
