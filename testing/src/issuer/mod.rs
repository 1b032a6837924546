//! Issuers of tokens: one with a key of its own, keys of every type, and a server that publishes them.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use signer::Signer;

pub mod key_server;
pub mod reply;
pub mod signer;

pub const ISSUER: &str = "https://issuer.example";
pub const AUDIENCE: &str = "distributors";

pub struct Issuer {
    kid: String,
    signer: Signer,
}

impl Issuer {
    pub fn new(kid: &str) -> Self {
        Self { kid: kid.to_owned(), signer: Signer::p256() }
    }

    pub fn jwk(&self) -> Value {
        let mut jwk = self.signer.jwk();
        jwk["alg"] = "ES256".into();
        jwk["use"] = "sig".into();
        jwk["kid"] = self.kid.as_str().into();
        jwk
    }

    pub fn jwks(&self) -> String {
        json!({"keys": [self.jwk()]}).to_string()
    }

    /// Signs these claims, whatever they are.
    pub fn sign(&self, claims: &Value) -> String {
        self.signer.sign("ES256", &json!({"alg": "ES256", "typ": "at+jwt", "kid": self.kid}), claims)
    }

    /// Signs a header and claims as they are written.
    pub fn sign_parts(&self, header: &str, claims: &str) -> String {
        self.signer.sign_parts("ES256", header, claims)
    }
}

/// Claims of a token for a node that is valid for as many seconds.
pub fn claims(node: &str, seconds: u64) -> Value {
    let now = now();
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "integration-client", "iat": now, "exp": now + seconds, "node_id": node,
    })
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
