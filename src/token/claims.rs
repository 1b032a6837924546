//! The claims of a token (RFC 7519, 4) and the rules for them.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::error::{Forbidden, InvalidToken};
use super::issuer::Issuer;
use crate::hyphenated_uuid;
use crate::json::UniqueMembers;
use crate::update::Access;

/// The allowed difference between the issuer's clock and ours.
pub const LEEWAY: Duration = Duration::from_secs(30);

/// The rules that the claims of every token must satisfy.
pub struct ClaimRules {
    /// Accepted `iss`, each once.
    pub issuers: Vec<Issuer>,
    /// Accepted `aud`.
    pub audience: HashSet<String>,
    /// A scope that every token must have.
    pub scope: Option<String>,
    /// The claim with the caller's node; `None`: any valid token may update any distributor.
    pub node_claim: Option<ClaimName>,
}

/// The identity in a verified token; only verification creates one.
#[derive(Debug)]
pub struct Caller {
    subject: Option<String>,
    access: Result<Access, Forbidden>,
}

impl Caller {
    /// Returns `sub`, if it is a string.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// Returns the distributors that the caller may update.
    ///
    /// # Errors
    ///
    /// The caller is authenticated but not authorized.
    pub fn authorize(self) -> Result<Access, Forbidden> {
        self.access
    }
}

/// The place of a claim.
#[derive(Clone, Debug, PartialEq)]
pub enum ClaimName {
    /// The member of this name.
    Member(String),
    /// A JSON pointer (RFC 6901): the name of the first member, and the pointer into its value.
    Pointer(String, String),
}

impl ClaimName {
    /// Parses the setting: a JSON pointer if it starts with `/`, else a name. `None` if the pointer is not valid.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let Some(pointer) = text.strip_prefix('/') else { return Some(Self::Member(text.to_owned())) };
        if text.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1'])) {
            return None;
        }
        let (first, rest) = pointer.split_once('/').map_or((pointer, None), |(first, rest)| (first, Some(rest)));
        let rest = rest.map(|rest| format!("/{rest}")).unwrap_or_default();
        Some(Self::Pointer(first.replace("~1", "/").replace("~0", "~"), rest))
    }

    fn find(&self, claims: &UniqueMembers<'_>) -> Option<Value> {
        let (name, rest) = match self {
            Self::Member(name) => (name, ""),
            Self::Pointer(name, rest) => (name, &**rest),
        };
        let value: Value = serde_json::from_str(claims.get(name)?.get()).ok()?;
        value.pointer(rest).cloned()
    }
}

impl ClaimRules {
    /// Returns the issuer that the claims name, if it is accepted. Before the signature has been verified, it only
    /// selects the keys.
    ///
    /// # Errors
    ///
    /// It is not accepted.
    pub fn issuer(&self, claims: &UniqueMembers<'_>) -> Result<&Issuer, InvalidToken> {
        let name: Option<String> = claims.read("iss").map_err(|_| InvalidToken::ClaimType("iss"))?;
        let accepted = self.issuers.iter().find(|accepted| Some(&accepted.name) == name.as_ref());
        accepted.ok_or(InvalidToken::Issuer)
    }

    /// Validates at `now` the claims of an issuer that [`issuer`](Self::issuer) has accepted.
    ///
    /// # Errors
    ///
    /// The first rule that they break. What a valid token does not allow is in the [`Caller`].
    pub fn validate(&self, claims: &UniqueMembers<'_>, now: SystemTime) -> Result<Caller, InvalidToken> {
        let string = |name| claims.read::<String>(name).map_err(|_| InvalidToken::ClaimType(name));
        let strings = |name| claims.read::<Strings>(name).map_err(|_| InvalidToken::ClaimType(name));
        // NumericDate (RFC 7519, 2): seconds since the epoch, a JSON number in any notation.
        let date = |name| claims.read::<f64>(name).map_err(|_| InvalidToken::ClaimType(name));

        // All of them are read before any is validated: a wrong type refuses the token, whether or not the claim matters.
        let audience = strings("aud")?.filter(|audience| !audience.is_empty());
        let (expires, not_before, issued_at) = (date("exp")?, date("nbf")?, date("iat")?);
        let (client, token_use) = (string("client_id")?, string("token_use")?);
        let (scope, scp) = (strings("scope")?, strings("scp")?);

        let (accepted, claim) = match audience {
            Some(audience) => (audience.iter().any(|audience| self.audience.contains(audience)), "aud"),
            None => match client {
                Some(client) => (self.audience.contains(&client), "client_id"),
                None => (false, "aud"),
            },
        };
        if !accepted {
            return Err(InvalidToken::Audience(claim));
        }
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let leeway = LEEWAY.as_secs_f64();
        match expires {
            None => return Err(InvalidToken::NoExpiry),
            Some(expires) if now >= expires + leeway => return Err(InvalidToken::Expired),
            Some(_) => {}
        }
        for (claim, start) in [("nbf", not_before), ("iat", issued_at)] {
            if start.is_some_and(|start| now + leeway < start) {
                return Err(InvalidToken::NotYetValid(claim));
            }
        }
        if token_use.is_some_and(|token_use| token_use == "id") {
            return Err(InvalidToken::IdToken);
        }

        let has_scope = |required: &str| {
            let mut words = [&scope, &scp].into_iter().flatten().flat_map(Strings::words);
            words.any(|scope| scope == required)
        };
        let access = match &self.scope {
            Some(required) if !has_scope(required) => Err(Forbidden::Scope { required: required.clone() }),
            _ => self.access(claims),
        };
        Ok(Caller { subject: string("sub").ok().flatten(), access })
    }

    fn access(&self, claims: &UniqueMembers<'_>) -> Result<Access, Forbidden> {
        let Some(claim) = &self.node_claim else { return Ok(Access::AnyNode) };
        let node = claim.find(claims).as_ref().and_then(node);
        node.map(Access::Node).ok_or(Forbidden::Node)
    }
}

/// Returns a hyphenated UUID in a string, or in an array with one entry.
fn node(claim: &Value) -> Option<Uuid> {
    let claim = match claim {
        Value::Array(values) => match &values[..] {
            [only] => only,
            _ => return None,
        },
        other => other,
    };
    claim.as_str().and_then(hyphenated_uuid::parse)
}

/// A string or an array of strings.
#[derive(Deserialize)]
#[serde(untagged)]
enum Strings {
    One(String),
    Many(Vec<String>),
}

impl Strings {
    fn is_empty(&self) -> bool {
        match self {
            Self::One(one) => one.is_empty(),
            Self::Many(many) => many.is_empty(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &String> {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
        .iter()
    }

    /// Returns its entries; those of a string are separated by spaces.
    fn words(&self) -> impl Iterator<Item = &str> {
        let separator = match self {
            Self::One(_) => Some(' '),
            Self::Many(_) => None,
        };
        self.iter().flat_map(move |entry| entry.split(move |char| Some(char) == separator))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(node_claim: Option<&str>) -> ClaimRules {
        ClaimRules {
            issuers: Vec::new(),
            audience: ["a".to_owned()].into(),
            scope: None,
            node_claim: node_claim.map(|claim| ClaimName::parse(claim).unwrap()),
        }
    }

    #[test]
    fn dates_are_judged_with_leeway() {
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
            let claims = UniqueMembers::parse(claims.as_bytes()).unwrap();
            assert_eq!(rules(None).validate(&claims, now).is_ok(), expected, "{dates}");
        }
    }

    #[test]
    fn the_node_is_found_by_name_or_pointer() {
        const NODE: &str = r#""e40efce4-38a3-46c4-a202-e8db95d0409c""#;
        for (claim, claims, expected) in [
            ("node_id", format!(r#""node_id":{NODE}"#), true),
            ("/node_id", format!(r#""node_id":{NODE}"#), true),
            ("/ext/node_id", format!(r#""ext":{{"node_id":{NODE}}}"#), true),
            ("/a~1b/c~0d/0", format!(r#""a/b":{{"c~d":[{NODE},1]}}"#), true),
            ("/", format!(r#""":{NODE}"#), true),
            ("//x", format!(r#""":{{"x":{NODE}}}"#), true),
            ("https://x.example/node", format!(r#""https://x.example/node":{NODE}"#), true),
            ("node_id", format!(r#""node_id":[{NODE}]"#), true),
            ("/ext/node_id", format!(r#""ext":{{"node_id":[{NODE}]}}"#), true),
            ("node_id", format!(r#""node_id":[{NODE},{NODE}]"#), false),
            ("node_id", format!(r#""node_id":[[{NODE}]]"#), false),
            ("node_id", r#""node_id":[]"#.to_owned(), false),
            ("node_id", r#""node_id":null"#.to_owned(), false),
            ("node_id", r#""node_id":7"#.to_owned(), false),
            ("node_id", format!(r#""node_id":{{"a":{NODE}}}"#), false),
            ("node_id", r#""x":1"#.to_owned(), false),
            ("/ext/node_id", format!(r#""ext":{NODE}"#), false),
            ("/ext/node_id", r#""ext":null"#.to_owned(), false),
            ("/ext/node_id", format!(r#""ext":[{{"node_id":{NODE}}}]"#), false),
            ("/ext/node_id", format!(r#""/ext/node_id":{NODE}"#), false),
        ] {
            let claims = format!(r#"{{"iss":"i","aud":"a","exp":9,{claims}}}"#);
            let members = UniqueMembers::parse(claims.as_bytes()).unwrap();
            let caller = rules(Some(claim)).validate(&members, SystemTime::UNIX_EPOCH).unwrap();
            assert_eq!(caller.authorize().is_ok(), expected, "{claim}: {claims}");
        }
        for claim in ["/~", "/a~2", "/a~", "/a/~/b"] {
            assert_eq!(ClaimName::parse(claim), None, "{claim}");
        }
    }
}
