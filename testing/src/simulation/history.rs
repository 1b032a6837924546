//! What happened in a run, and whether all of it was allowed.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::NODE;
use super::plan::{Action, Fault, Planned, TARGETS};
use super::store::Item;

/// The order of all events of a run.
pub type Moment = u64;

/// Everything that the clients and the store have seen.
#[derive(Debug, Default)]
pub struct History {
    /// The requests, by their number.
    pub requests: Vec<Request>,
    /// The states of each distributor, in their order.
    pub states: [Vec<State>; TARGETS],
    /// All of it in words, with the time.
    pub events: Vec<(Duration, String)>,
    now: Moment,
}

/// A request as the client sent it, and the response.
#[derive(Debug)]
pub struct Request {
    /// What was planned.
    pub planned: Planned,
    /// The versions in `If-Match`; `None` is any.
    pub tags: Option<Vec<String>>,
    /// Whether its instance was frozen while it was under way.
    pub frozen: bool,
    /// When it was sent.
    pub sent: Moment,
    /// The response, if one came in time.
    pub response: Option<Response>,
}

/// A response as the client received it.
#[derive(Clone, Debug)]
pub struct Response {
    /// When it came.
    pub at: Moment,
    /// How long it took.
    pub took: Duration,
    /// Its status.
    pub status: u64,
    /// The version in `ETag`.
    pub tag: Option<String>,
    /// Its body.
    pub body: Value,
}

/// A state of a distributor, until the next.
#[derive(Clone, Debug)]
pub struct State {
    /// When it began.
    pub from: Moment,
    /// The request that wrote it.
    pub by: Option<usize>,
    /// The item.
    pub item: Option<Item>,
}

impl State {
    /// Its `updated_at`, if that is a string.
    pub fn version(&self) -> Option<&str> {
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

/// What was not allowed.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The request that it concerns.
    pub request: usize,
    /// The rule.
    pub rule: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "request {}: {}", self.request, self.rule)
    }
}

/// `meta` that an action asks for, as it is stored; `None` where it is removed.
pub fn stored_meta(action: Action) -> Option<Value> {
    match action {
        Action::Set(number) => Some(serde_json::json!({"M": {"path": {"S": format!("/{number}")}}})),
        Action::Remove | Action::Read => None,
    }
}

impl History {
    /// Returns a moment that no other event has.
    pub fn moment(&mut self) -> Moment {
        self.now += 1;
        self.now
    }

    /// Returns the first thing that was not allowed.
    pub fn check(&self) -> Result<(), Violation> {
        for states in &self.states {
            for index in 1..states.len() {
                let Some(number) = states[index].by else { continue };
                let verdict = check_write(states, index, &self.requests[number]);
                verdict.map_err(|rule| Violation { request: number, rule })?;
            }
        }
        for (number, request) in self.requests.iter().enumerate() {
            let verdict = match &request.response {
                Some(response) => check_response(&self.states[request.planned.target], number, request, response),
                None => Ok(()),
            };
            verdict.map_err(|rule| Violation { request: number, rule })?;
        }
        Ok(())
    }
}

/// Whether a write was allowed, which led to the state of this index: its version is after all that were before it; a
/// conditional one replaces what it asked for, and happens once; and none happens after its request has had a response
/// that says what became of it.
///
/// # Errors
///
/// The rule that was broken.
pub fn check_write(states: &[State], index: usize, request: &Request) -> Result<(), &'static str> {
    let (before, state) = (&states[..index], &states[index]);
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
    let repeated = request.planned.fates.iter().any(|fate| matches!(fate.fault, Some(Fault::Duplicate(_))));
    match &request.response {
        Some(Response { status: 500, .. }) if !repeated => Err("500 for a request that wrote"),
        Some(Response { status: 500, .. }) => Ok(()),
        Some(Response { status, at, .. }) if *status != 503 && *at < state.from => {
            Err("a write arrived after its request had its response")
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether a response was allowed: one of the states that the distributor was in between the request and the response
/// explains it.
///
/// # Errors
///
/// The rule that was broken.
pub fn check_response(
    states: &[State],
    number: usize,
    request: &Request,
    response: &Response,
) -> Result<(), &'static str> {
    let limit = Duration::from_millis(request.planned.left.saturating_sub(300)) + TIMER_RESOLUTION;
    if !request.frozen && response.took > limit {
        return Err("the response came later than 300 ms before the deadline");
    }
    let faults = || request.planned.fates.iter().filter_map(|fate| fate.fault);
    let seen = states.iter().enumerate().filter(|(index, state)| {
        let until = states.get(index + 1).map_or(Moment::MAX, |next| next.from);
        state.from < response.at && until > request.sent
    });
    let mut seen = seen.map(|(_, state)| state);
    let named =
        |state: &State| request.tags.as_ref().is_none_or(|tags| tags.iter().any(|tag| Some(&**tag) == state.version()));
    let wanted = stored_meta(request.planned.action);
    let is_read = request.planned.action == Action::Read;
    let explained = match response.status {
        200 => seen.any(|state| {
            let shown = state.version() == response.body["updated_at"].as_str()
                && state.version() == response.tag.as_deref()
                && shown_meta(state.meta()) == response.body["meta"];
            let asked = if is_read {
                named(state)
            } else {
                // Two requests that ask for the same in the same microsecond of their clocks have the same version,
                // and one whose attempt may have arrived takes the other's write for its own. That is as if it
                // had written just before that one.
                let equal = || request.tags.is_none() && faults().next().is_some();
                // Applied already, which only a request with tags can be told.
                let applied = || request.tags.is_some() && !named(state);
                state.meta() == wanted.as_ref() && (state.by == Some(number) || applied() || equal())
            };
            state.is_callers() && shown && asked
        }),
        412 => {
            request.tags.is_some()
                && seen.any(|state| {
                    state.is_callers()
                        && state.version() == response.tag.as_deref()
                        && !named(state)
                        && (is_read || state.meta() != wanted.as_ref())
                })
        }
        404 => seen.any(|state| !state.is_callers()),
        // That it wrote nothing is checked with its writes.
        500 => faults().any(|fault| fault == Fault::Denied),
        // With no time left, the store is not asked.
        503 => request.frozen || request.planned.left <= 300 || faults().next().is_some(),
        _ => false,
    };
    if explained { Ok(()) } else { Err("no state of the distributor explains the response") }
}

/// Tokio's timers wait for whole milliseconds, and one may be set while another is waited for.
const TIMER_RESOLUTION: Duration = Duration::from_millis(2);

fn shown_meta(meta: Option<&Value>) -> Value {
    meta.map_or(Value::Null, |meta| serde_json::json!({"path": meta["M"]["path"]["S"]}))
}
