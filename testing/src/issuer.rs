//! An issuer of tokens with a key of its own, made when it is.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub const ISSUER: &str = "https://issuer.example";
pub const AUDIENCE: &str = "distributors";

pub struct Issuer {
    kid: String,
    key: EcdsaKeyPair,
}

impl Issuer {
    pub fn new(kid: &str) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key is made");
        Self { kid: kid.to_owned(), key }
    }

    pub fn jwk(&self) -> Value {
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid, "x": encode(x), "y": encode(y)})
    }

    pub fn jwks(&self) -> String {
        json!({"keys": [self.jwk()]}).to_string()
    }

    /// Signs these claims, whatever they are.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_parts(&json!({"alg": "ES256", "typ": "at+jwt", "kid": self.kid}).to_string(), &claims.to_string())
    }

    /// Signs a header and claims as they are written.
    pub fn sign_parts(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).expect("a key can sign");
        format!("{signed}.{}", encode(signature.as_ref()))
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
