//! The request's body: bytes → what to do with `meta`, or every fault.

use std::borrow::Cow;

use serde::Serialize;

use crate::json::Json;
use crate::secret::Secret;
use crate::webhook::{Authentication, Host, Meta, Method, Path, Reach, Scheme};

/// What a request wants done with the stored `meta`.
#[derive(Debug)]
pub enum Change {
    /// `meta` is absent: nothing.
    Keep,
    /// `meta` is `null`: it is removed.
    Remove,
    /// `meta` is an object: it replaces what is stored as a whole.
    Set(Meta),
}

/// One thing that is wrong with a body.
#[derive(Debug, PartialEq, Serialize)]
pub struct Fault {
    /// Where, as a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What, for a person to read; never with a password or token in it.
    pub detail: Cow<'static, str>,
}

/// Members of a distributor that are answered and cannot be set: accepted, so that a client can send back what it
/// received, and ignored.
const READ_ONLY: [&str; 4] = ["id", "node_id", "created_at", "updated_at"];

const MAX_USERNAME_CHARS: usize = 256;
const MAX_PASSWORD_CHARS: usize = 1_024;
const MAX_TOKEN_CHARS: usize = 4_096;

/// Reads the members of a body.
///
/// # Errors
///
/// Every fault, in the order of the body; members that are missing come after the others.
pub fn change(members: &[(Cow<'_, str>, Json<'_>)], reach: Reach) -> Result<Change, Vec<Fault>> {
    let mut reader = Reader { reach, faults: Vec::new(), missing: Vec::new() };
    let mut change = Change::Keep;
    for (name, value) in members {
        match name.as_ref() {
            "meta" => change = reader.meta(value),
            name if READ_ONLY.contains(&name) => {}
            name => reader.unknown("", name),
        }
    }
    reader.faults.append(&mut reader.missing);
    if reader.faults.is_empty() { Ok(change) } else { Err(reader.faults) }
}

const META: &str = "/meta";
const AUTHENTICATION: &str = "/meta/authentication";

/// A member that is at fault is noted and read as absent: the change is thrown away then.
struct Reader {
    reach: Reach,
    faults: Vec<Fault>,
    missing: Vec<Fault>,
}

impl Reader {
    fn meta(&mut self, value: &Json<'_>) -> Change {
        let members = match value {
            Json::Null => return Change::Remove,
            Json::Object(members) => members,
            _ => {
                self.fault(META.to_owned(), "must be an object or null");
                return Change::Keep;
            }
        };
        let mut meta = Meta::default();
        for (name, value) in members {
            let parent = META;
            match name.as_ref() {
                "host" => {
                    let reach = self.reach;
                    meta.host = self.string(parent, name, value, |text| Host::new(text, reach));
                }
                "path" => meta.path = self.string(parent, name, value, |text| Path::new(text).map_err(Cow::Borrowed)),
                "method" => {
                    let method = match value {
                        Json::String(method) => Method::from_name(method),
                        Json::Number(number) => Method::from_number(number),
                        // Whatever it is, it is no integer and no name: the detail is the same.
                        _ => Method::from_name(""),
                    };
                    meta.method = self.noted(parent, name, value, method);
                }
                "authentication" => meta.authentication = self.authentication(value),
                name => self.unknown(parent, name),
            }
        }
        Change::Set(meta)
    }

    fn authentication(&mut self, value: &Json<'_>) -> Option<Authentication> {
        let Json::Object(members) = value else {
            return self.noted(META, "authentication", value, Err("must be an object"));
        };
        let parent = AUTHENTICATION;
        // What `type` asks of the other members has to be known before they are read, wherever it stands.
        let basic =
            members.iter().any(|(name, value)| name == "type" && *value == Json::Number(Scheme::Basic.number()));
        let mut authentication = Authentication::default();
        for (name, value) in members {
            match name.as_ref() {
                "type" => {
                    let number = if let Json::Number(number) = value { number } else { "" };
                    authentication.scheme = self.noted(parent, name, value, Scheme::from_number(number));
                }
                "username" => {
                    authentication.username = self.string(parent, name, value, |text| {
                        if basic && text.contains(':') {
                            return Err("must have no : where type is 1 (RFC 7617)".into());
                        }
                        credential(text, MAX_USERNAME_CHARS)
                    });
                }
                "password" => {
                    let password = self.string(parent, name, value, |text| credential(text, MAX_PASSWORD_CHARS));
                    authentication.password = password.map(Secret::new);
                }
                "token" => {
                    let token = self.string(parent, name, value, |text| credential(text, MAX_TOKEN_CHARS));
                    authentication.token = token.map(Secret::new);
                }
                name => self.unknown(parent, name),
            }
        }
        for required in ["username", "password"] {
            if basic && !members.iter().any(|(name, _)| name == required) {
                self.missing
                    .push(Fault { pointer: pointer(parent, required), detail: "is required where type is 1".into() });
            }
        }
        Some(authentication)
    }

    fn string<T>(
        &mut self,
        parent: &str,
        name: &str,
        value: &Json<'_>,
        read: impl FnOnce(&str) -> Result<T, Cow<'static, str>>,
    ) -> Option<T> {
        let read = match value {
            Json::String(text) => read(text),
            _ => Err("must be a string".into()),
        };
        self.noted(parent, name, value, read)
    }

    fn noted<T, D: Into<Cow<'static, str>>>(
        &mut self,
        parent: &str,
        name: &str,
        value: &Json<'_>,
        read: Result<T, D>,
    ) -> Option<T> {
        match read {
            Ok(read) => return Some(read),
            Err(_) if *value == Json::Null => {
                self.fault(pointer(parent, name), "must not be null: leave it out instead");
            }
            Err(detail) => self.fault(pointer(parent, name), detail),
        }
        None
    }

    fn unknown(&mut self, parent: &str, name: &str) {
        self.fault(pointer(parent, name), "is not a member that can be set");
    }

    fn fault(&mut self, pointer: String, detail: impl Into<Cow<'static, str>>) {
        self.faults.push(Fault { pointer, detail: detail.into() });
    }
}

fn credential(text: &str, max_chars: usize) -> Result<String, Cow<'static, str>> {
    if text.chars().count() > max_chars {
        return Err(format!("must be at most {max_chars} characters").into());
    }
    if text.chars().any(char::is_control) {
        return Err("must have no control characters".into());
    }
    Ok(text.to_owned())
}

fn pointer(parent: &str, name: &str) -> String {
    format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
}
