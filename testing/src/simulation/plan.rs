//! What happens in a run, drawn from its seed before it starts: shrinking a run is leaving parts of its plan out.

use std::fmt;

use fastrand::Rng;

/// Distributors: two of the callers' node, one of another node, and one that does not exist.
pub const TARGETS: usize = 4;

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed that it was drawn from. It also seeds the function's own random numbers.
    pub seed: u64,
    /// `updated_at` of the distributors at the start; `None` is a distributor without it.
    pub stored: [Option<&'static str>; TARGETS - 1],
    /// The clock of each instance.
    pub clocks: Vec<ClockPlan>,
    /// When instances are frozen.
    pub freezes: Vec<Freeze>,
    /// The requests of all clients. Each client sends its own in this order.
    pub requests: Vec<Planned>,
}

/// A clock, as it differs from the time of the run.
#[derive(Clone, Debug)]
pub struct ClockPlan {
    /// Milliseconds ahead at the start.
    pub ahead: i64,
    /// The clock shows multiples of as many microseconds.
    pub resolution: u64,
    /// When it jumps, and by how many milliseconds.
    pub jumps: Vec<(u64, i64)>,
}

/// An instance that does nothing for a while, with its requests under way. Times in milliseconds.
#[derive(Clone, Debug)]
pub struct Freeze {
    /// The instance.
    pub instance: usize,
    /// When it begins.
    pub from: u64,
    /// When it ends.
    pub until: u64,
}

/// A request of a client.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Who sends it.
    pub client: usize,
    /// Which instance receives it.
    pub instance: usize,
    /// Which distributor it names.
    pub target: usize,
    /// What it asks for.
    pub action: Action,
    /// What it sends as `If-Match`.
    pub tag: Tag,
    /// Milliseconds that the client waits before it.
    pub pause: u64,
    /// Milliseconds until Lambda's deadline.
    pub left: u64,
    /// What happens to its attempts, in their order; those after them go through at once.
    pub fates: Vec<Fate>,
}

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

/// `If-Match` of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tag {
    /// It is not sent.
    None,
    /// `*`
    Any,
    /// What the client has last seen of the distributor.
    Seen,
    /// What the client has seen before that.
    Before,
    /// Both.
    Both,
}

/// What happens to one attempt. Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fate {
    /// How long the request is on its way.
    pub there: u64,
    /// How long the response is on its way.
    pub back: u64,
    /// What goes wrong.
    pub fault: Option<Fault>,
}

/// What goes wrong with an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The request is lost.
    RequestLost,
    /// The response is lost.
    ResponseLost,
    /// The request arrives after as many milliseconds more, and its response is lost.
    Late(u64),
    /// The request arrives again after as many milliseconds more.
    Duplicate(u64),
    /// The connection breaks before the request arrives.
    ResetBefore,
    /// The connection breaks after the request has arrived.
    ResetAfter,
    /// The store is throttled.
    Throttled,
    /// The store responds with 500 and has done nothing.
    ErrorBefore,
    /// The store responds with 500 and has done it.
    ErrorAfter,
    /// The store has done it, and its response cannot be read.
    Garbage,
    /// The store has done it, and returns no item.
    Empty,
    /// The store has done it, and returns an item without attributes.
    EmptyItem,
    /// The store denies access.
    Denied,
    /// The network is gone: the request arrives after as many milliseconds more, its response is lost, and so are all
    /// further attempts.
    Outage(u64),
}

/// When an attempt reaches the store. Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrival {
    /// It does not.
    Never,
    /// At once.
    Now,
    /// Later than its request waits for it.
    Late(u64),
    /// At once, and once more later.
    Twice(u64),
}

/// What the function receives for an attempt.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Received {
    /// The store's response.
    Response,
    /// The store's response; the body of a success is replaced by this one.
    Body(&'static str),
    /// An error with this status and code.
    Error(u16, &'static str),
    /// The end of the connection.
    Reset,
    /// Nothing.
    Nothing,
}

impl Fault {
    /// One fault of each kind, with no delay.
    pub const ALL: [Self; 14] = [
        Self::RequestLost,
        Self::ResponseLost,
        Self::Late(0),
        Self::Duplicate(0),
        Self::ResetBefore,
        Self::ResetAfter,
        Self::Throttled,
        Self::ErrorBefore,
        Self::ErrorAfter,
        Self::Garbage,
        Self::Empty,
        Self::EmptyItem,
        Self::Denied,
        Self::Outage(0),
    ];

    /// Returns what it does to an attempt.
    pub fn effect(self) -> (Arrival, Received) {
        match self {
            Self::RequestLost => (Arrival::Never, Received::Nothing),
            Self::ResponseLost => (Arrival::Now, Received::Nothing),
            Self::Late(delay) | Self::Outage(delay) => (Arrival::Late(delay), Received::Nothing),
            Self::Duplicate(delay) => (Arrival::Twice(delay), Received::Response),
            Self::ResetBefore => (Arrival::Never, Received::Reset),
            Self::ResetAfter => (Arrival::Now, Received::Reset),
            Self::Throttled => (Arrival::Never, Received::Error(400, "ThrottlingException")),
            Self::ErrorBefore => (Arrival::Never, Received::Error(500, "InternalServerError")),
            Self::ErrorAfter => (Arrival::Now, Received::Error(500, "InternalServerError")),
            Self::Garbage => (Arrival::Now, Received::Body("garbage")),
            Self::Empty => (Arrival::Now, Received::Body("{}")),
            Self::EmptyItem => (Arrival::Now, Received::Body(r#"{"Attributes": {}}"#)),
            Self::Denied => (Arrival::Never, Received::Error(400, "AccessDeniedException")),
        }
    }

    /// Whether the network is gone for all further attempts of the request, too.
    pub fn is_outage(self) -> bool {
        matches!(self, Self::Outage(_))
    }
}

impl Plan {
    /// Draws a run of as many requests.
    pub fn new(seed: u64, requests: usize) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rng = &mut rng;
        let (clients, instances) = (rng.usize(2..=4), rng.usize(1..=3));
        let clocks = (0..instances).map(|_| clock(rng)).collect();
        let freezes = (0..rng.usize(0..3)).map(|_| freeze(rng, instances, requests)).collect();
        // In a part of the runs nothing goes wrong, and in some a lot does.
        let faulty = *choose(rng, &[0.0, 0.05, 0.2, 0.5]);
        let requests = (0..requests).map(|_| planned(rng, clients, instances, faulty)).collect();
        let stored = std::array::from_fn(|_| *choose(rng, &STORED));
        Self { seed, stored, clocks, freezes, requests }
    }

    /// One request to one instance whose clock is right.
    pub fn of(request: Planned) -> Self {
        let clock = ClockPlan { ahead: 0, resolution: 1, jumps: Vec::new() };
        Self {
            seed: 0,
            stored: [STORED[0]; TARGETS - 1],
            clocks: vec![clock],
            freezes: Vec::new(),
            requests: vec![request],
        }
    }

    /// Returns how many faults are planned.
    pub fn faults(&self) -> usize {
        let fates = self.requests.iter().flat_map(|request| &request.fates);
        fates.filter(|fate| fate.fault.is_some()).count() + self.freezes.len()
    }
}

/// Versions at the start: ours, before and after the time of the run; and others'.
const STORED: [Option<&str>; 12] = [
    Some("2025-12-23T23:16:10.419732Z"),
    Some("2025-12-23T23:16:10.419732Z"),
    Some("2025-12-23T23:16:10.419732Z"),
    Some("2026-01-01T00:00:00.000000Z"),
    Some("2026-01-01T00:00:03.000000Z"),
    Some("2026-01-01T00:00:30.999999Z"),
    Some("2030-01-01T00:00:00.000000Z"),
    Some("9999-12-31T23:59:59.999999Z"),
    Some("2026-01-01T00:00:00Z"),
    Some("1766531770"),
    Some("latest"),
    None,
];

/// Draws one of these.
pub fn choose<'a, T>(rng: &mut Rng, values: &'a [T]) -> &'a T {
    &values[rng.usize(..values.len())]
}

fn clock(rng: &mut Rng) -> ClockPlan {
    let seconds = |rng: &mut Rng| rng.i64(-5_000..=5_000);
    ClockPlan {
        ahead: if rng.bool() { 0 } else { seconds(rng) },
        resolution: *choose(rng, &[1, 1, 1, 1_000, 1_000_000]),
        jumps: (0..rng.usize(0..3)).map(|_| (rng.u64(0..60_000), seconds(rng))).collect(),
    }
}

fn freeze(rng: &mut Rng, instances: usize, requests: usize) -> Freeze {
    let from = rng.u64(0..=200 * requests as u64);
    Freeze { instance: rng.usize(..instances), from, until: from + rng.u64(1..20_000) }
}

fn planned(rng: &mut Rng, clients: usize, instances: usize, faulty: f64) -> Planned {
    Planned {
        client: rng.usize(..clients),
        instance: rng.usize(..instances),
        // Mostly the one distributor for which all clients compete.
        target: *choose(rng, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3]),
        action: match rng.u8(..10) {
            0..6 => Action::Set(rng.u8(..3)),
            6..8 => Action::Remove,
            _ => Action::Read,
        },
        tag: *choose(rng, &[Tag::None, Tag::None, Tag::Any, Tag::Seen, Tag::Seen, Tag::Seen, Tag::Before, Tag::Both]),
        pause: *choose(rng, &[0, 0, 1, 10, 200]),
        left: *choose(rng, &[600, 1_000, 2_600, 5_000, 10_000, 10_000]),
        fates: (0..6).map(|_| fate(rng, faulty)).collect(),
    }
}

fn fate(rng: &mut Rng, faulty: f64) -> Fate {
    let delay = |rng: &mut Rng| *choose(rng, &[1, 5, 20, 500, 2_500, 8_000, 40_000]);
    let fault = (rng.f64() < faulty).then(|| match rng.u8(..14) {
        0 => Fault::RequestLost,
        1 => Fault::ResponseLost,
        2 => Fault::Late(delay(rng)),
        3 => Fault::Duplicate(delay(rng)),
        4 => Fault::ResetBefore,
        5 => Fault::ResetAfter,
        6 => Fault::Throttled,
        7 => Fault::ErrorBefore,
        8 => Fault::ErrorAfter,
        9 => Fault::Garbage,
        10 => Fault::Empty,
        11 => Fault::EmptyItem,
        12 => Fault::Outage(delay(rng)),
        _ => Fault::Denied,
    });
    Fate { there: rng.u64(..=3), back: rng.u64(..=3), fault }
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "stored at the start: {:?}", self.stored)?;
        for (instance, clock) in self.clocks.iter().enumerate() {
            writeln!(formatter, "instance {instance}: {clock:?}")?;
        }
        for freeze in &self.freezes {
            writeln!(formatter, "{freeze:?}")?;
        }
        Ok(())
    }
}
