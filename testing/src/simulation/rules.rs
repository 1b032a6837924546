//! What every write and every response must be like, whatever happens on the way.

use serde_json::{Value, json};

use super::NODE;
use super::store::Item;
use crate::fault::{Arrival, DENIED, Fault, Received};
use crate::lambda::request::Response;

/// What a request asks for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// `meta` is set to one of a few configurations.
    Set(u8),
    /// `meta` is removed.
    Remove,
    /// The distributor is read.
    Read,
}

/// A request, as far as the rules need it.
#[derive(Debug)]
pub struct Request {
    /// Its number.
    pub number: u8,
    /// What it asks for.
    pub action: Action,
    /// The versions in `If-Match`; `None` is any.
    pub tags: Option<Vec<String>>,
    /// What goes wrong with its attempt.
    pub fault: Fault,
    /// What has gone wrong with its attempts.
    pub met: Met,
}

/// What has gone wrong with the attempts of a request so far.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Met {
    /// Nothing.
    Nothing,
    /// Something.
    Fault,
    /// One was repeated on its way, perhaps among other faults.
    Repetition,
}

impl Met {
    /// Returns what it is after one more attempt.
    #[must_use]
    pub fn and(self, fault: Fault) -> Self {
        let this = match fault {
            Fault::NONE => Self::Nothing,
            Fault { arrival: Arrival::Twice, .. } => Self::Repetition,
            _ => Self::Fault,
        };
        self.max(this)
    }
}

/// A state of a distributor, until the next.
#[derive(Clone, Debug)]
pub struct State {
    /// The request that wrote it.
    pub by: Option<u8>,
    /// The item.
    pub item: Option<Item>,
}

impl State {
    /// Its `updated_at`, if that is a string.
    fn version(&self) -> Option<&str> {
        self.item.as_ref()?.get("updated_at")?["S"].as_str()
    }

    /// Whether the distributor exists and is the callers' node's.
    fn is_callers(&self) -> bool {
        self.item.as_ref().is_some_and(|item| item["node_id"]["S"] == NODE)
    }

    fn meta(&self) -> Option<&Value> {
        self.item.as_ref()?.get("meta")
    }
}

/// Returns `meta` that an action asks for, as it is stored; `None` where it is removed.
pub fn stored_meta(action: Action) -> Option<Value> {
    match action {
        Action::Set(number) => Some(json!({"M": {"path": {"S": format!("/{number}")}}})),
        Action::Remove | Action::Read => None,
    }
}

/// Whether a write was allowed, which led to the last of these states: its version is after all that were before it; a
/// conditional one replaces what it asked for, and happens once; and none happens after its request has had a response
/// that says what became of it.
///
/// # Errors
///
/// The rule that was broken.
pub fn check_write(states: &[State], request: &Request, responded: Option<u64>) -> Result<(), &'static str> {
    let (state, before) = states.split_last().expect("the write led to a state");
    let is_ours =
        |version: &&str| version.len() == 27 && version.ends_with('Z') && *version < "9999-12-31T23:59:59.999999Z";
    let version = state.version().unwrap_or_default();
    if before.iter().filter_map(State::version).filter(is_ours).any(|before| before >= version) {
        return Err("a version was not after an earlier one");
    }
    if let Some(tags) = &request.tags {
        let replaced = before.last().and_then(State::version);
        if !tags.iter().any(|tag| Some(&**tag) == replaced) {
            return Err("a conditional write replaced a version that it did not name");
        }
        if before.iter().any(|earlier| earlier.by == state.by) {
            return Err("a conditional write was made twice");
        }
    }
    // What is repeated though the store has refused it, no response can know of. As after 503, it writes where its version
    // is after the stored one.
    let repeated = request.fault.arrival == Arrival::Twice;
    match responded {
        Some(500) if !repeated => Err("500 for a request that wrote"),
        None | Some(500 | 503) => Ok(()),
        Some(_) => Err("a write arrived after its request had its response"),
    }
}

/// Whether a response was allowed: one of the states that the distributor was in between the request and the response
/// explains it.
///
/// # Errors
///
/// The rule that was broken.
pub fn check_response(seen: &[State], request: &Request, response: &Response) -> Result<(), &'static str> {
    let seen_any = |explains: &dyn Fn(&State) -> bool| seen.iter().any(explains);
    let tag = response.header("etag").map(|tag| tag.trim_matches('"'));
    let named =
        |state: &State| request.tags.as_ref().is_none_or(|tags| tags.iter().any(|tag| Some(&**tag) == state.version()));
    let wanted = stored_meta(request.action);
    let is_read = request.action == Action::Read;
    let explained = match response.status {
        200 => seen_any(&|state| {
            let shown = state.version() == response.body["updated_at"].as_str()
                && state.version() == tag
                && shown_meta(state.meta()) == response.body["meta"];
            let asked = if is_read {
                named(state)
            } else {
                // Two requests that ask for the same in the same microsecond of their clocks have the same version,
                // and one whose attempt may have arrived takes the other's write for its own. That is as if it
                // had written just before that one.
                let equal = || request.tags.is_none() && request.met != Met::Nothing;
                // Applied already, which only a request with tags can be told.
                let applied = || request.tags.is_some() && !named(state);
                state.meta() == wanted.as_ref() && (state.by == Some(request.number) || applied() || equal())
            };
            state.is_callers() && shown && asked
        }),
        412 => {
            request.tags.is_some()
                && seen_any(&|state| {
                    state.is_callers()
                        && state.version() == tag
                        && !named(state)
                        && (is_read || state.meta() != wanted.as_ref())
                })
        }
        404 => seen_any(&|state| !state.is_callers()),
        // Later writes are checked when they arrive.
        500 => {
            let denied = request.fault.received == Received::Status(400, DENIED);
            denied && (request.met == Met::Repetition || !seen_any(&|state| state.by == Some(request.number)))
        }
        503 => request.met != Met::Nothing,
        _ => false,
    };
    if explained { Ok(()) } else { Err("no state of the distributor explains the response") }
}

fn shown_meta(meta: Option<&Value>) -> Value {
    meta.map_or(Value::Null, |meta| json!({"path": meta["M"]["path"]["S"]}))
}
