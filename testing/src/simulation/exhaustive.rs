//! Every order of events, in the small: all runs of up to three requests of two clients for one distributor, with every
//! order in which their attempts reach the store, and every combination of up to two faults.
//!
//! A depth-first walk. From each state it makes every move that is possible there; a state that it has seen before it
//! does not enter again. That is sound, since a state holds all that the future and the rules depend on:
//!
//! - the states of the distributor, by their item and who wrote it, from the last one that came before the requests under
//!   way: the store is the last of them, and a response has to be explained by one of them. Versions have grown up to
//!   there, so a later write has to be compared with these only.
//! - for each request what the handler has been told, which determines all that it does from then on
//!   ([`behavior`](super::behavior)); its `If-Match`; how many states there were when it was sent; whether it met a fault;
//! - for a request that is over, as long as an attempt of it is under way, its status and `If-Match`;
//! - for a client with more to send the last version that it saw;
//! - the attempts that are still under way, the faults that may still happen, and the clocks.
//!
//! How it came to that state, the rules have judged on the way.
//!
//! A response is delivered as soon as the store has made it. A later one would let more states explain what it says, and
//! the attempt that it leads to can be late itself; what is left out is that this attempt has a later stamp.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::behavior::{Behavior, BodyId, Interned, LEFT, MessageId, Point, Step};
use super::history::{Request, Response, State, check_response, check_write};
use super::network::Message;
use super::plan::{Action, Arrival, Fate, Fault, Planned, Received, Tag};
use super::store::{Item, Reply, Store};
use super::{Failure, IDS, NODE, OTHER_NODE, START, item, planned_event};

/// Far more attempts than any request makes that comes to an end.
const MAX_ATTEMPTS: usize = 20;

/// Clients, and instances.
const CLIENTS: usize = 2;

/// The distributor at the start.
#[derive(Clone, Copy, Debug)]
pub enum Stored {
    /// At this version, if it has one.
    At(Option<&'static str>),
    /// It does not exist.
    Absent,
    /// Another node's.
    OtherNodes,
}

/// The distributor is at a version that is in the past, the clock's, ahead, in a foreign form or missing; or it is absent
/// or another node's.
pub const STORED: [Stored; 7] = [
    Stored::At(Some("2025-12-23T23:16:10.419732Z")),
    Stored::At(Some("2026-01-01T00:00:00.000000Z")),
    Stored::At(Some("2026-01-01T00:00:30.999999Z")),
    Stored::At(Some("2026-01-01T00:00:00Z")),
    Stored::At(None),
    Stored::Absent,
    Stored::OtherNodes,
];

/// What the clocks of the two instances show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clocks {
    /// The same microsecond, whatever happens.
    Stopped,
    /// The same time. It goes on with every request and every write.
    Equal,
    /// The second is a second behind the first.
    Behind,
}

/// All of them; first those with the most runs.
pub const CLOCKS: [Clocks; 3] = [Clocks::Behind, Clocks::Equal, Clocks::Stopped];

/// What a run starts with.
#[derive(Clone, Debug)]
pub struct Case {
    /// The distributor.
    pub stored: Stored,
    /// The clocks.
    pub clocks: Clocks,
    /// The requests. Each client sends its own in this order.
    pub requests: Vec<Planned>,
    /// How many faults may happen.
    pub faults: u8,
}

/// The bounds of a walk.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// How many requests.
    pub requests: usize,
    /// How many faults may happen.
    pub faults: u8,
}

impl Size {
    /// The initial items of the walk: all of them, but for the largest size, which would take hours.
    pub fn stored(self) -> &'static [Stored] {
        if self.is_largest() { &[STORED[0], STORED[3], STORED[4]] } else { &STORED }
    }

    fn is_largest(self) -> bool {
        self.requests == 3 && self.faults == 2
    }
}

/// From small to large.
pub const SIZES: [Size; 9] = [
    Size { requests: 1, faults: 0 },
    Size { requests: 1, faults: 1 },
    Size { requests: 1, faults: 2 },
    Size { requests: 2, faults: 0 },
    Size { requests: 2, faults: 1 },
    Size { requests: 2, faults: 2 },
    Size { requests: 3, faults: 0 },
    Size { requests: 3, faults: 1 },
    Size { requests: 3, faults: 2 },
];

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} requests, up to {} faults", self.requests, self.faults)
    }
}

/// What a walk has counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Initial items, clocks and requests.
    pub cases: usize,
    /// Orders of events from the start to the end, all told.
    pub orders: u128,
    /// States, each entered once.
    pub states: usize,
    /// Runs of the handler.
    pub runs: usize,
}

impl Counts {
    fn add(&mut self, other: Self) {
        let Self { cases, orders, states, runs } = other;
        self.cases += cases;
        self.orders += orders;
        self.states += states;
        self.runs += runs;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cases, orders, states, runs } = self;
        write!(formatter, "{cases} cases, {orders} orders, {states} states, {runs} runs of the handler")
    }
}

/// Walks through all runs of this size with these clocks and initial items, on as many threads as there are processors.
///
/// # Errors
///
/// The first that something is not allowed in.
pub fn walk_all(size: Size, clocks: &[Clocks], stored: &[Stored]) -> Result<Counts, Failure> {
    let groups = groups(size, clocks, stored);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut sum = Counts::default();
        loop {
            let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) else { return (sum, None) };
            let mut behavior = Behavior::new(&[]);
            for (index, case) in group.iter().enumerate() {
                match walk(case, &mut behavior) {
                    Ok(counts) => sum.add(counts),
                    Err(failure) => {
                        // Where one has failed, the others stop.
                        next.store(groups.len(), Ordering::Relaxed);
                        return (sum, Some((index, failure)));
                    }
                }
            }
            sum.runs += behavior.runs();
        }
    };
    let results: Vec<_> = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a walk does not panic")).collect()
    });
    let (mut sum, mut first) = (Counts::default(), None);
    for (counts, failure) in results {
        sum.add(counts);
        first = [first, failure].into_iter().flatten().min_by_key(|(index, _)| *index);
    }
    first.map_or(Ok(sum), |(_, failure)| Err(failure))
}

/// Returns every case of a size, in groups: what the handler does in one group, it hardly does in another. Of the cases
/// that differ by names alone (of clients, or of configurations that are set) there is one.
fn groups(size: Size, clocks: &[Clocks], stored: &[Stored]) -> Vec<Vec<Case>> {
    let sequences = sequences(size.requests);
    let mut groups = Vec::new();
    for &clocks in clocks {
        // Only where the clocks differ does it matter which instance receives a request: any, but in the largest size
        // each client keeps to its own.
        let assignments = match clocks {
            Clocks::Behind if size.is_largest() => CLIENTS,
            Clocks::Behind => 1 << size.requests,
            Clocks::Equal | Clocks::Stopped => 1,
        };
        for &stored in stored {
            let cases = sequences.iter().flat_map(|requests| {
                (0..assignments).map(move |assignment| {
                    let mut requests = requests.clone();
                    for (number, request) in requests.iter_mut().enumerate() {
                        request.instance =
                            if size.is_largest() { request.client ^ assignment } else { assignment >> number & 1 };
                    }
                    Case { stored, clocks, requests, faults: size.faults }
                })
            });
            groups.push(cases.collect());
        }
    }
    groups
}

/// Returns every sequence of so many requests.
fn sequences(length: usize) -> Vec<Vec<Planned>> {
    const KINDS: [(Action, Tag); 8] = [
        (Action::Set(0), Tag::None),
        (Action::Set(0), Tag::Seen),
        (Action::Set(1), Tag::None),
        (Action::Set(1), Tag::Seen),
        (Action::Remove, Tag::None),
        (Action::Remove, Tag::Seen),
        (Action::Read, Tag::None),
        (Action::Read, Tag::Seen),
    ];
    let mut sequences = vec![Vec::new()];
    for _ in 0..length {
        sequences = sequences
            .iter()
            .flat_map(|before: &Vec<Planned>| {
                (0..CLIENTS).flat_map(move |client| {
                    KINDS.map(|(action, tag)| {
                        let request = Planned {
                            client,
                            instance: 0,
                            target: 0,
                            action,
                            tag,
                            pause: 0,
                            left: LEFT,
                            fates: Vec::new(),
                        };
                        before.iter().cloned().chain([request]).collect()
                    })
                })
            })
            .collect();
    }
    sequences.retain(|requests| {
        let clients = requests.iter().map(|request| request.client);
        let sets = requests.iter().filter_map(|request| match request.action {
            Action::Set(number) => Some(number),
            Action::Remove | Action::Read => None,
        });
        // The order between clients is the walk's.
        clients.is_sorted()
            && requests.iter().filter(|request| request.client == 0).count() * 2 >= length
            && sets.take(1).all(|first| first == 0)
    });
    sequences
}

/// A state of everything. Numbers stand for items, bodies and points.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct World {
    /// The states that the distributor has been in, by item and writer.
    states: Vec<(u32, Option<u8>)>,
    requests: Vec<Progress>,
    /// The last version that each client has seen; forgotten with its last request.
    known: [Option<u32>; CLIENTS],
    /// Attempts that no one waits for.
    under_way: Vec<UnderWay>,
    faults_left: u8,
    ticks: u8,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Progress {
    Planned,
    Sent {
        point: Point,
        /// The version in `If-Match`.
        tag: Option<u32>,
        /// The state that the distributor was in then.
        since: u8,
        /// Whether it met a fault.
        faulty: bool,
    },
    Over {
        /// `None` once no attempt of it is under way.
        status: Option<u64>,
        tag: Option<u32>,
    },
}

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct UnderWay {
    request: u8,
    body: BodyId,
    /// Whether it has arrived before.
    repeated: bool,
}

/// What can happen next.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// A client sends its next request.
    Send(u8),
    /// An attempt of a request meets this.
    Attempt(u8, Option<Fault>),
    /// An attempt that no one waits for reaches the store.
    Arrive(u8),
}

struct Walk<'a> {
    case: &'a Case,
    behavior: &'a mut Behavior,
    items: Interned<Option<Item>>,
    versions: Interned<String>,
    replies: Vec<Reply>,
    /// The store's reply and the item after it, by body and item.
    carried_out: HashMap<(BodyId, u32), (u32, u32)>,
    /// What comes back, by what is received and the reply.
    messages: HashMap<(Received, Option<u32>), MessageId>,
    /// The events of the requests, by their tag.
    events: HashMap<(u8, Option<u32>), Arc<str>>,
    visited: HashMap<World, u128>,
    path: Vec<Move>,
    /// The history in words, where it is being told.
    story: Option<String>,
}

/// Walks through a case.
fn walk(case: &Case, behavior: &mut Behavior) -> Result<Counts, Failure> {
    let mut walk = Walk {
        case,
        behavior,
        items: Interned::default(),
        versions: Interned::default(),
        replies: Vec::new(),
        carried_out: HashMap::new(),
        messages: HashMap::new(),
        events: HashMap::new(),
        visited: HashMap::new(),
        path: Vec::new(),
        story: None,
    };
    let start = walk.start();
    match walk.visit(start.clone()) {
        Ok(orders) => Ok(Counts { cases: 1, orders, states: walk.visited.len(), runs: 0 }),
        Err(rule) => Err(Failure { history: walk.tell(&start, rule) }),
    }
}

impl Walk<'_> {
    fn start(&mut self) -> World {
        let (item, version) = match self.case.stored {
            Stored::At(version) => (Some(item(IDS[0], NODE, version)), version),
            Stored::Absent => (None, None),
            Stored::OtherNodes => (Some(item(IDS[0], OTHER_NODE, None)), None),
        };
        let item = self.items.number(item);
        let known = version.map(|version| self.versions.number(version.to_owned()));
        let mut world = World {
            states: vec![(item, None)],
            requests: vec![Progress::Planned; self.case.requests.len()],
            // They have read it before.
            known: [known; CLIENTS],
            under_way: Vec::new(),
            faults_left: self.case.faults,
            ticks: 0,
        };
        self.forget(&mut world);
        world
    }

    /// Returns in how many orders a state can end.
    fn visit(&mut self, world: World) -> Result<u128, &'static str> {
        if let Some(&orders) = self.visited.get(&world) {
            return Ok(orders);
        }
        let moves = self.moves(&world);
        let mut orders = u128::from(moves.is_empty());
        for next in moves {
            self.path.push(next);
            let after = self.make(&world, next)?;
            orders += self.visit(after)?;
            self.path.pop();
        }
        self.visited.insert(world, orders);
        Ok(orders)
    }

    fn moves(&self, world: &World) -> Vec<Move> {
        let mut moves = Vec::new();
        for client in 0..CLIENTS {
            let mut own = self.own(world, client);
            if let Some((number, Progress::Planned)) =
                own.find(|(_, progress)| !matches!(progress, Progress::Over { .. }))
            {
                moves.push(Move::Send(number));
            }
        }
        for (number, progress) in (0..).zip(&world.requests) {
            if let Progress::Sent { .. } = progress {
                moves.push(Move::Attempt(number, None));
                if world.faults_left > 0 {
                    moves.extend(Fault::ALL.map(|fault| Move::Attempt(number, Some(fault))));
                }
            }
        }
        for (index, attempt) in (0..).zip(&world.under_way) {
            // Two that are equal are one move.
            if !world.under_way[..usize::from(index)].contains(attempt) {
                moves.push(Move::Arrive(index));
            }
        }
        moves
    }

    fn own<'w>(&'w self, world: &'w World, client: usize) -> impl Iterator<Item = (u8, &'w Progress)> {
        let requests = (0..).zip(&world.requests);
        requests.filter(move |(number, _)| self.case.requests[usize::from(*number)].client == client)
    }

    fn make(&mut self, world: &World, next: Move) -> Result<World, &'static str> {
        let mut world = world.clone();
        match next {
            Move::Send(number) => self.send(&mut world, number),
            Move::Attempt(number, fault) => self.attempt(&mut world, number, fault)?,
            Move::Arrive(index) => {
                let UnderWay { request, body, repeated } = world.under_way.remove(usize::from(index));
                self.note(|| {
                    format!("an attempt of request {request} arrives {}", if repeated { "again" } else { "late" })
                });
                self.reach_store(&mut world, request, body, repeated.then_some(Fault::Duplicate(0)))?;
            }
        }
        self.forget(&mut world);
        Ok(world)
    }

    fn send(&mut self, world: &mut World, number: u8) {
        let planned = &self.case.requests[usize::from(number)];
        let tag = world.known[planned.client].filter(|_| planned.tag == Tag::Seen);
        world.ticks += 1;
        let tags = self.tags(tag);
        let event = self.events.entry((number, tag)).or_insert_with(|| planned_event(planned, tags.as_ref()).into());
        let event = Arc::clone(event);
        let point = self.behavior.start(event, self.now(world, number));
        let (client, instance, action) = (planned.client, planned.instance, planned.action);
        self.note(|| {
            format!("client {client} sends request {number} to instance {instance}: {action:?}, If-Match {tags:?}")
        });
        let since = u8::try_from(world.states.len() - 1).expect("a short run");
        world.requests[usize::from(number)] = Progress::Sent { point, tag, since, faulty: false };
    }

    fn tags(&self, tag: Option<u32>) -> Option<Vec<String>> {
        tag.map(|tag| vec![self.versions.get(tag).clone()])
    }

    fn attempt(&mut self, world: &mut World, number: u8, fault: Option<Fault>) -> Result<(), &'static str> {
        let Progress::Sent { mut point, tag, since, mut faulty } = world.requests[usize::from(number)] else {
            unreachable!("only what was sent has attempts")
        };
        let Step::Attempt(body) = self.behavior.step(point).clone() else {
            unreachable!("a request that was responded to is over")
        };
        self.note(|| match fault {
            Some(fault) => format!("request {number}: an attempt, {fault:?}"),
            None => format!("request {number}: an attempt"),
        });
        faulty |= fault.is_some();
        world.faults_left -= u8::from(fault.is_some());
        let (arrival, received) = fault.map_or((Arrival::Now, Received::Response), Fault::effect);
        let reply = match arrival {
            Arrival::Now | Arrival::Twice(_) => Some(self.reach_store(world, number, body, None)?),
            Arrival::Never | Arrival::Late(_) => None,
        };
        if let Arrival::Late(_) | Arrival::Twice(_) = arrival {
            world.under_way.push(UnderWay { request: number, body, repeated: reply.is_some() });
            world.under_way.sort_unstable();
        }
        let now = self.now(world, number);
        let message = *self.messages.entry((received, reply)).or_insert_with(|| {
            self.behavior.message(Message::new(received, reply.map(|reply| &self.replies[reply as usize])))
        });
        point = self.behavior.next(point, message, now);
        if fault.is_some_and(Fault::is_outage) {
            // Its attempt has got no message, and so will the others.
            while let Step::Attempt(_) = self.behavior.step(point) {
                point = self.behavior.next(point, message, now);
            }
        }
        world.requests[usize::from(number)] = Progress::Sent { point, tag, since, faulty };
        if self.behavior.told(point) > MAX_ATTEMPTS {
            return Err("a request does not come to an end");
        }
        if let Step::Response(responded) = self.behavior.step(point).clone() {
            let response = Response {
                at: moment(world.states.len()) - 1,
                took: Duration::ZERO,
                status: responded.status,
                tag: responded.tag.clone(),
                body: responded.body.clone(),
            };
            self.note(|| format!("request {number} is answered {}, ETag {:?}", response.status, response.tag));
            if let Some(seen) = &response.tag {
                let client = self.case.requests[usize::from(number)].client;
                world.known[client] = Some(self.versions.number(seen.clone()));
            }
            let fault = fault.or(faulty.then_some(Fault::ResponseLost));
            let request = self.request(number, tag, since, fault, None);
            world.requests[usize::from(number)] = Progress::Over { status: Some(response.status), tag };
            check_response(&self.states(world), usize::from(number), &request, &response)?;
        }
        Ok(())
    }

    /// Carries out an attempt.
    fn reach_store(
        &mut self,
        world: &mut World,
        number: u8,
        body: BodyId,
        fault: Option<Fault>,
    ) -> Result<u32, &'static str> {
        let (item, _) = *world.states.last().expect("there is one at the start");
        let request = self.behavior.body(body);
        let (reply, after) = *self.carried_out.entry((body, item)).or_insert_with(|| {
            let mut store = Store::default();
            store.0.extend(self.items.get(item).clone().map(|item| (IDS[0].to_owned(), item)));
            self.replies.push(store.update_item(request));
            let reply = u32::try_from(self.replies.len() - 1).expect("fewer than 2^32");
            (reply, self.items.number(store.0.remove(IDS[0])))
        });
        let writes =
            request.get("UpdateExpression").is_some() && matches!(self.replies[reply as usize], Reply::Done(_));
        if self.story.is_some() {
            let event = match &self.replies[reply as usize] {
                Reply::Done(item) if writes => {
                    format!("writes version {}, meta {}", item["updated_at"]["S"], meta(item))
                }
                Reply::Done(_) => "reads".to_owned(),
                Reply::ConditionFailed(Some(item)) => {
                    let version = item.get("updated_at").map_or("none".to_owned(), |version| version["S"].to_string());
                    format!("finds its condition failed at version {version}, meta {}", meta(item))
                }
                Reply::ConditionFailed(None) => "finds no item".to_owned(),
            };
            self.note(|| format!("    {event}"));
        }
        if writes {
            world.ticks += 1;
            world.states.push((after, Some(number)));
            let (tag, responded) = match world.requests[usize::from(number)] {
                Progress::Over { tag, status } => (tag, status),
                Progress::Sent { tag, .. } => (tag, None),
                Progress::Planned => unreachable!("it has sent an attempt"),
            };
            let request = self.request(number, tag, 0, fault, responded);
            check_write(&self.states(world), world.states.len() - 1, &request)?;
        }
        Ok(reply)
    }

    /// The clock of the instance of a request, in microseconds since 1970.
    fn now(&self, world: &World, number: u8) -> u64 {
        let start = u64::try_from(START.as_micros()).expect("before 2500");
        let equal = start + 10 * u64::from(world.ticks);
        match self.case.clocks {
            Clocks::Stopped => start,
            Clocks::Behind if self.case.requests[usize::from(number)].instance == 1 => equal - 1_000_000,
            Clocks::Equal | Clocks::Behind => equal,
        }
    }

    /// Takes out of a state what nothing depends on any more.
    fn forget(&self, world: &mut World) {
        for client in 0..CLIENTS {
            let over = |(_, progress): (u8, &Progress)| !matches!(progress, Progress::Planned);
            if self.own(world, client).all(over) {
                world.known[client] = None;
            }
        }
        if self.case.clocks == Clocks::Stopped {
            world.ticks = 0;
        }
        let under_way = |number: u8| world.under_way.iter().any(|attempt| attempt.request == number);
        let mut first = world.states.len() - 1;
        for (number, progress) in (0..).zip(&mut world.requests) {
            match progress {
                Progress::Over { status, tag } if !under_way(number) => (*status, *tag) = (None, None),
                Progress::Sent { since, .. } => first = first.min(usize::from(*since)),
                Progress::Planned | Progress::Over { .. } => {}
            }
        }
        for (index, (_, by)) in world.states.iter_mut().enumerate() {
            match by.map(|by| (by, &world.requests[usize::from(by)])) {
                // A conditional write may not be made twice.
                Some((_, Progress::Sent { .. } | Progress::Over { status: Some(_), .. })) => first = first.min(index),
                Some((_, Progress::Planned | Progress::Over { status: None, .. })) | None => *by = None,
            }
        }
        world.states.drain(..first);
        for progress in &mut world.requests {
            if let Progress::Sent { since, .. } = progress {
                *since -= u8::try_from(first).expect("a short run");
            }
        }
    }

    /// A request for the rules.
    fn request(
        &self,
        number: u8,
        tag: Option<u32>,
        since: u8,
        fault: Option<Fault>,
        responded: Option<u64>,
    ) -> Request {
        let mut planned = self.case.requests[usize::from(number)].clone();
        planned.fates.extend(fault.map(|fault| Fate { there: 0, back: 0, fault: Some(fault) }));
        let response =
            responded.map(|status| Response { at: 0, took: Duration::ZERO, status, tag: None, body: Value::Null });
        let tags = self.tags(tag);
        Request { planned, tags, frozen: false, sent: moment(usize::from(since)) + 1, response }
    }

    /// The states of the distributor for the rules.
    fn states(&self, world: &World) -> Vec<State> {
        let states = world.states.iter().enumerate();
        states
            .map(|(index, (item, by))| State {
                from: moment(index),
                by: by.map(usize::from),
                item: self.items.get(*item).clone(),
            })
            .collect()
    }

    fn note(&mut self, event: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            let _ = writeln!(story, "  {}", event());
        }
    }

    /// The history that led to where the walk is, in words.
    fn tell(&mut self, start: &World, rule: &str) -> String {
        let Case { stored, clocks, requests, .. } = self.case;
        let count = requests.len();
        self.story = Some(format!("{rule}\n{count} requests, clocks {clocks:?}, at the start {stored:?}\n"));
        let mut world = start.clone();
        for next in std::mem::take(&mut self.path) {
            match self.make(&world, next) {
                Ok(after) => world = after,
                Err(_) => break,
            }
        }
        self.story.take().unwrap_or_default()
    }
}

/// The moment at which the state of this index begins.
fn moment(index: usize) -> u64 {
    10 * u64::try_from(index).expect("a short run")
}

fn meta(item: &Item) -> String {
    item.get("meta").map_or("none".to_owned(), |meta| meta["M"]["path"]["S"].to_string())
}
