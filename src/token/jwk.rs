//! One key of a set, a JWK (RFC 7517, 4 and RFC 7518, 6).
//!
//! Only the issuer can write its set. So a deviation whose meaning is clear is read, and a key is skipped only if it
//! cannot be used or would weaken the verification.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, ParsedPublicKey,
    VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE_NO_PAD, URL_SAFE_PAD_INDIFFERENT};
use jsonwebtoken::Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512};
use jsonwebtoken::DecodingKey;
use serde_json::value::RawValue;
use thiserror::Error;

use super::key::{Algorithm, Key, Verification};
use crate::excerpt::excerpt;
use crate::json::{InvalidObject, UniqueMembers};

/// The reason why a key is not used.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum SkipReason {
    /// A member of the array `keys` is not an object.
    #[error("malformed: not an object")]
    NotObject,
    /// A member appears twice.
    #[error("malformed: {0:?} appears twice")]
    DuplicateMember(String),
    /// A member that the key needs is absent.
    #[error("malformed: {0} is missing")]
    Missing(&'static str),
    /// A member is not what it must be.
    #[error("malformed: {0} is not {1}")]
    Invalid(&'static str, &'static str),
    /// The coordinates are not those of a point.
    #[error("malformed: x and y are not a point on the curve")]
    NotOnCurve,
    /// It is not for verifying signatures.
    #[error("for another use")]
    OtherUse,
    /// `alg` is not a signature algorithm that this function knows.
    #[error("for another algorithm")]
    OtherAlgorithm,
    /// `alg` is an algorithm of another type of key.
    #[error("for an algorithm of another type of key")]
    AlgorithmOfOtherType,
    /// The type or the curve is unknown.
    #[error("of an unknown type")]
    UnknownType,
    /// It is shorter than its algorithm requires.
    #[error("too weak")]
    TooWeak,
    /// It is longer than 8,192 bits.
    #[error("too long")]
    TooLong,
    /// Fetched, it would be known to everyone.
    #[error("symmetric, in a set that was fetched")]
    Symmetric,
}

impl From<InvalidObject> for SkipReason {
    fn from(error: InvalidObject) -> Self {
        match error {
            InvalidObject::NotObject => Self::NotObject,
            InvalidObject::DuplicateMember(name) => Self::DuplicateMember(excerpt(&name).to_owned()),
        }
    }
}

/// The members of one key.
pub struct Jwk<'a>(UniqueMembers<'a>);

/// The algorithms of a key, its numbers, and the key itself.
type Usable = (Vec<Algorithm>, Vec<Vec<u8>>, Verification);

impl<'a> Jwk<'a> {
    /// Reads a member of the array `keys`.
    ///
    /// # Errors
    ///
    /// It is not an object, or has a member twice.
    pub fn parse(raw: &'a RawValue) -> Result<Self, SkipReason> {
        Ok(Self(UniqueMembers::parse(raw.get().as_bytes())?))
    }

    /// Returns its name, if it has one.
    ///
    /// # Errors
    ///
    /// The name is not a string.
    pub fn kid(&self) -> Result<Option<String>, SkipReason> {
        self.string("kid")
    }

    /// Returns the key in usable form. `symmetric` says whether it may be symmetric.
    ///
    /// # Errors
    ///
    /// The reason why it cannot be used.
    pub fn key(&self, symmetric: bool) -> Result<Key, SkipReason> {
        let kid = self.kid()?;
        self.check_use()?;
        let alg = match self.string("alg")? {
            Some(alg) => Some(Algorithm::from_name(&alg).ok_or(SkipReason::OtherAlgorithm)?),
            None => None,
        };
        let (algorithms, numbers, verification) = match self.required("kty")?.as_str() {
            "RSA" => self.rsa(alg)?,
            "EC" => self.elliptic_curve(alg)?,
            "OKP" => self.edwards_curve(alg)?,
            "oct" if symmetric => self.symmetric(alg)?,
            "oct" => return Err(SkipReason::Symmetric),
            _ => return Err(SkipReason::UnknownType),
        };
        Ok(Key::new(kid, algorithms, numbers, verification))
    }

    /// Requires that the key is for signatures: by `use` if it is present, else by `key_ops` if that is not empty.
    fn check_use(&self) -> Result<(), SkipReason> {
        let operations = self.0.read::<Vec<&RawValue>>("key_ops");
        let operations = operations.map_err(|_| SkipReason::Invalid("key_ops", "an array"))?.unwrap_or_default();
        let is_for_signatures = match self.string("use")? {
            Some(usage) => usage == "sig",
            None => operations.is_empty() || operations.iter().any(|operation| operation.get() == "\"verify\""),
        };
        if is_for_signatures { Ok(()) } else { Err(SkipReason::OtherUse) }
    }

    fn rsa(&self, alg: Option<Algorithm>) -> Result<Usable, SkipReason> {
        let algorithms = one_of(alg, &[RS256, RS384, RS512, PS256, PS384, PS512].map(Algorithm::Library))?;
        let (modulus, exponent) = (self.unsigned("n")?, self.unsigned("e")?);
        let bits = modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
        // An exponent of 1 would make every message its own signature.
        if bits < 2_048 || exponent == [1] {
            return Err(SkipReason::TooWeak);
        }
        if bits > 8_192 {
            return Err(SkipReason::TooLong);
        }
        // AWS-LC reads exponents of up to 33 bits.
        if exponent.len() > 4 {
            return Err(SkipReason::Invalid("e", "at most 32 bits long"));
        }
        for (name, number) in [("n", &modulus), ("e", &exponent)] {
            if number.last().is_none_or(|last| last % 2 == 0) {
                return Err(SkipReason::Invalid(name, "odd"));
            }
        }
        let key = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
        Ok((algorithms, vec![modulus, exponent], Verification::Library(key)))
    }

    fn elliptic_curve(&self, alg: Option<Algorithm>) -> Result<Usable, SkipReason> {
        let (algorithm, parameters, length): (_, &'static dyn VerificationAlgorithm, _) =
            match self.required("crv")?.as_str() {
                "P-256" => (Algorithm::Library(ES256), &ECDSA_P256_SHA256_FIXED, 32),
                "P-384" => (Algorithm::Library(ES384), &ECDSA_P384_SHA384_FIXED, 48),
                "P-521" => (Algorithm::Es512, &ECDSA_P521_SHA512_FIXED, 66),
                _ => return Err(SkipReason::UnknownType),
            };
        let algorithms = one_of(alg, &[algorithm])?;
        let (x, y) = (self.coordinate("x", length)?, self.coordinate("y", length)?);
        // SEC 1, 2.3.3: the uncompressed form. Parsing checks that the point is on the curve.
        let point = [&[4], &x[..], &y[..]].concat();
        let parsed = ParsedPublicKey::new(parameters, &point).map_err(|_| SkipReason::NotOnCurve)?;
        let verification = if algorithm == Algorithm::Es512 {
            Verification::Es512(parsed)
        } else {
            let key = DecodingKey::from_ec_components(&URL_SAFE_NO_PAD.encode(&x), &URL_SAFE_NO_PAD.encode(&y));
            Verification::Library(key.map_err(|_| SkipReason::NotOnCurve)?)
        };
        Ok((algorithms, vec![x, y], verification))
    }

    fn edwards_curve(&self, alg: Option<Algorithm>) -> Result<Usable, SkipReason> {
        if self.required("crv")? != "Ed25519" {
            return Err(SkipReason::UnknownType);
        }
        let algorithms = one_of(alg, &[Algorithm::Library(EdDSA)])?;
        let point = self.bytes("x")?;
        let invalid = SkipReason::Invalid("x", "an Ed25519 key");
        ParsedPublicKey::new(&ED25519, &point).map_err(|_| invalid.clone())?;
        let key = DecodingKey::from_ed_components(&URL_SAFE_NO_PAD.encode(&point)).map_err(|_| invalid)?;
        Ok((algorithms, vec![point], Verification::Library(key)))
    }

    fn symmetric(&self, alg: Option<Algorithm>) -> Result<Usable, SkipReason> {
        let secret = self.bytes("k")?;
        // RFC 7518, 3.2: at least as long as the hash.
        let by_length = [(HS256, 32), (HS384, 48), (HS512, 64)];
        let named = one_of(alg, &by_length.map(|(algorithm, _)| Algorithm::Library(algorithm)))?;
        let long_enough = by_length
            .into_iter()
            .filter(|(algorithm, length)| secret.len() >= *length && named.contains(&Algorithm::Library(*algorithm)));
        let algorithms: Vec<_> = long_enough.map(|(algorithm, _)| Algorithm::Library(algorithm)).collect();
        if algorithms.is_empty() {
            return Err(SkipReason::TooWeak);
        }
        let key = DecodingKey::from_secret(&secret);
        Ok((algorithms, vec![secret], Verification::Library(key)))
    }

    fn string(&self, name: &'static str) -> Result<Option<String>, SkipReason> {
        self.0.read(name).map_err(|_| SkipReason::Invalid(name, "a string"))
    }

    fn required(&self, name: &'static str) -> Result<String, SkipReason> {
        self.string(name)?.ok_or(SkipReason::Missing(name))
    }

    /// Reads base64url without padding, as RFC 7515, 2 says, or with padding or in the plain alphabet, as some issuers
    /// write it: the value is the same.
    fn bytes(&self, name: &'static str) -> Result<Vec<u8>, SkipReason> {
        let text = self.required(name)?.replace('+', "-").replace('/', "_");
        URL_SAFE_PAD_INDIFFERENT.decode(text).map_err(|_| SkipReason::Invalid(name, "base64url"))
    }

    /// Reads a number of RFC 7518, 6.3 and returns it without leading zeros. Some issuers write them.
    fn unsigned(&self, name: &'static str) -> Result<Vec<u8>, SkipReason> {
        let number = without_leading_zeros(&self.bytes(name)?).to_vec();
        if number.is_empty() { Err(SkipReason::Invalid(name, "a positive number")) } else { Ok(number) }
    }

    /// Reads a coordinate and returns it in the length of its curve. RFC 7518, 6.2.1.2 demands that length, but issuers drop
    /// leading zeros, or write one that a signed number needs: the value is the same.
    fn coordinate(&self, name: &'static str, length: usize) -> Result<Vec<u8>, SkipReason> {
        let bytes = self.bytes(name)?;
        let number = without_leading_zeros(&bytes);
        let missing = length.checked_sub(number.len()).ok_or(SkipReason::Invalid(name, "a coordinate of the curve"))?;
        Ok([&vec![0; missing], number].concat())
    }
}

fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    bytes.get(start..).unwrap_or_default()
}

/// Returns the algorithm that the key names, or all of its type if it names none.
fn one_of(alg: Option<Algorithm>, of_type: &[Algorithm]) -> Result<Vec<Algorithm>, SkipReason> {
    match alg {
        Some(alg) if of_type.contains(&alg) => Ok(vec![alg]),
        Some(_) => Err(SkipReason::AlgorithmOfOtherType),
        None => Ok(of_type.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::SkipReason::{Invalid, NotOnCurve, TooLong, TooWeak};
    use super::*;
    use crate::token::key_set::{KeySet, KeySetError};

    #[test]
    fn skipped_keys_are_named_with_the_reason() {
        for (jwk, expected) in [
            ("7", "a key without kid: malformed: not an object"),
            (r#"{"kid":"a","kid":"b"}"#, r#"a key without kid: malformed: "kid" appears twice"#),
            (r#"{"kid":"a"}"#, r#"key "a": malformed: kty is missing"#),
            (r#"{"kid":"a","x5c":["MIIB"]}"#, r#"key "a": malformed: kty is missing"#),
            (r#"{"kty":7}"#, "a key without kid: malformed: kty is not a string"),
            (r#"{"kty":"EC","kid":null}"#, "a key without kid: malformed: crv is missing"),
            (r#"{"kty":"EC","kid":7}"#, "a key without kid: malformed: kid is not a string"),
            (r#"{"kty":"EC","kid":"a\n"}"#, r#"key "a\n": malformed: crv is missing"#),
            (r#"{"kty":"EC","crv":"P-256","y":"AA"}"#, "a key without kid: malformed: x is missing"),
            (r#"{"kty":"EC","crv":"P-256","x":"AA","y":null}"#, "a key without kid: malformed: y is missing"),
            (r#"{"kty":"RSA","e":"AQAB","x5c":["MIIB"]}"#, "a key without kid: malformed: n is missing"),
            (r#"{"kty":"RSA","n":"_w","e":65537}"#, "a key without kid: malformed: e is not a string"),
            (r#"{"kty":"RSA","n":"A","e":"AQAB"}"#, "a key without kid: malformed: n is not base64url"),
            (r#"{"kty":"RSA","n":"AAA","e":"AQAB"}"#, "a key without kid: malformed: n is not a positive number"),
            (r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#, "a key without kid: malformed: x is not an Ed25519 key"),
            (r#"{"kty":"RSA","use":["sig"]}"#, "a key without kid: malformed: use is not a string"),
            (r#"{"kty":"RSA","alg":1}"#, "a key without kid: malformed: alg is not a string"),
            (r#"{"kty":"DSA","kid":"a"}"#, r#"key "a": of an unknown type"#),
            (r#"{"kty":"EC","kid":"a","crv":"secp256k1"}"#, r#"key "a": of an unknown type"#),
            (r#"{"kty":"OKP","kid":"a","crv":"X25519"}"#, r#"key "a": of an unknown type"#),
            (r#"{"kty":"oct","kid":"a","k":"AAAA"}"#, r#"key "a": symmetric, in a set that was fetched"#),
            (r#"{"kty":"RSA","kid":"a","n":"_w","e":"AQAB"}"#, r#"key "a": too weak"#),
            (r#"{"kty":"RSA","kid":"a","use":"enc"}"#, r#"key "a": for another use"#),
            (r#"{"kty":"RSA","kid":"a","use":"enc","key_ops":["verify"]}"#, r#"key "a": for another use"#),
            (r#"{"kty":"RSA","kid":"a","key_ops":["sign"]}"#, r#"key "a": for another use"#),
            (r#"{"kty":"RSA","kid":"a","key_ops":"verify"}"#, r#"key "a": malformed: key_ops is not an array"#),
            (r#"{"kty":"RSA","kid":"a","use":"sig","key_ops":7}"#, r#"key "a": malformed: key_ops is not an array"#),
            (r#"{"kty":"RSA","kid":"a","alg":"RSA-OAEP"}"#, r#"key "a": for another algorithm"#),
            (r#"{"kty":"RSA","kid":"a","alg":"ES256"}"#, r#"key "a": for an algorithm of another type of key"#),
        ] {
            let good = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
            let set = KeySet::fetched(format!(r#"{{"keys":[{jwk},{good}]}}"#).as_bytes()).unwrap();
            let skipped: Vec<_> = set.warnings.skipped.named.iter().map(ToString::to_string).collect();
            assert_eq!(skipped, [expected], "{jwk}");
        }
        let empty = KeySet::inline(br#"{"keys":[{"kty":"oct","kid":"a","k":"AAAA"},7]}"#).err().unwrap();
        let expected = r#"no key in it can be used: key "a": too weak; a key without kid: malformed: not an object"#;
        assert_eq!(empty.to_string(), expected);
        assert_eq!(KeySet::inline(b"\xef\xbb\xbf{\"keys\":[]}").err(), Some(KeySetError::NotObject));
    }

    #[test]
    fn keys_have_limits_and_several_spellings() {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let number = |first: u8, length: usize, last: u8| {
            let mut bytes = vec![0xff; length];
            bytes[0] = first;
            bytes[length - 1] = last;
            bytes
        };
        let rsa = |n: &[u8], e: &[u8]| format!(r#"{{"kty":"RSA","n":"{}","e":"{}"}}"#, encode(n), encode(e));
        let usual = number(0xff, 256, 0xff);
        let (x, y) = ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
        let ec = |x: &str, y: &str| format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#);
        let zeros =
            |count: usize, number: &str| encode(&[vec![0; count], URL_SAFE_NO_PAD.decode(number).unwrap()].concat());
        let oct =
            |alg: &str, length: usize| format!(r#"{{"kty":"oct","alg":"{alg}","k":"{}"}}"#, encode(&vec![7; length]));
        let any = |length: usize| format!(r#"{{"kty":"oct","k":"{}"}}"#, encode(&vec![7; length]));
        let plain = |text: String| text.replace('-', "+").replace('_', "/").replace("P+256", "P-256");
        for (name, jwk, expected) in [
            ("2048 bits", rsa(&number(0x80, 256, 1), &[3]), None),
            ("2047 bits", rsa(&number(0x7f, 256, 1), &[3]), Some(TooWeak)),
            ("2047 bits and a zero", rsa(&[&[0], &number(0x7f, 256, 1)[..]].concat(), &[3]), Some(TooWeak)),
            ("8192 bits", rsa(&number(0xff, 1_024, 1), &[3]), None),
            ("8192 bits and a zero", rsa(&[&[0], &number(0xff, 1_024, 1)[..]].concat(), &[3]), None),
            ("8193 bits", rsa(&number(0x01, 1_025, 1), &[3]), Some(TooLong)),
            ("leading zeros", rsa(&[&[0, 0], &usual[..]].concat(), &[0, 1, 0, 1]), None),
            ("padding", rsa(&usual, &[3]).replace("\",\"e\"", "==\",\"e\""), None),
            ("plain alphabet", plain(rsa(&usual, &[3])), None),
            ("a line end", rsa(&usual, &[3]).replace("\",\"e\"", "\\n\",\"e\""), Some(Invalid("n", "base64url"))),
            ("even modulus", rsa(&number(0xff, 256, 2), &[3]), Some(Invalid("n", "odd"))),
            ("even exponent", rsa(&usual, &[2]), Some(Invalid("e", "odd"))),
            ("exponent of 1", rsa(&usual, &[1]), Some(TooWeak)),
            ("exponent of 1 with zeros", rsa(&usual, &[0, 1]), Some(TooWeak)),
            ("no exponent", rsa(&usual, &[]), Some(Invalid("e", "a positive number"))),
            ("exponent of 0", rsa(&usual, &[0]), Some(Invalid("e", "a positive number"))),
            ("exponent of four bytes", rsa(&usual, &[1, 0, 0, 1]), None),
            ("exponent of five bytes", rsa(&usual, &[1, 0, 0, 0, 1]), Some(Invalid("e", "at most 32 bits long"))),
            ("RFC 7515, A.3", ec(x, y), None),
            ("padded", ec(&format!("{x}="), &format!("{y}=")), None),
            ("plain alphabet", plain(ec(x, y)), None),
            ("another x", ec(&encode(&[1; 31]), y), Some(NotOnCurve)),
            ("another y", ec(x, &encode(&[1; 31])), Some(NotOnCurve)),
            ("x too long", ec(&encode(&[1; 33]), y), Some(Invalid("x", "a coordinate of the curve"))),
            ("y too long", ec(x, &encode(&[1; 33])), Some(Invalid("y", "a coordinate of the curve"))),
            (
                "x too short, y too long",
                ec(&encode(&[1; 31]), &encode(&[1; 33])),
                Some(Invalid("y", "a coordinate of the curve")),
            ),
            ("empty coordinates", ec("", ""), Some(NotOnCurve)),
            ("leading zeros of coordinates", ec(&zeros(1, x), &zeros(40, y)), None),
            ("not on the curve", ec(y, x), Some(NotOnCurve)),
            (
                "null members",
                ec(x, y).replace("{\"kty", "{\"use\":null,\"key_ops\":null,\"alg\":null,\"kid\":null,\"kty"),
                None,
            ),
            ("private members", ec(x, y).replace("{\"kty", "{\"d\":7,\"p\":null,\"kty"), None),
            ("no operations", ec(x, y).replace("{\"kty", "{\"key_ops\":[],\"kty"), None),
            (
                "operations beside a use",
                ec(x, y).replace("{\"kty", "{\"use\":\"sig\",\"key_ops\":[\"sign\"],\"kty"),
                None,
            ),
            ("HS256", oct("HS256", 32), None),
            ("HS256, short", oct("HS256", 31), Some(TooWeak)),
            ("HS384", oct("HS384", 48), None),
            ("HS384, short", oct("HS384", 47), Some(TooWeak)),
            ("HS512", oct("HS512", 64), None),
            ("HS512, short", oct("HS512", 63), Some(TooWeak)),
            ("any HMAC", any(32), None),
            ("any HMAC, short", any(31), Some(TooWeak)),
        ] {
            let raw: &RawValue = serde_json::from_str(&jwk).unwrap();
            assert_eq!(Jwk::parse(raw).and_then(|jwk| jwk.key(true)).err(), expected, "{name}");
        }
    }
}
