//! How HTTP clients are made: TLS by rustls over ring, as the server's is, and no redirects.
//!
//! reqwest is built without a TLS provider of its own, so a client made past here would panic.

use std::sync::Arc;

use reqwest::ClientBuilder;
use reqwest::redirect::Policy;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{self, ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

/// A client that trusts no certificate, for `http` alone: there may be none on the machine.
pub fn plain() -> ClientBuilder {
    over(tls().with_root_certificates(RootCertStore::empty()))
}

/// A client that trusts what the system trusts, or the certificates in the file that `SSL_CERT_FILE` names.
///
/// # Errors
/// When the system has no certificates.
pub fn trusting_the_system() -> Result<ClientBuilder, rustls::Error> {
    Ok(over(tls().with_platform_verifier()?))
}

/// How TLS is spoken to servers whose certificates the system trusts, without a client around it.
///
/// # Errors
/// When the system has no certificates.
pub fn tls_trusting_the_system() -> Result<ClientConfig, rustls::Error> {
    Ok(tls().with_platform_verifier()?.with_no_client_auth())
}

fn tls() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has what TLS 1.2 and 1.3 need")
}

fn over(tls: ConfigBuilder<ClientConfig, WantsClientCert>) -> ClientBuilder {
    #[expect(clippy::disallowed_methods, reason = "this is the place that is named there")]
    let builder = reqwest::Client::builder();
    // A redirect could lead elsewhere, and the API key with it.
    builder.tls_backend_preconfigured(tls.with_no_client_auth()).http1_only().redirect(Policy::none())
}
