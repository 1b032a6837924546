//! The bytes of the request's body → the change of `meta`, or every error.

use std::borrow::Cow;

use crate::json::{self, Json, Malformed};
use crate::problem::{Code, InvalidMember, Problem};
use crate::update::Change;
use crate::webhook::{
    Authentication, Host, HostPolicy, InvalidValue, Meta, Method, Password, Path, Scheme, Token, Username,
};

/// Members of a distributor that are returned and cannot be set. They are ignored, so that a client can send back what
/// it received.
const READ_ONLY: [&str; 4] = ["id", "node_id", "created_at", "updated_at"];

/// Reads a body.
///
/// # Errors
///
/// `malformed_json` if it is not one JSON object, after one byte order mark at most (RFC 8259, 8.1 lets a reader ignore
/// it). `invalid_body` with every invalid member, in the order of the body, and then those that are missing.
pub fn change(body: &[u8], host_policy: HostPolicy) -> Result<Change, Problem> {
    let members = match json::parse(json::without_byte_order_mark(body)) {
        Ok(Json::Object(members)) => members,
        Ok(_) => return Err(malformed(&Malformed::not_object())),
        Err(error) => return Err(malformed(&error)),
    };
    let mut reader = Reader { host_policy, errors: Vec::new(), missing: Vec::new() };
    let change = reader.change(&members);
    reader.errors.append(&mut reader.missing);
    if reader.errors.is_empty() { Ok(change) } else { Err(Problem::invalid_body(reader.errors)) }
}

fn malformed(error: &Malformed) -> Problem {
    Problem::new(Code::MalformedJson, format!("the body is malformed: {error}"))
}

const META: &str = "/meta";
const AUTHENTICATION: &str = "/meta/authentication";

/// Reads members. An invalid one is recorded and treated as absent; the change is then discarded.
struct Reader {
    host_policy: HostPolicy,
    errors: Vec<InvalidMember>,
    missing: Vec<InvalidMember>,
}

impl Reader {
    fn change(&mut self, members: &[(Cow<'_, str>, Json<'_>)]) -> Change {
        let mut change = Change::Keep;
        for (name, value) in members {
            match name.as_ref() {
                "meta" => change = self.meta(value),
                name if READ_ONLY.contains(&name) => {}
                name => self.unknown("", name),
            }
        }
        change
    }

    fn meta(&mut self, value: &Json<'_>) -> Change {
        let members = match value {
            Json::Null => return Change::Remove,
            Json::Object(members) => members,
            _ => {
                self.error(META.to_owned(), "must be an object or null");
                return Change::Keep;
            }
        };
        let mut meta = Meta { host: None, path: None, method: None, authentication: None };
        for (name, value) in members {
            let value = not_null(value);
            match name.as_ref() {
                "host" => {
                    let policy = self.host_policy;
                    meta.host = self.string(META, name, value, |text| Host::new(text, policy));
                }
                "path" => meta.path = self.string(META, name, value, Path::new),
                "method" => {
                    let method = value.map(|value| match value {
                        Json::String(method) => Method::from_name(method),
                        Json::Number(number) => Method::from_number(*number),
                        _ => Err(InvalidValue::UnknownMethod),
                    });
                    meta.method = method.and_then(|method| self.record_error(META, name, method));
                }
                "authentication" => meta.authentication = value.and_then(|value| self.authentication(value)),
                name => self.unknown(META, name),
            }
        }
        Change::Set(meta)
    }

    fn authentication(&mut self, value: &Json<'_>) -> Option<Authentication> {
        let Json::Object(members) = value else {
            self.error(AUTHENTICATION.to_owned(), "must be an object");
            return None;
        };
        let parent = AUTHENTICATION;
        // `type` may come last, so it is read first: the other members depend on it.
        let number = members.iter().find(|(name, _)| name == "type").and_then(|(_, value)| not_null(value));
        let scheme = number.map(|value| match value {
            Json::Number(number) => Scheme::from_number(*number),
            _ => Err(InvalidValue::UnknownScheme),
        });
        let mut authentication = Authentication { scheme: None, username: None, password: None, token: None };
        for (name, value) in members {
            let value = not_null(value);
            match name.as_ref() {
                "type" => {
                    authentication.scheme = scheme.clone().and_then(|scheme| self.record_error(parent, name, scheme));
                }
                "username" => {
                    let is_basic = scheme == Some(Ok(Scheme::Basic));
                    let username = |text: &str| if is_basic { Username::basic(text) } else { Username::new(text) };
                    authentication.username = self.string(parent, name, value, username);
                }
                "password" => authentication.password = self.string(parent, name, value, Password::new),
                "token" => authentication.token = self.string(parent, name, value, Token::new),
                name => self.unknown(parent, name),
            }
        }
        if let Some(Ok(scheme)) = scheme {
            for required in scheme.required() {
                if !members.iter().any(|(name, value)| name == required && not_null(value).is_some()) {
                    self.missing.push(InvalidMember {
                        pointer: pointer(parent, required),
                        detail: format!("is required where type is {}", scheme.number()).into(),
                    });
                }
            }
        }
        Some(authentication)
    }

    fn string<T>(
        &mut self,
        parent: &str,
        name: &str,
        value: Option<&Json<'_>>,
        parse: impl FnOnce(&str) -> Result<T, InvalidValue>,
    ) -> Option<T> {
        let Json::String(text) = value? else {
            self.error(pointer(parent, name), "must be a string");
            return None;
        };
        self.record_error(parent, name, parse(text))
    }

    fn record_error<T>(&mut self, parent: &str, name: &str, result: Result<T, InvalidValue>) -> Option<T> {
        result.map_err(|error| self.error(pointer(parent, name), error.to_string())).ok()
    }

    fn unknown(&mut self, parent: &str, name: &str) {
        self.error(pointer(parent, name), "is not a member that can be set");
    }

    fn error(&mut self, pointer: String, detail: impl Into<Cow<'static, str>>) {
        self.errors.push(InvalidMember { pointer, detail: detail.into() });
    }
}

/// Returns the value of a member inside `meta`, or `None` for null: many serializers write unset members so. Even then the
/// member's name must be known.
fn not_null<'a, 'b>(value: &'a Json<'b>) -> Option<&'a Json<'b>> {
    Some(value).filter(|value| **value != Json::Null)
}

fn pointer(parent: &str, name: &str) -> String {
    format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str, host_policy: HostPolicy) -> Vec<(String, String)> {
        let Err(problem) = change(text.as_bytes(), host_policy) else { return Vec::new() };
        assert_eq!(problem.code, Code::InvalidBody, "{text}");
        let members = &problem.errors;
        members.iter().map(|member| (member.pointer.clone(), member.detail.to_string())).collect()
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let errors = errors(text, HostPolicy::Public);
        let pointers: Vec<_> = errors.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(pointers, expected, "{text}: {errors:?}");
    }

    #[test]
    fn each_invalid_member_is_named_by_its_pointer_in_the_order_of_the_body() {
        #[derive(serde::Deserialize)]
        struct Bodies<'a> {
            valid: Vec<String>,
            #[serde(borrow)]
            invalid: Vec<(String, Vec<&'a str>)>,
        }

        let bodies: Bodies<'_> = serde_json::from_str(include_str!("../tests/data/bodies.json")).unwrap();
        for body in &bodies.valid {
            check(body, &[]);
        }
        for (body, pointers) in &bodies.invalid {
            check(body, pointers);
        }
    }

    #[test]
    fn a_member_has_a_longest_value() {
        for (name, max) in [("username", 256), ("password", 1_024), ("token", 4_096)] {
            let body = |length: usize| {
                format!(r#"{{"meta":{{"authentication":{{"{name}":"{}"}}}}}}"#, "\u{e4}".repeat(length))
            };
            check(&body(max), &[]);
            check(&body(max + 1), &[&format!("/meta/authentication/{name}")]);
        }
    }

    #[test]
    fn the_detail_says_what_a_member_must_be() {
        for (member, detail) in [
            (r#""path":1"#, "must be a string"),
            (r#""authentication":1"#, "must be an object"),
            (r#""x":null"#, "is not a member that can be set"),
        ] {
            let errors = errors(&format!(r#"{{"meta":{{{member}}}}}"#), HostPolicy::Public);
            assert_eq!(errors.iter().map(|(_, detail)| detail).collect::<Vec<_>>(), [detail], "{member}");
        }
    }

    #[test]
    fn no_detail_repeats_a_secret() {
        let body = r#"{"meta":{"host":"https://u:HOSTSECRET@x.example/","authentication":{"type":1,"username":"u","password":"SECRET\n","token":"SECRET\n"}}}"#;
        let errors = errors(body, HostPolicy::Public);
        assert_eq!(errors.len(), 3);
        assert!(!format!("{errors:?}").contains("SECRET"));
    }

    #[test]
    fn hosts_are_accepted_as_the_policy_allows() {
        #[derive(serde::Deserialize)]
        struct Hosts {
            public: Vec<String>,
            private: Vec<String>,
            refused: Vec<String>,
            plain: Vec<(String, String)>,
        }

        let hosts: Hosts = serde_json::from_str(include_str!("../tests/data/hosts.json")).unwrap();
        let body = |host: &str| serde_json::json!({"meta": {"host": host}}).to_string();
        let refused = |host: &str, policy| !errors(&body(host), policy).is_empty();
        // Of two errors, the one that would remain.
        for host in ["http://0x7f.1", "http://127.1", "http://LOCALHOST:080", "https://10.0.0.01/"] {
            assert_eq!(errors(&body(host), HostPolicy::Public)[0].1, "must be a publicly reachable host", "{host}");
            assert!(errors(&body(host), HostPolicy::Any)[0].1.starts_with("must be in canonical form: "), "{host}");
        }
        for host in &hosts.public {
            assert!(!refused(host, HostPolicy::Public), "{host}: {:?}", errors(&body(host), HostPolicy::Public));
        }
        for host in &hosts.private {
            assert!(refused(host, HostPolicy::Public), "{host}");
            assert!(!refused(host, HostPolicy::Any), "{host}: {:?}", errors(&body(host), HostPolicy::Any));
        }
        for host in &hosts.refused {
            assert!(refused(host, HostPolicy::Any), "{host}");
        }
        for (host, plain) in &hosts.plain {
            let detail = &errors(&body(host), HostPolicy::Any)[0].1;
            assert_eq!(*detail, format!("must be in canonical form: {plain}"), "{host}");
        }
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
        assert!(!refused(&format!("https://{longest}"), HostPolicy::Public));
        assert!(!refused(&format!("https://{longest}./"), HostPolicy::Public));
        assert!(refused(&format!("https://{longest}b"), HostPolicy::Public));
        assert!(refused(&format!("https://{label}a.example"), HostPolicy::Public));
        assert!(refused(&format!("https://a.example/{}", "a".repeat(2_048)), HostPolicy::Public));
    }
}
