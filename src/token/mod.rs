//! A bearer token (RFC 7519, signed as RFC 7515 says, judged by RFC 8725) → the caller.

pub mod fetch;
pub mod keys;

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::json;
use crate::problem::{Code, Problem};
use crate::update::{Access, hyphenated_uuid};
use fetch::KeyStore;

/// How far the issuer's clock and ours may be apart.
const LEEWAY: Duration = Duration::from_secs(30);

/// What tokens must say.
pub struct Rules {
    /// Expected `iss`.
    pub issuer: String,
    /// Accepted `aud`.
    pub audience: HashSet<String>,
    /// A scope that every token must carry.
    pub scope: Option<String>,
    /// The claim with the caller's node; `None`: any valid token may update any distributor.
    pub node_claim: Option<String>,
}

/// Verifies tokens.
pub struct Verifier {
    rules: Rules,
    keys: KeyStore,
    clock: Clock,
}

/// What a verified token says of who sent it: only verification makes one.
#[derive(Debug)]
pub struct Caller {
    subject: Option<String>,
    access: Result<Access, Problem>,
}

impl Caller {
    /// `sub`
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// Whose distributors it may update.
    ///
    /// # Errors
    ///
    /// `insufficient_scope`, `node_claim_missing`: it is known who calls, and that this is not allowed.
    pub fn authorize(self) -> Result<Access, Problem> {
        self.access
    }
}

impl Verifier {
    /// A verifier that judges by `rules`, with these keys.
    #[must_use]
    pub fn new(rules: Rules, keys: KeyStore, clock: Clock) -> Self {
        Self { rules, keys, clock }
    }

    /// Gets the keys ready before the first request, where they have to be fetched.
    ///
    /// # Errors
    ///
    /// Why they could not be fetched; the first request will try again.
    pub async fn prepare(&self, deadline: Instant) -> Result<(), String> {
        self.keys.prepare(deadline).await
    }

    /// Verifies a token.
    ///
    /// # Errors
    ///
    /// `invalid_token`, or `keys_unavailable` where there is no key to verify it with until `deadline`.
    pub async fn verify(&self, token: &str, deadline: Instant) -> Result<Caller, Problem> {
        let jws = Jws::parse(token)?;
        let kid = jws.kid.as_deref();
        let keys = self.keys.keys_for(kid, deadline).await?;
        let Some(key) = keys.set.find(kid) else {
            let problem = invalid("the token's kid names no key");
            return Err(match keys.stale_because {
                Some(reason) => problem.because(reason),
                None => problem,
            });
        };
        if !key.has_algorithm(&jws.alg) {
            return Err(invalid("the token's alg is not that of its key"));
        }
        if !key.verifies(jws.signed, jws.signature) {
            return Err(invalid("the token's signature does not verify"));
        }
        let claims = URL_SAFE_NO_PAD.decode(jws.claims).ok();
        let claims = claims.as_deref().and_then(|claims| Members::parse(claims, &[]));
        self.rules.judge(&claims.ok_or_else(|| invalid("the token's claims are malformed"))?, self.clock.now())
    }
}

impl Rules {
    fn judge(&self, claims: &Members<'_>, now: SystemTime) -> Result<Caller, Problem> {
        let string = |name: &str| claims.member::<String>(name);
        let strings = |name: &str| claims.member::<Strings>(name);
        // Seconds since the epoch, in any way that JSON writes a number that is a date.
        let date = |name: &str| claims.member::<f64>(name);

        // All of them are read before any is judged: one of a wrong type refuses the token, whether or not it counts.
        let (issuer, subject, audience) = (string("iss")?, string("sub")?, strings("aud")?);
        let (expires, not_before, issued_at) = (date("exp")?, date("nbf")?, date("iat")?);
        let (client, usage) = (string("client_id")?, string("token_use")?);
        let (scope, scp) = (string("scope")?, strings("scp")?);
        string("jti")?;
        let node = self.node_claim.as_deref().map(string).transpose()?;

        if issuer.as_ref() != Some(&self.issuer) {
            return Err(invalid("the token is from another issuer"));
        }
        let accepted = match audience {
            Some(audience) => audience.iter().any(|audience| self.audience.contains(audience)),
            None => client.is_some_and(|client| self.audience.contains(&client)),
        };
        if !accepted {
            return Err(invalid("the token is for another audience"));
        }
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let leeway = LEEWAY.as_secs_f64();
        match expires {
            None => return Err(invalid("the token does not say when it expires")),
            Some(expires) if now >= expires + leeway => return Err(invalid("the token has expired")),
            Some(_) => {}
        }
        if [not_before, issued_at].into_iter().flatten().any(|start| now + leeway < start) {
            return Err(invalid("the token is not valid yet"));
        }
        if usage.is_some_and(|usage| usage == "id") {
            return Err(invalid("an ID token is no access token"));
        }

        let has_scope = |required: &String| {
            let scope = scope.iter().flat_map(|scope| scope.split(' '));
            let scp = scp.iter().flat_map(Strings::words);
            scope.chain(scp).any(|scope| scope == required)
        };
        let access = match (&self.scope, node) {
            (Some(required), _) if !has_scope(required) => Err(Problem::insufficient_scope(required)),
            (_, None) => Ok(Access::AnyNode),
            (_, Some(node)) => node
                .as_deref()
                .and_then(hyphenated_uuid)
                .map(Access::Node)
                .ok_or_else(|| Problem::new(Code::NodeClaimMissing, "the token does not say for which node it is")),
        };
        Ok(Caller { subject, access })
    }
}

/// A JWS in compact form, of which the header is read and the rest is not verified yet.
struct Jws<'a> {
    kid: Option<String>,
    alg: String,
    /// What the signature is of: header and claims as they came.
    signed: &'a str,
    claims: &'a str,
    signature: &'a str,
}

impl<'a> Jws<'a> {
    fn parse(token: &'a str) -> Result<Self, Problem> {
        /// RFC 7515, 4.1.11 and RFC 7797: extensions that would have to be understood. RFC 7516: an encrypted token.
        const REFUSED: [&str; 4] = ["crit", "b64", "zip", "enc"];
        /// Keys that a token brings itself.
        const NEVER_READ: [&str; 4] = ["jku", "jwk", "x5u", "x5c"];

        let malformed = || invalid("the token is no signed JWT");
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
        if claims.contains('.') {
            return Err(malformed());
        }
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| malformed())?;
        let header = Members::parse(&header, &NEVER_READ).ok_or_else(|| invalid("the token's header is malformed"))?;
        if header.0.iter().any(|(name, _)| REFUSED.contains(&name.as_ref())) {
            return Err(invalid("the token's header asks for what is not supported"));
        }
        let kid = header.member("kid")?;
        let alg: Option<String> = header.member("alg")?;
        let typ: Option<String> = header.member("typ")?;
        if !typ.is_none_or(|typ| is_jwt_type(&typ)) {
            return Err(invalid("the token is of another type"));
        }
        let alg = alg.ok_or_else(|| invalid("the token's header is malformed"))?;
        Ok(Self { kid, alg, signed, claims, signature })
    }
}

/// `JWT` (RFC 7519, 5.1) or `at+jwt` (RFC 9068, 2.1).
fn is_jwt_type(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
}

/// The members of a header or of claims: none twice, and none `null`.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    fn parse(text: &'a [u8], may_be_null: &[&str]) -> Option<Self> {
        let members = json::members(text)?;
        let is_null =
            |(name, value): &(Cow<'_, str>, &RawValue)| value.get() == "null" && !may_be_null.contains(&name.as_ref());
        (!members.iter().any(is_null)).then_some(Self(members))
    }

    fn member<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, Problem> {
        let member = self.0.iter().find(|(member, _)| member == name);
        let value = member.map(|(_, value)| serde_json::from_str(value.get())).transpose();
        value.map_err(|_| invalid("a member of the token has another type than it should"))
    }
}

/// A string or several of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Strings {
    One(String),
    Several(Vec<String>),
}

impl Strings {
    fn iter(&self) -> impl Iterator<Item = &String> {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        }
        .iter()
    }

    /// Its entries; those of a single string stand between blanks.
    fn words(&self) -> impl Iterator<Item = &str> {
        let separator = match self {
            Self::One(_) => Some(' '),
            Self::Several(_) => None,
        };
        self.iter().flat_map(move |entry| entry.split(move |char| Some(char) == separator))
    }
}

fn invalid(detail: &'static str) -> Problem {
    Problem::new(Code::InvalidToken, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edges_of_the_leeway() {
        let rules = Rules { issuer: "i".to_owned(), audience: ["a".to_owned()].into(), scope: None, node_claim: None };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (dates, expected) in [
            (r#""exp":999970"#, false),
            (r#""exp":999970.001"#, true),
            (r#""exp":999971"#, true),
            (r#""exp":2000000,"nbf":1000030"#, true),
            (r#""exp":2000000,"nbf":1000030.001"#, false),
            (r#""exp":2000000,"iat":1000030"#, true),
            (r#""exp":2000000,"iat":1000031"#, false),
        ] {
            let claims = format!(r#"{{"iss":"i","aud":"a",{dates}}}"#);
            let claims = Members::parse(claims.as_bytes(), &[]).unwrap();
            assert_eq!(rules.judge(&claims, now).is_ok(), expected, "{dates}");
        }
    }
}
