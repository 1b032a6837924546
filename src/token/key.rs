//! A key and the algorithms for which it verifies signatures.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::ParsedPublicKey;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, crypto};

/// An algorithm for signatures (RFC 7518, 3.1 and RFC 8037, 3.1), without `none`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
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
        match alg {
            "ES512" => Some(Self::Es512),
            "Ed25519" => Some(Self::Library(jsonwebtoken::Algorithm::EdDSA)),
            alg => alg.parse().ok().map(Self::Library),
        }
    }

    /// Returns whether who verifies by this algorithm can also sign by it.
    #[must_use]
    pub fn is_symmetric(self) -> bool {
        use jsonwebtoken::Algorithm::{HS256, HS384, HS512};

        matches!(self, Self::Library(HS256 | HS384 | HS512))
    }
}

/// The name of the algorithm (RFC 7518, 3.1).
impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library(algorithm) => write!(formatter, "{algorithm:?}"),
            Self::Es512 => formatter.write_str("ES512"),
        }
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
    /// The fingerprints of tokens whose signature this key has verified; dropped with the key when its set is fetched
    /// again. Only what the issuer has signed gets in.
    verified: Mutex<HashSet<Fingerprint>>,
}

/// The SHA-256 of a token, so that tokens are not kept and the time of a comparison says nothing about one.
type Fingerprint = [u8; 32];

/// The fingerprints that a key keeps; all are dropped when there are so many. Arbitrary: more clients than one instance
/// serves in an hour.
const MAX_VERIFIED: usize = 256;

impl Key {
    /// Creates a key that has not verified anything yet.
    #[must_use]
    pub fn new(
        kid: Option<String>,
        algorithms: Vec<Algorithm>,
        numbers: Vec<Vec<u8>>,
        verification: Verification,
    ) -> Self {
        Self { kid, algorithms, numbers, verification, verified: Mutex::default() }
    }

    /// Returns whether the signature of a token in compact form (RFC 7515, 3.1) is this key's, by `algorithm`, which must be
    /// one of the key's.
    ///
    /// A client sends the same token until it expires. That its signature verifies is remembered; its claims are
    /// validated every time.
    #[must_use]
    pub fn verifies(&self, token: &str, algorithm: Algorithm) -> bool {
        let Some((signing_input, signature)) = token.rsplit_once('.') else { return false };
        let fingerprint = fingerprint(token);
        if self.verified().contains(&fingerprint) {
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
            self.remember(fingerprint);
        }
        verifies
    }

    fn remember(&self, fingerprint: Fingerprint) {
        let mut verified = self.verified();
        if verified.len() >= MAX_VERIFIED {
            verified.clear();
        }
        verified.insert(fingerprint);
    }

    fn verified(&self) -> MutexGuard<'_, HashSet<Fingerprint>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fingerprint(token: &str) -> Fingerprint {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    bytes
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
            assert_eq!(key.verified().len(), usize::from(round > 0));
            assert!(key.verifies(good, algorithm));
        }
        assert!(key.verified().contains(&fingerprint(good)));
    }

    #[test]
    fn not_more_is_remembered_than_there_is_room_for() {
        let set = KeySet::inline(
            br#"{"keys":[{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}]}"#,
        );
        let set = set.unwrap();
        let key = &set.keys()[0];
        for number in 0..600_u16 {
            let fingerprint = fingerprint(&number.to_string());
            assert!(!key.verified().contains(&fingerprint));
            key.remember(fingerprint);
            assert!(key.verified().contains(&fingerprint));
            assert!(key.verified().len() <= MAX_VERIFIED);
        }
        assert_eq!(key.verified().len(), 600 - 2 * MAX_VERIFIED);
    }

    #[test]
    fn an_algorithm_is_found_by_its_name() {
        for name in ["HS256", "HS512", "RS256", "PS384", "ES256", "ES384", "ES512", "EdDSA"] {
            let algorithm = Algorithm::from_name(name).unwrap();
            assert_eq!(algorithm.to_string(), name);
            assert_eq!(algorithm.is_symmetric(), name.starts_with("HS"));
        }
        assert_eq!(Algorithm::from_name("Ed25519"), Algorithm::from_name("EdDSA"));
        for name in ["none", "None", "", "es256", "ES256K", "RSA-OAEP", " ES256"] {
            assert_eq!(Algorithm::from_name(name), None, "{name}");
        }
    }
}
