//! Binary room, the evidence bundle: everything up to the newest checkpoint in one file that
//! verifies offline with the public key alone.

use quell_evidence::note::VerifierKey;
use quell_store::Views;
use quell_store::views;

use crate::fault::Fault;

/// Writes the bundle of a tenant.
pub(crate) fn export(views: &dyn Views, tenant: &str, verifier: &str) -> Result<Vec<u8>, Fault> {
    let key: VerifierKey =
        verifier.trim_end().parse().map_err(|_| Fault::evidence("the public key is not valid"))?;
    let mut bytes = Vec::new();
    let written = views::export(views, tenant, &key, |part| {
        bytes.extend_from_slice(part);
        Ok(())
    });
    written.map_err(|e| Fault::evidence(e.to_string()))?;
    Ok(bytes)
}
