//! TLS in front of a port, with a certificate of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::embedded::Embedded;

/// A server's side of TLS, for the name `localhost`.
pub struct Tls {
    acceptor: TlsAcceptor,
    /// What a client has to trust.
    pub certificate_pem: String,
}

/// An embedded store behind TLS.
pub struct SecureStore {
    pub endpoint: String,
    /// The file with the certificate that a client has to trust.
    pub certificate: PathBuf,
    pub tls: Tls,
    _store: Embedded,
}

impl SecureStore {
    /// Puts TLS in front of a store, and writes the certificate into this folder.
    pub async fn start(store: Embedded, folder: &Path) -> Self {
        let tls = Tls::default();
        let certificate = folder.join("certificate.pem");
        std::fs::write(&certificate, &tls.certificate_pem).unwrap();
        let endpoint = format!("https://localhost:{}", tls.in_front_of(store.address).await);
        Self { endpoint, certificate, tls, _store: store }
    }
}

impl Default for Tls {
    fn default() -> Self {
        let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(certificate.signing_key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate_pem: certificate.cert.pem() }
    }
}

impl Tls {
    /// Takes the TLS off connections to a new port, which is returned, and hands what is inside on to `target`.
    pub async fn in_front_of(&self, target: SocketAddr) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = self.acceptor.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let _ = client.set_nodelay(true);
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let mut server = TcpStream::connect(target).await.unwrap();
                    let _ = server.set_nodelay(true);
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        port
    }
}
