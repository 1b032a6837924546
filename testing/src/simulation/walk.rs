//! A model of everything around the handler, as states and the moves between them: clients that send requests, the network
//! that loses, delays and repeats their attempts, the store, and the clocks of the instances.
//!
//! An instance that is frozen is a request for which no move is made; a message that is late is a move of its own.
//!
//! A response is delivered as soon as the store has made it. A later one would let more states explain what it says, and
//! the attempt that it leads to can be late itself; what is left out is that this attempt has a later stamp.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};

use super::recording::{BodyId, Interned, MessageId, Prefix, Recording, Step};
use super::rules::{Action, Met, Request, State, check_response, check_write, stored_meta};
use super::store::{Item, Message, Reply, Store};
use super::{Failure, IDS, NODE, NOW, OTHER_NODE, event, item, token};
use crate::fault::{Arrival, DENIED, Fault, Received, THROTTLED};
use crate::lambda::request::Response;

/// The time that a request has, in milliseconds: enough for every attempt.
pub const LEFT: u64 = 60_000;

/// What can go wrong with an attempt, but for an outage.
pub const FAULTS: [Fault; 13] = [
    Fault::HANG,
    Fault::HANG_AFTER,
    Fault::LATE,
    Fault::TWICE,
    Fault::RESET,
    Fault::RESET_AFTER,
    Fault::status(400, THROTTLED),
    Fault::status(500, ""),
    Fault::status_after(500, ""),
    Fault::body("garbage"),
    Fault::body("{}"),
    Fault::body(r#"{"Attributes": {}}"#),
    Fault::status(400, DENIED),
];

/// A distributor at the start.
#[derive(Clone, Copy, Debug)]
pub enum Stored {
    /// At this version, if it has one.
    At(Option<&'static str>),
    /// It does not exist.
    Absent,
    /// Another node's.
    OtherNodes,
}

/// The clocks of the instances.
#[derive(Clone, Debug)]
pub struct Clocks {
    /// By how much they advance with each request and each write, in microseconds.
    pub tick: u64,
    /// How much each instance's is ahead, in microseconds.
    pub ahead: Vec<i64>,
    /// They show multiples of this, in microseconds.
    pub resolution: u64,
}

/// `If-Match` of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tag {
    /// It is not sent.
    None,
    /// `*`
    Any,
    /// The version that the client has seen last.
    Seen,
    /// The version that it has seen before that.
    Before,
    /// Both.
    Both,
}

/// A request of a client.
#[derive(Clone, Copy, Debug)]
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
}

/// What a walk starts with.
#[derive(Clone, Debug)]
pub struct Case {
    /// The distributors.
    pub stored: Vec<Stored>,
    /// The clocks.
    pub clocks: Clocks,
    /// The requests. Each client sends its own in this order.
    pub requests: Vec<Planned>,
    /// How many faults may happen.
    pub faults: u8,
}

/// The versions in `If-Match`, the last one first.
type Tags = [Option<u32>; 2];

/// A state of everything. Numbers stand for items, bodies and prefixes.
///
/// It holds all that the future and the rules depend on, and no more:
///
/// - the states of each distributor, by their item and who wrote it, from the last one that came before the requests under
///   way: the store is the last of them, and a response has to be explained by one of them. Versions have grown up to
///   there, so a later write has to be compared with these only.
/// - for each request what the handler has received, which determines all that it does from then on
///   ([`recording`](super::recording)); its `If-Match`; how many states there were when it was sent; what has gone wrong;
/// - for a request that is over, as long as an attempt of it is under way, its status and `If-Match`;
/// - for a client with more to send the last versions that it saw;
/// - the attempts that are still under way, the faults that may still happen, and the clocks.
///
/// How it came to that state, the rules have judged on the way.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct World {
    /// The states that each distributor has been in, by item and writer.
    distributors: Vec<Vec<(u32, Option<u8>)>>,
    requests: Vec<Progress>,
    /// The last versions that each client has seen of each distributor; forgotten with its last request.
    known: Vec<Tags>,
    /// Attempts that no one waits for.
    under_way: Vec<UnderWay>,
    /// How many faults may still happen.
    pub faults_left: u8,
    ticks: u64,
    /// By how much the clocks have jumped, in microseconds; empty until the first has.
    jumps: Vec<i64>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Progress {
    Planned,
    Sent {
        prefix: Prefix,
        tags: Tags,
        /// The state that the distributor was in then.
        since: u8,
        met: Met,
    },
    Over {
        /// `None` once no attempt of it is under way.
        status: Option<u64>,
        tags: Tags,
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
pub enum Move {
    /// A client sends its next request.
    Send(u8),
    /// An attempt of a request meets this.
    Attempt(u8, Fault),
    /// The network is gone for a request: this attempt is late, and no further one arrives.
    Outage(u8),
    /// Of the attempts of a request that no one waits for, the one of this index reaches the store.
    Arrive(u8, usize),
    /// The clock of an instance jumps by so many microseconds.
    Jump(usize, i64),
}

/// A walk through the states of a case.
pub struct Walk<'a> {
    case: &'a Case,
    recording: &'a mut Recording,
    items: Interned<Option<Item>>,
    versions: Interned<String>,
    replies: Vec<Reply>,
    /// The store's reply and the item after it, by body and item.
    carried_out: HashMap<(BodyId, u32), (u32, u32)>,
    /// What comes back, by what is received and the reply.
    messages: HashMap<(Received, Option<u32>), MessageId>,
    /// The events of the requests, by their tags.
    events: HashMap<(u8, Tags), Arc<str>>,
    /// Attempts that have reached the store.
    pub calls: usize,
    /// The statuses of the responses.
    pub statuses: BTreeSet<u64>,
    /// The history in words, where it is being told.
    story: Option<String>,
}

impl<'a> Walk<'a> {
    /// Prepares a walk, and returns its first state.
    pub fn start(case: &'a Case, recording: &'a mut Recording) -> (Self, World) {
        let mut walk = Self {
            case,
            recording,
            items: Interned::default(),
            versions: Interned::default(),
            replies: Vec::new(),
            carried_out: HashMap::new(),
            messages: HashMap::new(),
            events: HashMap::new(),
            calls: 0,
            statuses: BTreeSet::new(),
            story: None,
        };
        let mut distributors = Vec::new();
        // The clients have read them before.
        let mut known = Vec::new();
        for (stored, id) in case.stored.iter().zip(IDS) {
            let (item, version) = match *stored {
                Stored::At(version) => (Some(item(id, NODE, version)), version),
                Stored::Absent => (None, None),
                Stored::OtherNodes => (Some(item(id, OTHER_NODE, None)), None),
            };
            distributors.push(vec![(walk.items.number(item), None)]);
            known.push([version.map(|version| walk.versions.number(version.to_owned())), None]);
        }
        let clients = case.requests.iter().map(|request| request.client + 1).max().unwrap_or_default();
        let mut world = World {
            distributors,
            requests: vec![Progress::Planned; case.requests.len()],
            known: known.repeat(clients),
            under_way: Vec::new(),
            faults_left: case.faults,
            ticks: 0,
            jumps: Vec::new(),
        };
        walk.forget(&mut world);
        (walk, world)
    }

    /// Returns the moves from a state, but for what can go wrong with an attempt.
    pub fn moves(&self, world: &World) -> Vec<Move> {
        let mut moves = Vec::new();
        // Each client sends its next request when the last is over.
        let mut is_busy = vec![false; world.known.len() / self.case.stored.len()];
        for (number, progress) in (0..).zip(&world.requests) {
            let is_busy = &mut is_busy[self.planned(number).client];
            if *progress == Progress::Planned && !*is_busy {
                moves.push(Move::Send(number));
            }
            *is_busy |= !matches!(progress, Progress::Over { .. });
        }
        for (number, progress) in (0..).zip(&world.requests) {
            if let Progress::Sent { .. } = progress {
                moves.push(Move::Attempt(number, Fault::NONE));
            }
        }
        let mut of_request = 0;
        for (index, attempt) in world.under_way.iter().enumerate() {
            let previous = index.checked_sub(1).map(|previous| &world.under_way[previous]);
            let is_next = previous.is_some_and(|previous| previous.request == attempt.request);
            of_request = if is_next { of_request + 1 } else { 0 };
            // Two that are equal are one move.
            if previous != Some(attempt) {
                moves.push(Move::Arrive(attempt.request, of_request));
            }
        }
        moves
    }

    /// Makes a move. Returns `None` if it is not possible: in a path from which others were left out.
    ///
    /// # Errors
    ///
    /// The rule that it broke.
    pub fn make(&mut self, world: &World, next: Move) -> Result<Option<World>, &'static str> {
        let mut world = world.clone();
        match next {
            Move::Send(number) => {
                let client = self.planned(number).client;
                let of_client = world.requests.iter().zip(&self.case.requests);
                let mut of_client = of_client.filter(|(_, planned)| planned.client == client);
                let is_busy = of_client.any(|(progress, _)| matches!(progress, Progress::Sent { .. }));
                if is_busy || world.requests[usize::from(number)] != Progress::Planned {
                    return Ok(None);
                }
                self.send(&mut world, number)?;
            }
            Move::Attempt(number, _) | Move::Outage(number) => {
                let Progress::Sent { .. } = world.requests[usize::from(number)] else { return Ok(None) };
                let (fault, is_outage) = match next {
                    Move::Attempt(_, fault) => (fault, false),
                    _ => (Fault::LATE, true),
                };
                self.attempt(&mut world, number, fault, is_outage)?;
            }
            Move::Arrive(number, nth) => {
                let attempts = world.under_way.iter().enumerate();
                let Some((index, _)) = attempts.filter(|(_, attempt)| attempt.request == number).nth(nth) else {
                    return Ok(None);
                };
                let UnderWay { request, body, repeated } = world.under_way.remove(index);
                let how = if repeated { "again" } else { "late" };
                self.note(|| format!("an attempt of request {request} arrives {how}"));
                self.reach_store(&mut world, request, body, if repeated { Fault::TWICE } else { Fault::LATE })?;
            }
            Move::Jump(instance, by) => {
                world.jumps.resize(self.instances(), 0);
                world.jumps[instance] += by;
                self.note(|| format!("the clock of instance {instance} jumps by {by} \u{b5}s"));
            }
        }
        self.forget(&mut world);
        Ok(Some(world))
    }

    /// Returns how many instances there are.
    pub fn instances(&self) -> usize {
        self.case.clocks.ahead.len()
    }

    /// Returns the bodies of the attempts that have reached the store.
    pub fn bodies(&self) -> impl Iterator<Item = &Value> {
        self.carried_out.keys().map(|(body, _)| self.recording.body(*body))
    }

    /// Returns a failure with the history of a path, in words.
    pub fn fail(&mut self, start: &World, path: &[Move], rule: &str) -> Failure {
        Failure { history: self.tell(start, path, rule) }
    }

    /// Returns the history of a path, in words.
    pub fn tell(&mut self, start: &World, path: &[Move], verdict: &str) -> String {
        let Case { stored, clocks, requests, .. } = self.case;
        let count = requests.len();
        self.story = Some(format!("{verdict}\n{count} requests, {clocks:?}, at the start {stored:?}\n"));
        let mut world = start.clone();
        for next in path {
            match self.make(&world, *next) {
                Ok(after) => world = after.unwrap_or(world),
                Err(_) => break,
            }
        }
        self.story.take().unwrap_or_default()
    }

    fn planned(&self, number: u8) -> &Planned {
        &self.case.requests[usize::from(number)]
    }

    /// The index of what the client of a request has seen of its distributor.
    fn known_by(&self, planned: &Planned) -> usize {
        planned.client * self.case.stored.len() + planned.target
    }

    fn send(&mut self, world: &mut World, number: u8) -> Result<(), &'static str> {
        let Planned { client, instance, target, action, tag } = *self.planned(number);
        let [last, before] = world.known[self.known_by(self.planned(number))];
        let tags = match tag {
            Tag::None | Tag::Any => [None, None],
            Tag::Seen => [last, None],
            Tag::Before => [before, None],
            Tag::Both => [last, before],
        };
        world.ticks += 1;
        let texts = self.texts(tags);
        let event = self.events.entry((number, tags)).or_insert_with(|| {
            let body = match action {
                Action::Set(_) => {
                    let meta = stored_meta(action).expect("a configuration");
                    json!({"meta": {"path": meta["M"]["path"]["S"]}})
                }
                Action::Remove => json!({"meta": null}),
                Action::Read => json!({}),
            };
            let if_match = match &texts {
                Some(texts) => Some(texts.iter().map(|tag| format!("\"{tag}\"")).collect::<Vec<_>>().join(", ")),
                None => (tag == Tag::Any).then(|| "*".to_owned()),
            };
            event(&token().0, target, if_match.as_deref(), &body.to_string()).to_string().into()
        });
        let event = Arc::clone(event);
        let prefix = self.recording.start(event, self.now(world, number), LEFT);
        self.note(|| {
            format!(
                "client {client} sends request {number} to instance {instance}: {action:?} of distributor {target}, If-Match {texts:?}"
            )
        });
        let since = u8::try_from(world.distributors[target].len() - 1).expect("a short run");
        world.requests[usize::from(number)] = Progress::Sent { prefix, tags, since, met: Met::Nothing };
        self.finish(world, number, Fault::NONE)
    }

    /// The versions of an `If-Match`. Whoever has seen nothing has no tag to send.
    fn texts(&self, tags: Tags) -> Option<Vec<String>> {
        let texts: Vec<_> = tags.into_iter().flatten().map(|tag| self.versions.get(tag).clone()).collect();
        (!texts.is_empty()).then_some(texts)
    }

    fn attempt(&mut self, world: &mut World, number: u8, fault: Fault, is_outage: bool) -> Result<(), &'static str> {
        let Progress::Sent { mut prefix, tags, since, met } = world.requests[usize::from(number)] else {
            unreachable!("only what was sent has attempts")
        };
        let Step::Attempt(body) = self.recording.step(prefix).clone() else {
            unreachable!("a request that was responded to is over")
        };
        let is_fault = fault != Fault::NONE;
        self.note(|| match (is_outage, is_fault) {
            (true, _) => format!("request {number}: an attempt is late, and the network is gone"),
            (false, true) => format!("request {number}: an attempt, {fault:?}"),
            (false, false) => format!("request {number}: an attempt"),
        });
        world.faults_left = world.faults_left.saturating_sub(u8::from(is_fault));
        let reply = match fault.arrival {
            Arrival::Now | Arrival::Twice => Some(self.reach_store(world, number, body, Fault::NONE)?),
            Arrival::Never | Arrival::Late => None,
        };
        if let Arrival::Late | Arrival::Twice = fault.arrival {
            world.under_way.push(UnderWay { request: number, body, repeated: reply.is_some() });
            world.under_way.sort_unstable();
        }
        let now = self.now(world, number);
        let message = *self.messages.entry((fault.received, reply)).or_insert_with(|| {
            self.recording.message(Message::new(fault.received, reply.map(|reply| &self.replies[reply as usize])))
        });
        prefix = self.recording.next(prefix, message, now);
        while is_outage && matches!(self.recording.step(prefix), Step::Attempt(_)) {
            prefix = self.recording.next(prefix, message, now);
        }
        world.requests[usize::from(number)] = Progress::Sent { prefix, tags, since, met: met.and(fault) };
        // Far more than any request makes that comes to an end: each is overtaken by another's write, or meets a fault.
        if self.recording.received(prefix) > 20 + 2 * self.case.requests.len() {
            return Err("a request does not come to an end");
        }
        self.finish(world, number, fault)
    }

    /// Delivers the response, if the function has made it.
    fn finish(&mut self, world: &mut World, number: u8, fault: Fault) -> Result<(), &'static str> {
        let Progress::Sent { prefix, tags, since, met } = world.requests[usize::from(number)] else {
            unreachable!("only what was sent has a response")
        };
        let Step::Response(response) = self.recording.step(prefix) else { return Ok(()) };
        let response: Arc<Response> = Arc::clone(response);
        let tag = response.header("etag").map(|tag| tag.trim_matches('"').to_owned());
        self.note(|| format!("request {number}: response {}, ETag {tag:?}", response.status));
        self.statuses.insert(response.status);
        if let Some(tag) = tag {
            let tag = Some(self.versions.number(tag));
            let known = &mut world.known[self.known_by(self.planned(number))];
            if known[0] != tag {
                *known = [tag, known[0]];
            }
        }
        world.requests[usize::from(number)] = Progress::Over { status: Some(response.status), tags };
        let request = self.request(number, tags, fault, met);
        let states = self.states(world, self.planned(number).target);
        check_response(&states[usize::from(since)..], &request, &response)
    }

    /// Carries out an attempt.
    fn reach_store(&mut self, world: &mut World, number: u8, body: BodyId, fault: Fault) -> Result<u32, &'static str> {
        let target = self.planned(number).target;
        let (item, _) = *world.distributors[target].last().expect("there is one at the start");
        let request = self.recording.body(body);
        self.calls += 1;
        let (reply, after) = *self.carried_out.entry((body, item)).or_insert_with(|| {
            let mut store = Store::default();
            store.0.extend(self.items.get(item).clone().map(|item| (IDS[target].to_owned(), item)));
            self.replies.push(store.update_item(request));
            let reply = u32::try_from(self.replies.len() - 1).expect("fewer than 2^32");
            (reply, self.items.number(store.0.remove(IDS[target])))
        });
        let reply_of_store = &self.replies[reply as usize];
        let writes = request.get("UpdateExpression").is_some() && matches!(reply_of_store, Reply::Done(_));
        if self.story.is_some() {
            let event = match reply_of_store {
                Reply::Done(item) if writes => format!("writes {}", words(item)),
                Reply::Done(_) => "reads".to_owned(),
                Reply::ConditionFailed(Some(item)) => format!("finds its condition failed at {}", words(item)),
                Reply::ConditionFailed(None) => "finds no item".to_owned(),
            };
            self.note(|| format!("    {event}"));
        }
        if writes {
            world.ticks += 1;
            world.distributors[target].push((after, Some(number)));
            let (tags, responded) = match world.requests[usize::from(number)] {
                Progress::Over { tags, status } => (tags, status),
                Progress::Sent { tags, .. } => (tags, None),
                Progress::Planned => unreachable!("it has sent an attempt"),
            };
            check_write(&self.states(world, target), &self.request(number, tags, fault, Met::Nothing), responded)?;
        }
        Ok(reply)
    }

    /// The clock of the instance of a request, in microseconds since 1970.
    fn now(&self, world: &World, number: u8) -> u64 {
        let Clocks { tick, ahead, resolution } = &self.case.clocks;
        let instance = self.planned(number).instance;
        let ahead = ahead[instance] + world.jumps.get(instance).unwrap_or(&0);
        let now = (NOW + tick * world.ticks).saturating_add_signed(ahead);
        now - now % resolution
    }

    /// Takes out of a state what nothing depends on any more.
    fn forget(&self, world: &mut World) {
        // Whether a client still sends the last version that it has seen of a distributor, and the one before that.
        let mut needed = vec![[false; 2]; world.known.len()];
        for (planned, progress) in self.case.requests.iter().zip(&world.requests) {
            if *progress == Progress::Planned {
                let needed = &mut needed[self.known_by(planned)];
                needed[0] = true;
                needed[1] |= matches!(planned.tag, Tag::Before | Tag::Both);
            }
        }
        for ([last, before], needed) in world.known.iter_mut().zip(needed) {
            *last = last.filter(|_| needed[0]);
            *before = before.filter(|_| needed[1]);
        }
        if self.case.clocks.tick == 0 {
            world.ticks = 0;
        }
        let under_way = |number: u8| world.under_way.iter().any(|attempt| attempt.request == number);
        for (number, progress) in (0..).zip(&mut world.requests) {
            if let Progress::Over { status, tags } = progress
                && !under_way(number)
            {
                (*status, *tags) = (None, [None, None]);
            }
        }
        // The first state of each distributor that something depends on.
        let mut first: Vec<_> = world.distributors.iter().map(|states| states.len() - 1).collect();
        for (planned, progress) in self.case.requests.iter().zip(&world.requests) {
            if let Progress::Sent { since, .. } = progress {
                first[planned.target] = first[planned.target].min(usize::from(*since));
            }
        }
        for (states, first) in world.distributors.iter_mut().zip(&mut first) {
            for (index, (_, by)) in states.iter_mut().enumerate() {
                match by.map(|by| &world.requests[usize::from(by)]) {
                    // A conditional write may not be made twice.
                    Some(Progress::Sent { .. } | Progress::Over { status: Some(_), .. }) => *first = index.min(*first),
                    Some(Progress::Planned | Progress::Over { status: None, .. }) | None => *by = None,
                }
            }
            states.drain(..*first);
        }
        for (planned, progress) in self.case.requests.iter().zip(&mut world.requests) {
            if let Progress::Sent { since, .. } = progress {
                *since -= u8::try_from(first[planned.target]).expect("a short run");
            }
        }
    }

    /// A request for the rules.
    fn request(&self, number: u8, tags: Tags, fault: Fault, met: Met) -> Request {
        Request { number, action: self.planned(number).action, tags: self.texts(tags), fault, met }
    }

    /// The states of a distributor for the rules.
    fn states(&self, world: &World, target: usize) -> Vec<State> {
        let states = world.distributors[target].iter();
        states.map(|(item, by)| State { by: *by, item: self.items.get(*item).clone() }).collect()
    }

    fn note(&mut self, event: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            let _ = writeln!(story, "  {}", event());
        }
    }
}

/// Version and configuration of an item.
fn words(item: &Item) -> String {
    let version = item.get("updated_at").map_or("none".to_owned(), |version| version["S"].to_string());
    let meta = item.get("meta").map_or("none".to_owned(), |meta| meta["M"]["path"]["S"].to_string());
    format!("version {version}, meta {meta}")
}
