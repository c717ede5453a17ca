//! Whom a client trusts, and how it proves who it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_rustls::TlsConnector;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::http::error::Error;

/// How a client uses TLS.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Trust the certificates in this PEM file instead of Mozilla's list.
    pub ca_bundle: Option<PathBuf>,
    /// Trust anyone. The connection is encrypted, but to whom is unknown.
    pub no_verify: bool,
    /// PEM files with our certificate chain and its key, for servers that ask.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// Makes the connector for all connections of a client.
    ///
    /// The provider is named outright: with two of them in a build, rustls's
    /// default would be a panic.
    ///
    /// # Errors
    /// [`Error::File`] for a PEM file that can't be read, [`Error::Tls`] for
    /// contents that can't be used.
    pub fn connector(&self) -> Result<TlsConnector, Error> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let trusting = if self.no_verify {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(TrustAnyone(provider)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let config = match &self.identity {
            None => trusting.with_no_client_auth(),
            Some((chain, key)) => trusting
                .with_client_auth_cert(certificates(chain)?, private_key(key)?)
                .map_err(unusable)?,
        };
        Ok(TlsConnector::from(Arc::new(config)))
    }

    fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        match &self.ca_bundle {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(unusable)?;
                }
            }
        }
        Ok(roots)
    }
}

/// The certificates in a PEM file.
///
/// # Errors
/// [`Error::File`] when it can't be read or holds none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| pem_fault(path, e))?;
    if found.is_empty() {
        return Err(pem_fault(path, rustls::pki_types::pem::Error::NoItemsFound));
    }
    Ok(found)
}

/// The private key in a PEM file.
///
/// # Errors
/// [`Error::File`] when it can't be read or holds none.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_file(path).map_err(|e| pem_fault(path, e))
}

fn pem_fault(path: &Path, e: rustls::pki_types::pem::Error) -> Error {
    use rustls::pki_types::pem::Error as Pem;
    let source = match e {
        Pem::Io(e) => e,
        Pem::NoItemsFound => std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            "nothing usable in PEM form in it",
        ),
        other => std::io::Error::new(std::io::ErrorKind::InvalidData, other.to_string()),
    };
    Error::File {
        path: path.to_owned(),
        source,
    }
}

fn unusable(e: rustls::Error) -> Error {
    Error::Tls {
        host: "any host".into(),
        source: Box::new(e),
    }
}

/// Accepts every certificate, but still checks that the peer holds its key.
#[derive(Debug)]
struct TrustAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_empty_bundle_is_named() {
        let tls = Tls {
            ca_bundle: Some("/nonexistent/ca.pem".into()),
            ..Tls::default()
        };
        assert!(
            tls.connector()
                .err()
                .unwrap()
                .to_string()
                .contains("/nonexistent/ca.pem")
        );
        let tls = Tls {
            ca_bundle: Some("/dev/null".into()),
            ..Tls::default()
        };
        assert!(
            tls.connector()
                .err()
                .unwrap()
                .to_string()
                .contains("/dev/null")
        );
    }

    #[test]
    fn the_default_trusts_mozillas_list() {
        assert!(Tls::default().connector().is_ok());
        assert!(
            Tls {
                no_verify: true,
                ..Tls::default()
            }
            .connector()
            .is_ok()
        );
    }
}
