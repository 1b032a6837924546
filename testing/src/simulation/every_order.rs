//! Every order of events, in the small: all runs of up to three requests of two clients for one distributor, with every
//! order in which their attempts reach the store, and every combination of up to two faults.
//!
//! A depth-first walk. From each state it makes every move that is possible there; a state that it has seen before it
//! does not enter again, which is sound, since a [`World`] holds all that the future and the rules depend on.

use std::collections::HashMap;
use std::fmt;

use super::recording::Recording;
use super::rules::Action;
use super::walk::{Case, Clocks, FAULTS, Move, Planned, Stored, Tag, Walk, World};
use super::{Failure, run_all};

/// Clients, and instances.
const CLIENTS: usize = 2;

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

/// How the clocks of the two instances go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// They show the same microsecond, whatever happens.
    Stopped,
    /// They show the same time, which goes on with every request and every write.
    Equal,
    /// The second is a second behind the first.
    Behind,
}

/// All of them; first those with the most runs.
pub const PACES: [Pace; 3] = [Pace::Behind, Pace::Equal, Pace::Stopped];

impl Pace {
    fn clocks(self) -> Clocks {
        let (tick, behind) = match self {
            Self::Stopped => (0, 0),
            Self::Equal => (10, 0),
            Self::Behind => (10, 1_000_000),
        };
        Clocks { tick, ahead: vec![0, -behind], resolution: 1 }
    }
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

/// Returns how many cases a walk has.
pub fn cases(size: Size, paces: &[Pace], stored: &[Stored]) -> usize {
    groups(size, paces, stored).iter().map(Vec::len).sum()
}

/// Walks through all runs of this size with these clocks and initial items, on as many threads as there are processors.
/// `done` is handed the counts of each case when that is over.
///
/// # Errors
///
/// One in which something is not allowed.
pub fn walk_all(
    size: Size,
    paces: &[Pace],
    stored: &[Stored],
    done: impl Fn(&Counts) + Sync,
) -> Result<Counts, Failure> {
    let groups = groups(size, paces, stored);
    let walk_group = |group: u64| {
        let mut sum = Counts::default();
        let mut recording = Recording::new(&[]);
        for case in &groups[usize::try_from(group).expect("few groups")] {
            let counts = walk(case, &mut recording)?;
            done(&counts);
            sum.add(counts);
        }
        Ok(Counts { runs: recording.runs(), ..sum })
    };
    let mut sum = Counts::default();
    for counts in run_all(0..groups.len() as u64, walk_group)? {
        sum.add(counts);
    }
    Ok(sum)
}

/// Returns every case of a size, in groups: what the handler does in one group, it hardly does in another. Of the cases
/// that differ by names alone (of clients, or of configurations that are set) there is one.
fn groups(size: Size, paces: &[Pace], stored: &[Stored]) -> Vec<Vec<Case>> {
    let sequences = sequences(size.requests);
    let mut groups = Vec::new();
    for &pace in paces {
        // Only where the clocks differ does it matter which instance receives a request: any, but in the largest size
        // each client keeps to its own.
        let assignments = match pace {
            Pace::Behind if size.is_largest() => CLIENTS,
            Pace::Behind => 1 << size.requests,
            Pace::Equal | Pace::Stopped => 1,
        };
        for &stored in stored {
            let cases = sequences.iter().flat_map(|requests| {
                (0..assignments).map(move |assignment| {
                    let mut requests = requests.clone();
                    for (number, request) in requests.iter_mut().enumerate() {
                        request.instance =
                            if size.is_largest() { request.client ^ assignment } else { assignment >> number & 1 };
                    }
                    Case { stored: vec![stored], clocks: pace.clocks(), requests, faults: size.faults }
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
                        let request = Planned { client, instance: 0, target: 0, action, tag };
                        before.iter().copied().chain([request]).collect()
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

/// Walks through a case.
fn walk(case: &Case, recording: &mut Recording) -> Result<Counts, Failure> {
    let (walk, start) = Walk::start(case, recording);
    let mut search = Search { walk, visited: HashMap::new(), path: Vec::new() };
    match search.visit(start.clone()) {
        Ok(orders) => Ok(Counts { cases: 1, orders, states: search.visited.len(), runs: 0 }),
        Err(rule) => Err(search.walk.fail(&start, &search.path, rule)),
    }
}

struct Search<'a> {
    walk: Walk<'a>,
    /// In how many orders each state can end.
    visited: HashMap<World, u128>,
    path: Vec<Move>,
}

impl Search<'_> {
    /// Returns in how many orders a state can end.
    fn visit(&mut self, world: World) -> Result<u128, &'static str> {
        if let Some(&orders) = self.visited.get(&world) {
            return Ok(orders);
        }
        let moves = self.walk.moves(&world);
        let mut orders = u128::from(moves.is_empty());
        for next in moves {
            orders += self.go(&world, next)?;
            if let Move::Attempt(number, _) = next
                && world.faults_left > 0
            {
                for fault in FAULTS {
                    orders += self.go(&world, Move::Attempt(number, fault))?;
                }
                orders += self.go(&world, Move::Outage(number))?;
            }
        }
        self.visited.insert(world, orders);
        Ok(orders)
    }

    fn go(&mut self, world: &World, next: Move) -> Result<u128, &'static str> {
        self.path.push(next);
        let after = self.walk.make(world, next)?.expect("a move that is possible");
        let orders = self.visit(after)?;
        self.path.pop();
        Ok(orders)
    }
}
