//! Binary room, TLS of the listeners: certificate and key by reference, read again when they were
//! renewed; and the command line's way to know its own engine. Holds no other secret.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme,
};
use tokio_rustls::TlsAcceptor;

use crate::config::TlsFiles;
use crate::fault::Fault;
use crate::secret;

/// Bytes that a certificate chain may have.
const CHAIN_MAX: u64 = 256 * 1024;

/// The TLS of one listener.
#[derive(Debug)]
pub(crate) struct Tls {
    folder: PathBuf,
    files: TlsFiles,
    shown: Arc<Shown>,
    config: Arc<ServerConfig>,
    /// When the chain was last changed, as it was read.
    changed: RwLock<Option<SystemTime>>,
}

/// What is shown to who connects; replaced as a whole.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

impl Tls {
    /// Reads certificate and key; relative paths are relative to `folder`.
    pub(crate) fn load(folder: &Path, files: &TlsFiles) -> Result<Self, Fault> {
        let changed = changed(&folder.join(&files.certificate));
        let shown = Arc::new(Shown(RwLock::new(read(folder, files)?)));
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| Fault::config(format!("TLS: {e}"), ""))?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Shown>::clone(&shown);
        let mut config = config.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            folder: folder.to_path_buf(),
            files: files.clone(),
            shown,
            config: Arc::new(config),
            changed: RwLock::new(changed),
        })
    }

    /// Takes connections in.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// Reads both files again; what was in force stays where they cannot be used.
    pub(crate) fn renew(&self) -> Result<(), Fault> {
        let now = changed(&self.folder.join(&self.files.certificate));
        let fresh = read(&self.folder, &self.files)?;
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        *self.changed.write().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(())
    }

    /// True when the chain was written anew since it was read.
    pub(crate) fn is_stale(&self) -> bool {
        let now = changed(&self.folder.join(&self.files.certificate));
        now.is_some() && now != *self.changed.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

/// The certificates of a file, the listener's own first.
fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let bad = |why: &dyn std::fmt::Display| {
        let message = format!("`{}` is no certificate chain: {why}", path.display());
        Fault::config(message, "write PEM: the listener's certificate, then its issuers")
    };
    let size = std::fs::metadata(path).map_err(|e| Fault::file(path, &e))?.len();
    if size > CHAIN_MAX {
        return Err(bad(&"it is too long"));
    }
    let text = std::fs::read(path).map_err(|e| Fault::file(path, &e))?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let all = all.map_err(|_| bad(&"it is not PEM"))?;
    if all.is_empty() { Err(bad(&"it holds no certificate")) } else { Ok(all) }
}

fn read(folder: &Path, files: &TlsFiles) -> Result<Arc<CertifiedKey>, Fault> {
    let path = folder.join(&files.certificate);
    let chain = chain(&path)?;
    let text = secret::resolve(folder, &files.key)?;
    // What is wrong with a key is not said in its words.
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| {
        let message = format!("`{}` leads to no private key", files.key);
        Fault::config(message, "write PEM: PKCS#8, SEC1 or PKCS#1, without a passphrase")
    })?;
    let pair = CertifiedKey::from_der(chain, key, &provider()).map_err(|e| match e {
        Error::InconsistentKeys(_) => {
            let message = format!("the key does not belong to `{}`", path.display());
            Fault::config(message, "name the key with which that certificate was asked for")
        }
        other => Fault::config(format!("`{}` cannot be used: {other}", path.display()), ""),
    })?;
    Ok(Arc::new(pair))
}

/// How the command line connects: to the one that holds the key of the certificate in this file,
/// whatever name or issuer stands in it.
pub(crate) fn pinned(folder: &Path, files: &TlsFiles) -> Result<ClientConfig, Fault> {
    let leaf = chain(&folder.join(&files.certificate))?.into_iter().next();
    let leaf = leaf.ok_or_else(|| Fault::config("the certificate chain is empty", ""))?;
    let provider = provider();
    let pinned = Arc::new(Pinned { leaf, provider: Arc::clone(&provider) });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Fault::config(format!("TLS: {e}"), ""))?;
    Ok(config.dangerous().with_custom_certificate_verifier(pinned).with_no_client_auth())
}

/// Accepts one certificate, byte for byte, and no other.
#[derive(Debug)]
struct Pinned {
    leaf: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if end_entity.as_ref() == self.leaf.as_ref() {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
