//! Binary room, configuration of the two listeners: where, with which certificate, and how many
//! may knock how fast. Opens none.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use crate::fault::Fault;

/// The most connections that can be configured: each needs a file descriptor.
const CONNECTIONS_MAX: usize = 100_000;

/// Addresses of the listeners.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Listen {
    pub(crate) intake: SocketAddr,
    pub(crate) control: SocketAddr,
    /// Needed where the address is not a loopback one.
    pub(crate) intake_tls: Option<TlsFiles>,
    /// The same for the control listener.
    pub(crate) control_tls: Option<TlsFiles>,
    /// Connections at once, of each listener.
    pub(crate) connections_max: usize,
    /// Of these from one address.
    pub(crate) connections_per_address_max: usize,
    /// Requests a second with one token of the control listener.
    pub(crate) requests_per_token: u32,
    /// Requests a second without a valid token from one address, at the control listener.
    pub(crate) requests_per_stranger: u32,
}

/// A certificate with its key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsFiles {
    /// The chain in PEM, the listener's own certificate first; relative to the folder.
    pub(crate) certificate: PathBuf,
    /// Reference to the private key in PEM.
    pub(crate) key: String,
}

impl Default for Listen {
    fn default() -> Self {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            intake: local(8470),
            control: local(8471),
            intake_tls: None,
            control_tls: None,
            connections_max: 1024,
            connections_per_address_max: 256,
            requests_per_token: 200,
            requests_per_stranger: 20,
        }
    }
}

impl Listen {
    /// Refuses addresses that others reach in clear, and limits that let nobody in.
    pub(super) fn check(&self) -> Result<(), Fault> {
        for (name, address, tls) in [
            ("intake", self.intake, &self.intake_tls),
            ("control", self.control, &self.control_tls),
        ] {
            if !address.ip().is_loopback() && tls.is_none() {
                let message = format!(
                    "listen: `{name}` is `{address}`, which is no loopback address, in clear"
                );
                let help = format!(
                    "give it a certificate in `[listen.{name}_tls]`, or listen on 127.0.0.1 with a \
                     TLS proxy in front"
                );
                return Err(Fault::config(message, help));
            }
        }
        let max = quell_sources::door::REQUESTS_PER_SECOND_MAX;
        let rates = [
            ("requests_per_token", self.requests_per_token),
            ("requests_per_stranger", self.requests_per_stranger),
        ];
        for (name, rate) in rates {
            if !(1..=max).contains(&rate) {
                let message = format!("listen: `{name}` is {rate}");
                return Err(Fault::config(message, format!("write a number from 1 to {max}")));
            }
        }
        let (all, each) = (self.connections_max, self.connections_per_address_max);
        if !(1..=CONNECTIONS_MAX).contains(&all) || !(1..=all).contains(&each) {
            let message = format!(
                "listen: `connections_max` is {all}, `connections_per_address_max` is {each}"
            );
            let help = format!("write 1 to {CONNECTIONS_MAX}, and for an address at most as many");
            return Err(Fault::config(message, help));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(text: &str, want: &Expect) {
        let listen: Listen = toml::from_str(text).unwrap();
        let told = match listen.check() {
            Ok(()) => "good".to_owned(),
            Err(fault) => format!("{}\n{}", fault.message, fault.help),
        };
        want.assert_eq(&told);
    }

    #[test]
    fn another_address_needs_a_certificate() {
        let tls = "{ certificate = \"chain.pem\", key = \"file:key.pem\" }";
        check("", &expect!["good"]);
        check("intake = \"[::1]:1\"", &expect!["good"]);
        check(&format!("intake = \"0.0.0.0:1\"\nintake_tls = {tls}"), &expect!["good"]);
        check(
            &format!("intake = \"192.0.2.1:1\"\ncontrol_tls = {tls}"),
            &expect![[r#"
            listen: `intake` is `192.0.2.1:1`, which is no loopback address, in clear
            give it a certificate in `[listen.intake_tls]`, or listen on 127.0.0.1 with a TLS proxy in front"#]],
        );
        check(
            "control = \"[::]:1\"",
            &expect![[r#"
            listen: `control` is `[::]:1`, which is no loopback address, in clear
            give it a certificate in `[listen.control_tls]`, or listen on 127.0.0.1 with a TLS proxy in front"#]],
        );
    }

    #[test]
    fn limits_that_let_nobody_in_are_refused() {
        check(
            "requests_per_token = 0",
            &expect![[r#"
            listen: `requests_per_token` is 0
            write a number from 1 to 100000"#]],
        );
        check(
            "connections_max = 8",
            &expect![[r#"
            listen: `connections_max` is 8, `connections_per_address_max` is 256
            write 1 to 100000, and for an address at most as many"#]],
        );
        check("connections_max = 8\nconnections_per_address_max = 8", &expect!["good"]);
    }
}
