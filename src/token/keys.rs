//! A JWK set (RFC 7517), and keys of which each verifies exactly one algorithm.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json;

/// The usable keys of a set, and why the others are not.
pub struct KeySet {
    usable: Vec<Key>,
    /// One entry for each key that was skipped: its `kid` and why.
    pub skipped: Vec<String>,
}

/// A key and its one algorithm.
pub struct Key {
    kid: Option<String>,
    algorithm: Algorithm,
    verification: DecodingKey,
    verified: Verified,
}

/// Why a whole set cannot be used.
#[derive(Clone, Debug, PartialEq)]
pub enum KeySetError {
    /// It is no JSON object with an array `keys`.
    Malformed,
    /// Two usable keys have this `kid`.
    Ambiguous(String),
    /// No key in it can be used.
    Empty,
}

impl fmt::Display for KeySetError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => formatter.write_str("it is no JWK set"),
            Self::Ambiguous(kid) => write!(formatter, "two keys have the kid {kid:?}"),
            Self::Empty => formatter.write_str("no key in it can be used"),
        }
    }
}

impl KeySet {
    /// Reads a set that the operator wrote, which may hold symmetric keys.
    ///
    /// # Errors
    ///
    /// Why the set cannot be used.
    pub fn inline(text: &[u8]) -> Result<Self, KeySetError> {
        Self::read(text, true)
    }

    /// Reads a set that came over the network: a symmetric key in it would be known to everyone.
    ///
    /// # Errors
    ///
    /// Why the set cannot be used.
    pub fn fetched(text: &[u8]) -> Result<Self, KeySetError> {
        Self::read(text, false)
    }

    fn read(text: &[u8], symmetric: bool) -> Result<Self, KeySetError> {
        let members = json::members(text).ok_or(KeySetError::Malformed)?;
        let keys = members.iter().find(|(name, _)| name == "keys").ok_or(KeySetError::Malformed)?.1;
        let jwks: Vec<&RawValue> = serde_json::from_str(keys.get()).map_err(|_| KeySetError::Malformed)?;
        let mut set = Self { usable: Vec::new(), skipped: Vec::new() };
        for jwk in jwks {
            let jwk = Jwk::read(jwk);
            match jwk.key(symmetric) {
                Ok(key) if key.kid.is_some() && set.usable.iter().any(|other| other.kid == key.kid) => {
                    return Err(KeySetError::Ambiguous(key.kid.unwrap_or_default()));
                }
                Ok(key) => set.usable.push(key),
                Err(why) => set.skipped.push(format!("{}: {why}", jwk.label())),
            }
        }
        if set.usable.is_empty() { Err(KeySetError::Empty) } else { Ok(set) }
    }

    /// The key of this name; without a name, the only key there is.
    #[must_use]
    pub fn find(&self, kid: Option<&str>) -> Option<&Key> {
        match (kid, &self.usable[..]) {
            (Some(kid), keys) => keys.iter().find(|key| key.kid.as_deref() == Some(kid)),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}

impl Key {
    /// Whether `alg` of a header names this key's algorithm.
    #[must_use]
    pub fn has_algorithm(&self, alg: &str) -> bool {
        algorithm(alg) == Some(self.algorithm)
    }

    /// Whether `signature`, in base64url, is this key's signature of `message`.
    ///
    /// A client sends the same token until it expires. That its signature verifies is remembered; what it says is
    /// judged every time.
    #[must_use]
    pub fn verifies(&self, message: &str, signature: &str) -> bool {
        let digest = digest(message, signature);
        if self.verified.contains(&digest) {
            return true;
        }
        let verifies = crypto::verify(signature, message.as_bytes(), &self.verification, self.algorithm);
        let verifies = verifies.unwrap_or(false);
        if verifies {
            self.verified.insert(digest);
        }
        verifies
    }
}

/// SHA-256, so that neither a token is kept nor how long a comparison takes tells anything of one.
type Digest = [u8; 32];

fn digest(message: &str, signature: &str) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(message.as_bytes());
    // Neither part can hold it.
    context.update(b".");
    context.update(signature.as_bytes());
    let mut digest = Digest::default();
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// What a key has verified. It goes with its key when the set is fetched anew, and only what the issuer has signed
/// gets in.
#[derive(Default)]
struct Verified(Mutex<HashSet<Digest>>);

impl Verified {
    /// More clients than one instance has in an hour.
    const MAX: usize = 256;

    fn contains(&self, digest: &Digest) -> bool {
        self.lock().contains(digest)
    }

    fn insert(&self, digest: Digest) {
        let mut digests = self.lock();
        if digests.len() >= Self::MAX {
            digests.clear();
        }
        digests.insert(digest);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// RFC 7518, 3.1 and RFC 8037, 3.1, without `none`; `Ed25519` is the name of RFC 9864.
fn algorithm(alg: &str) -> Option<Algorithm> {
    Some(match alg {
        "HS256" => Algorithm::HS256,
        "HS384" => Algorithm::HS384,
        "HS512" => Algorithm::HS512,
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" | "Ed25519" => Algorithm::EdDSA,
        _ => return None,
    })
}

/// Members of private keys: whatever they hold, they are not read.
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

const MALFORMED: &str = "malformed";
const WEAK: &str = "too weak";
const UNKNOWN: &str = "of an unknown kind";

/// The members of one key, as far as they could be read at all.
struct Jwk<'a>(Option<Vec<(std::borrow::Cow<'a, str>, &'a RawValue)>>);

impl<'a> Jwk<'a> {
    fn read(raw: &'a RawValue) -> Self {
        Self(json::members(raw.get().as_bytes()))
    }

    /// How the log names it.
    fn label(&self) -> String {
        match self.string("kid") {
            Ok(Some(kid)) => format!("key {kid:?}"),
            _ => "a key without kid".to_owned(),
        }
    }

    fn key(&self, symmetric: bool) -> Result<Key, &'static str> {
        let members = self.0.as_ref().ok_or(MALFORMED)?;
        let is_null = |(name, value): &(std::borrow::Cow<'_, str>, &RawValue)| {
            value.get() == "null" && !PRIVATE.contains(&name.as_ref())
        };
        if members.iter().any(is_null) {
            return Err(MALFORMED);
        }
        let kid = self.string("kid")?;
        self.check_certificates()?;
        if self.string("use")?.is_some_and(|usage| usage != "sig") {
            return Err("for another use");
        }
        if let Some(operations) = self.member::<Vec<String>>("key_ops")?
            && !operations.iter().any(|operation| operation == "verify")
        {
            return Err("for another use");
        }
        let alg = match self.string("alg")? {
            Some(alg) => Some(algorithm(&alg).ok_or("for another algorithm")?),
            None => None,
        };
        let (algorithm, verification) = match self.required("kty")?.as_str() {
            "RSA" => self.rsa(alg)?,
            "EC" => self.elliptic_curve(alg)?,
            "OKP" => self.edwards_curve(alg)?,
            "oct" if symmetric => self.symmetric(alg)?,
            "oct" => return Err("symmetric, in a set that was fetched"),
            _ => return Err(UNKNOWN),
        };
        Ok(Key { kid, algorithm, verification, verified: Verified::default() })
    }

    fn rsa(&self, alg: Option<Algorithm>) -> Result<(Algorithm, DecodingKey), &'static str> {
        use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};

        let algorithm = one_of(alg, &[RS256, RS384, RS512, PS256, PS384, PS512])?;
        let modulus = self.unsigned("n")?;
        let exponent = self.unsigned("e")?;
        let bits = modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
        let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
        // An exponent of 1 would make every message its own signature; 33 bits are what AWS-LC reads.
        if bits < 2_048 || exponent == [1] {
            return Err(WEAK);
        }
        if bits > 8_192 || exponent.len() > 4 || !is_odd(&modulus) || !is_odd(&exponent) {
            return Err(MALFORMED);
        }
        Ok((algorithm, DecodingKey::from_rsa_raw_components(&modulus, &exponent)))
    }

    fn elliptic_curve(&self, alg: Option<Algorithm>) -> Result<(Algorithm, DecodingKey), &'static str> {
        let (algorithm, verification, length): (_, &'static dyn VerificationAlgorithm, _) =
            match self.required("crv")?.as_str() {
                "P-256" => (one_of(alg, &[Algorithm::ES256])?, &ECDSA_P256_SHA256_FIXED, 32),
                "P-384" => (one_of(alg, &[Algorithm::ES384])?, &ECDSA_P384_SHA384_FIXED, 48),
                _ => return Err(UNKNOWN),
            };
        let (x, y) = (self.bytes("x")?, self.bytes("y")?);
        // RFC 7518, 6.2.1.2: full length, also where the coordinate has leading zeros.
        if x.len() != length {
            return Err(MALFORMED);
        }
        // SEC 1, 2.3.3: the uncompressed form. Parsing it tells whether `y` is as long and the point on the curve.
        let point = [&[4], &x[..], &y[..]].concat();
        ParsedPublicKey::new(verification, &point).map_err(|_| MALFORMED)?;
        let key = DecodingKey::from_ec_components(&self.required("x")?, &self.required("y")?);
        Ok((algorithm, key.map_err(|_| MALFORMED)?))
    }

    fn edwards_curve(&self, alg: Option<Algorithm>) -> Result<(Algorithm, DecodingKey), &'static str> {
        if self.required("crv")? != "Ed25519" {
            return Err(UNKNOWN);
        }
        let algorithm = one_of(alg, &[Algorithm::EdDSA])?;
        let point = self.bytes("x")?;
        ParsedPublicKey::new(&ED25519, &point).map_err(|_| MALFORMED)?;
        let key = DecodingKey::from_ed_components(&self.required("x")?);
        Ok((algorithm, key.map_err(|_| MALFORMED)?))
    }

    fn symmetric(&self, alg: Option<Algorithm>) -> Result<(Algorithm, DecodingKey), &'static str> {
        let algorithm = one_of(alg, &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512])?;
        // RFC 7518, 3.2
        let hash_length = match algorithm {
            Algorithm::HS256 => 32,
            Algorithm::HS384 => 48,
            _ => 64,
        };
        let secret = self.bytes("k")?;
        if secret.len() < hash_length {
            return Err(WEAK);
        }
        Ok((algorithm, DecodingKey::from_secret(&secret)))
    }

    /// Certificates are not read, but a key whose members have other types than RFC 7517 says is malformed.
    fn check_certificates(&self) -> Result<(), &'static str> {
        for name in ["x5u", "x5t", "x5t#S256"] {
            self.string(name)?;
        }
        self.member::<Vec<String>>("x5c").map(|_| ())
    }

    fn member<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, &'static str> {
        let member = self.0.iter().flatten().find(|(member, _)| member == name);
        member.map(|(_, value)| serde_json::from_str(value.get())).transpose().map_err(|_| MALFORMED)
    }

    fn string(&self, name: &str) -> Result<Option<String>, &'static str> {
        self.member(name)
    }

    fn required(&self, name: &str) -> Result<String, &'static str> {
        self.string(name)?.ok_or(MALFORMED)
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, &'static str> {
        URL_SAFE_NO_PAD.decode(self.required(name)?).map_err(|_| MALFORMED)
    }

    /// RFC 7518, 2, `Base64urlUInt`: a positive number without leading zeros.
    fn unsigned(&self, name: &str) -> Result<Vec<u8>, &'static str> {
        let bytes = self.bytes(name)?;
        if bytes.first().is_none_or(|first| *first == 0) { Err(MALFORMED) } else { Ok(bytes) }
    }
}

/// The key's own algorithm, where its type has it; else the first of its type.
fn one_of(alg: Option<Algorithm>, of_type: &[Algorithm]) -> Result<Algorithm, &'static str> {
    match alg {
        Some(alg) if of_type.contains(&alg) => Ok(alg),
        Some(_) => Err("for another algorithm than its type has"),
        None => of_type.first().copied().ok_or(UNKNOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_verified_is_remembered_and_nothing_else() {
        // RFC 7515, A.1
        let set = KeySet::inline(
            br#"{"keys":[{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}]}"#,
        );
        let set = set.unwrap();
        let key = set.find(None).unwrap();
        let message = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let others = [
            (message.to_owned(), signature.replace('X', "Y")),
            (message.to_owned(), String::new()),
            (format!("{message}."), signature.to_owned()),
            (message.replace("joe", "eve"), format!("{signature}=")),
            (message.split_at(9).1.to_owned(), signature.to_owned()),
        ];
        for round in 0..3 {
            for (message, signature) in &others {
                assert!(!key.verifies(message, signature), "{message} {signature}");
            }
            assert_eq!(key.verified.lock().len(), usize::from(round > 0));
            assert!(key.verifies(message, signature));
        }
        assert!(key.verified.contains(&digest(message, signature)));
    }

    #[test]
    fn why_a_key_is_skipped() {
        for (jwk, expected) in [
            ("7", "a key without kid: malformed"),
            (r#"{"kid":"a","kid":"b"}"#, "a key without kid: malformed"),
            (r#"{"kty":"EC","kid":null}"#, "a key without kid: malformed"),
            (r#"{"kty":"EC","kid":"a\n"}"#, r#"key "a\n": malformed"#),
            (r#"{"kty":"DSA","kid":"a"}"#, r#"key "a": of an unknown kind"#),
            (r#"{"kty":"EC","kid":"a","crv":"P-521"}"#, r#"key "a": of an unknown kind"#),
            (r#"{"kty":"OKP","kid":"a","crv":"X25519"}"#, r#"key "a": of an unknown kind"#),
            (r#"{"kty":"oct","kid":"a","k":"AAAA"}"#, r#"key "a": symmetric, in a set that was fetched"#),
            (r#"{"kty":"RSA","kid":"a","n":"_w","e":"AQAB"}"#, r#"key "a": too weak"#),
            (r#"{"kty":"RSA","kid":"a","use":"enc"}"#, r#"key "a": for another use"#),
            (r#"{"kty":"RSA","kid":"a","key_ops":["sign"]}"#, r#"key "a": for another use"#),
            (r#"{"kty":"RSA","kid":"a","alg":"RSA-OAEP"}"#, r#"key "a": for another algorithm"#),
            (r#"{"kty":"RSA","kid":"a","alg":"ES256"}"#, r#"key "a": for another algorithm than its type has"#),
        ] {
            let good = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
            let set = KeySet::fetched(format!(r#"{{"keys":[{jwk},{good}]}}"#).as_bytes()).unwrap();
            assert_eq!(set.skipped, [expected], "{jwk}");
        }
        let secret = KeySet::inline(br#"{"keys":[{"kty":"oct","kid":"a","k":"AAAA"}]}"#);
        assert_eq!(secret.err(), Some(KeySetError::Empty));
    }

    #[test]
    fn limits_of_keys() {
        let number = |first: u8, length: usize, last: u8| {
            let mut bytes = vec![0xff; length];
            bytes[0] = first;
            bytes[length - 1] = last;
            URL_SAFE_NO_PAD.encode(bytes)
        };
        let rsa = |n: String, e: &[u8]| format!(r#"{{"kty":"RSA","n":"{n}","e":"{}"}}"#, URL_SAFE_NO_PAD.encode(e));
        let usual = || number(0xff, 256, 0xff);
        let x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
        let y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
        let ec = |x: &str, y: &str| format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#);
        let oct = |alg: &str, length: usize| {
            format!(r#"{{"kty":"oct","alg":"{alg}","k":"{}"}}"#, URL_SAFE_NO_PAD.encode(vec![7; length]))
        };
        for (name, jwk, expected) in [
            ("2048 bits", rsa(number(0x80, 256, 1), &[3]), None),
            ("2047 bits", rsa(number(0x7f, 256, 1), &[3]), Some(WEAK)),
            ("8192 bits", rsa(number(0xff, 1_024, 1), &[3]), None),
            ("8193 bits", rsa(number(0x01, 1_025, 1), &[3]), Some(MALFORMED)),
            ("even modulus", rsa(number(0xff, 256, 2), &[3]), Some(MALFORMED)),
            ("even exponent", rsa(usual(), &[2]), Some(MALFORMED)),
            ("exponent of 1", rsa(usual(), &[1]), Some(WEAK)),
            ("exponent of four bytes", rsa(usual(), &[1, 0, 0, 1]), None),
            ("exponent of five bytes", rsa(usual(), &[1, 0, 0, 0, 1]), Some(MALFORMED)),
            ("exponent with a zero before it", rsa(usual(), &[0, 3]), Some(MALFORMED)),
            ("RFC 7515, A.3", ec(x, y), None),
            ("x too short", ec(&x[..42], y), Some(MALFORMED)),
            ("y too short", ec(x, &y[..42]), Some(MALFORMED)),
            ("x too short, y too long", ec(&x[..42], &format!("{y}AA")), Some(MALFORMED)),
            ("not on the curve", ec(y, x), Some(MALFORMED)),
            ("HS256", oct("HS256", 32), None),
            ("HS256, short", oct("HS256", 31), Some(WEAK)),
            ("HS384", oct("HS384", 48), None),
            ("HS384, short", oct("HS384", 47), Some(WEAK)),
            ("HS512", oct("HS512", 64), None),
            ("HS512, short", oct("HS512", 63), Some(WEAK)),
        ] {
            let raw: &RawValue = serde_json::from_str(&jwk).unwrap();
            assert_eq!(Jwk::read(raw).key(true).err(), expected, "{name}");
        }
    }

    #[test]
    fn not_more_is_remembered_than_there_is_room_for() {
        let verified = Verified::default();
        for number in 0..600_u16 {
            let mut digest = Digest::default();
            digest[..2].copy_from_slice(&number.to_be_bytes());
            assert!(!verified.contains(&digest));
            verified.insert(digest);
            assert!(verified.contains(&digest));
            assert!(verified.lock().len() <= Verified::MAX);
        }
        assert_eq!(verified.lock().len(), 600 - 2 * Verified::MAX);
    }
}
