//! Keys of every kind.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
};
use aws_lc_rs::{hmac, rsa};
use serde_json::{Value, json};

use super::encode;
use crate::store::embedded::NODE;

pub enum Signer {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    P521(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Secret(Vec<u8>),
}

impl Signer {
    pub fn rsa(bits: usize) -> Self {
        let size = match bits {
            2_048 => rsa::KeySize::Rsa2048,
            _ => rsa::KeySize::Rsa3072,
        };
        Self::Rsa(RsaKeyPair::generate(size).unwrap())
    }

    pub fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub fn p384() -> Self {
        Self::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap())
    }

    pub fn p521() -> Self {
        Self::P521(EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).unwrap())
    }

    pub fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    /// The same in every run, so that an input or a seed that was found means the same later.
    pub fn fixed() -> Self {
        Self::seeded(7)
    }

    /// One of several that are the same in every run.
    pub fn seeded(seed: u8) -> Self {
        Self::Ed25519(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    /// The key with this algorithm, which is also its name.
    pub fn named_jwk(&self, alg: &str) -> Value {
        let mut jwk = self.jwk();
        jwk["kid"] = alg.into();
        jwk["alg"] = alg.into();
        jwk
    }

    /// One of many tokens of that key, each another.
    pub fn numbered(&self, alg: &str, number: usize) -> String {
        let mut claims = super::claims(NODE, 36_000);
        claims["jti"] = format!("{number:08}").into();
        self.sign(alg, &json!({"alg": alg, "kid": alg}), &claims)
    }

    pub fn jwk(&self) -> Value {
        match self {
            Self::Rsa(key) => {
                let public = key.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                json!({"kty": "RSA", "n": encode(n.big_endian_without_leading_zero()), "e": encode(e.big_endian_without_leading_zero())})
            }
            Self::P256(key) | Self::P384(key) | Self::P521(key) => {
                let point = &key.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = match point.len() {
                    64 => "P-256",
                    96 => "P-384",
                    _ => "P-521",
                };
                json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
            }
            Self::Ed25519(key) => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(key.public_key().as_ref())}),
            Self::Secret(secret) => json!({"kty": "oct", "k": encode(secret)}),
        }
    }

    /// The key as those who confuse algorithms would use it for HMAC.
    pub fn public_der(&self) -> Vec<u8> {
        match self {
            Self::Rsa(key) => signature::KeyPair::public_key(key).as_der().unwrap().as_ref().to_vec(),
            _ => panic!("not needed"),
        }
    }

    /// A token with this header and these claims, signed as `alg` says.
    pub fn sign(&self, alg: &str, header: &Value, claims: &Value) -> String {
        self.sign_parts(alg, header.to_string(), claims.to_string())
    }

    /// Signs a header and claims as they are written.
    pub fn sign_parts(&self, alg: &str, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        let signed = format!("{}.{}", encode(header.as_ref()), encode(claims.as_ref()));
        let signature = self.signature(alg, signed.as_bytes());
        format!("{signed}.{}", encode(&signature))
    }

    pub fn signature(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let encoding: &'static dyn signature::RsaEncoding = match alg {
                    "RS256" => &signature::RSA_PKCS1_SHA256,
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    _ => &signature::RSA_PSS_SHA512,
                };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(encoding, &random, message, &mut signature).unwrap();
                signature
            }
            Self::P256(key) | Self::P384(key) | Self::P521(key) => {
                key.sign(&random, message).unwrap().as_ref().to_vec()
            }
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
            Self::Secret(secret) => {
                let algorithm = match alg {
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                hmac::sign(&hmac::Key::new(algorithm, secret), message).as_ref().to_vec()
            }
        }
    }
}
