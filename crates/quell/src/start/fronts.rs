//! Binary room, fronts: how both listeners take connections, by the user's settings. Opens none.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Listen, Place};
use crate::fault::Fault;
use crate::server::listen::Front;
use crate::server::tls::Tls;

/// How often it is looked whether a certificate was renewed.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How both listeners take connections.
#[derive(Debug, Clone)]
pub(crate) struct Fronts {
    pub(crate) intake: Front,
    pub(crate) control: Front,
    /// Requests a second with one token.
    pub(crate) per_token: u32,
    /// Requests a second without one, from one address.
    pub(crate) per_stranger: u32,
}

impl Default for Fronts {
    fn default() -> Self {
        Self::of(&Listen::default())
    }
}

impl Fronts {
    fn of(listen: &Listen) -> Self {
        let front = Front {
            tls: None,
            connections_max: listen.connections_max,
            per_address_max: listen.connections_per_address_max,
        };
        Self {
            intake: front.clone(),
            control: front,
            per_token: listen.requests_per_token,
            per_stranger: listen.requests_per_stranger,
        }
    }

    /// By the settings of a folder; reads the certificates.
    pub(crate) fn load(place: &Place) -> Result<Self, Fault> {
        let listen = &place.settings.listen;
        let mut fronts = Self::of(listen);
        if let Some(files) = &listen.intake_tls {
            fronts.intake.tls = Some(Arc::new(Tls::load(&place.folder, files)?));
        }
        if let Some(files) = &listen.control_tls {
            fronts.control.tls = Some(Arc::new(Tls::load(&place.folder, files)?));
        }
        Ok(fronts)
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Tls>> {
        [&self.intake, &self.control].into_iter().filter_map(|front| front.tls.as_ref())
    }

    /// Reads all certificates again; gives how many are in force anew. One that cannot be used
    /// leaves the one before in force.
    pub(crate) fn renew(&self) -> usize {
        self.all().filter(|tls| renewed(tls)).count()
    }

    /// From now on a certificate that was written anew is read by itself.
    pub(crate) fn renew_by_themselves(&self) {
        let all: Vec<Arc<Tls>> = self.all().cloned().collect();
        if all.is_empty() {
            return;
        }
        tokio::spawn(async move {
            loop {
                quell_run::timer(LOOK_EVERY).await;
                all.iter().filter(|tls| tls.is_stale()).for_each(|tls| {
                    renewed(tls);
                });
            }
        });
    }
}

fn renewed(tls: &Tls) -> bool {
    match tls.renew() {
        Ok(()) => {
            tracing::info!("a certificate was read again and is in force");
            true
        }
        Err(fault) => {
            tracing::error!(%fault, "a certificate was not read again: the one before stays");
            false
        }
    }
}
