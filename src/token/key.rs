//! A key and the algorithms for which it verifies signatures.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::ParsedPublicKey;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, crypto};

/// An algorithm for signatures (RFC 7518, 3.1 and RFC 8037, 3.1), without `none`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Algorithm {
    /// Those that `jsonwebtoken` verifies.
    Library(jsonwebtoken::Algorithm),
    /// ECDSA with P-521 and SHA-512.
    Es512,
}

impl Algorithm {
    /// Returns the algorithm that `alg` names. `Ed25519` is the name that RFC 9864 gives to `EdDSA`.
    #[must_use]
    pub fn from_name(alg: &str) -> Option<Self> {
        use jsonwebtoken::Algorithm as Known;

        Some(Self::Library(match alg {
            "HS256" => Known::HS256,
            "HS384" => Known::HS384,
            "HS512" => Known::HS512,
            "RS256" => Known::RS256,
            "RS384" => Known::RS384,
            "RS512" => Known::RS512,
            "PS256" => Known::PS256,
            "PS384" => Known::PS384,
            "PS512" => Known::PS512,
            "ES256" => Known::ES256,
            "ES384" => Known::ES384,
            "ES512" => return Some(Self::Es512),
            "EdDSA" | "Ed25519" => Known::EdDSA,
            _ => return None,
        }))
    }
}

/// A public or secret key, ready to verify.
pub enum Verification {
    /// A key of `jsonwebtoken`.
    Library(DecodingKey),
    /// A key on P-521, which `jsonwebtoken` does not have.
    Es512(ParsedPublicKey),
}

/// A usable key of a set.
pub struct Key {
    /// Its name. Several keys may share one.
    pub kid: Option<String>,
    /// The algorithms for which it may be used: one where the key names it, else all of its type.
    pub algorithms: Vec<Algorithm>,
    /// Its numbers, the same for every spelling of the same key.
    pub numbers: Vec<Vec<u8>>,
    verification: Verification,
    verified: SignatureCache,
}

impl Key {
    /// Creates a key that has not verified anything yet.
    #[must_use]
    pub fn new(
        kid: Option<String>,
        algorithms: Vec<Algorithm>,
        numbers: Vec<Vec<u8>>,
        verification: Verification,
    ) -> Self {
        Self { kid, algorithms, numbers, verification, verified: SignatureCache::default() }
    }

    /// Returns whether the signature of a token in compact form (RFC 7515, 3.1) is this key's, by `algorithm`, which must be
    /// one of the key's.
    ///
    /// A client sends the same token until it expires. That its signature verifies is remembered; its claims are
    /// validated every time.
    #[must_use]
    pub fn verifies(&self, token: &str, algorithm: Algorithm) -> bool {
        let Some((signing_input, signature)) = token.rsplit_once('.') else { return false };
        let digest = Digest::of(token);
        if self.verified.contains(&digest) {
            return true;
        }
        let message = signing_input.as_bytes();
        let verifies = match (&self.verification, algorithm) {
            (Verification::Library(key), Algorithm::Library(algorithm)) => {
                crypto::verify(signature, message, key, algorithm).unwrap_or(false)
            }
            (Verification::Es512(key), Algorithm::Es512) => {
                let signature = URL_SAFE_NO_PAD.decode(signature);
                signature.is_ok_and(|signature| key.verify_sig(message, &signature).is_ok())
            }
            (Verification::Library(_), Algorithm::Es512) | (Verification::Es512(_), Algorithm::Library(_)) => false,
        };
        if verifies {
            self.verified.insert(digest);
        }
        verifies
    }
}

/// The SHA-256 of a token, so that tokens are not kept and the time of a comparison says nothing about one.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
struct Digest([u8; 32]);

impl Digest {
    fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }
}

/// The tokens whose signature a key has verified; dropped with the key when its set is fetched again. Only what the
/// issuer has signed gets in.
#[derive(Default)]
struct SignatureCache(Mutex<HashSet<Digest>>);

impl SignatureCache {
    /// Arbitrary: more clients than one instance serves in an hour. The cache is cleared when full.
    const CAPACITY: usize = 256;

    fn contains(&self, digest: &Digest) -> bool {
        self.lock().contains(digest)
    }

    fn insert(&self, digest: Digest) {
        let mut digests = self.lock();
        if digests.len() >= Self::CAPACITY {
            digests.clear();
        }
        digests.insert(digest);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::key_set::KeySet;

    #[test]
    fn only_what_was_verified_is_remembered() {
        // RFC 7515, A.1
        let set = KeySet::inline(
            br#"{"keys":[{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}]}"#,
        );
        let set = set.unwrap();
        let algorithm = Algorithm::from_name("HS256").unwrap();
        let key = set.candidates(None, algorithm).next().unwrap();
        let good = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let others = [
            good.replace("EjXk", "EjYk"),
            good.replace("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", ""),
            good.replace("eyJpc3MiOiJqb2UiLA", "eyJpc3MiOiJldmUiLA"),
            format!("{good}="),
        ];
        for round in 0..3 {
            for token in &others {
                assert!(!key.verifies(token, algorithm), "{token}");
            }
            assert_eq!(key.verified.lock().len(), usize::from(round > 0));
            assert!(key.verifies(good, algorithm));
        }
        assert!(key.verified.contains(&Digest::of(good)));
    }

    #[test]
    fn not_more_is_remembered_than_there_is_room_for() {
        let verified = SignatureCache::default();
        for number in 0..600_u16 {
            let digest = Digest::of(&number.to_string());
            assert!(!verified.contains(&digest));
            verified.insert(digest);
            assert!(verified.contains(&digest));
            assert!(verified.lock().len() <= SignatureCache::CAPACITY);
        }
        assert_eq!(verified.lock().len(), 600 - 2 * SignatureCache::CAPACITY);
    }
}
