//! Moves that are drawn from a seed: forty requests of several clients for several distributors, with up to twenty faults.
//! The same seed is the same run.

use std::collections::BTreeSet;

use fastrand::Rng;

use super::calls::{Expressions, expressions};
use super::recording::Recording;
use super::rules::Action;
use super::walk::{Case, Clocks, FAULTS, Move, Planned, Stored, Tag, Walk, World};
use super::{Failure, choose};
use crate::fault::Fault;

/// Requests of one run: enough for conflicts, few enough to be read.
pub const REQUESTS: usize = 40;

/// What runs have counted.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Requests.
    pub requests: usize,
    /// Attempts with which something went wrong.
    pub faults: usize,
    /// Attempts that reached the store.
    pub calls: usize,
    /// The statuses of the responses.
    pub statuses: BTreeSet<u64>,
    /// The expressions that the store was sent.
    pub expressions: BTreeSet<Expressions>,
}

impl Report {
    /// Adds another.
    pub fn add(&mut self, other: Self) {
        let Self { requests, faults, calls, statuses, expressions } = other;
        self.requests += requests;
        self.faults += faults;
        self.calls += calls;
        self.statuses.extend(statuses);
        self.expressions.extend(expressions);
    }
}

/// Makes the run of a seed.
///
/// # Errors
///
/// That something in it was not allowed, with the shortest history that leads to it.
pub fn run(seed: u64) -> Result<Report, Failure> {
    let (case, mut rng) = prepare(seed);
    let mut recording = Recording::new(&[]);
    let (mut walk, start) = Walk::start(&case, &mut recording);
    let (path, verdict) = draw_path(&mut walk, &start, &mut rng);
    if let Err(rule) = verdict {
        let path = shrink(&mut walk, &start, path);
        return Err(walk.fail(&start, &path, &format!("{rule}\nseed {seed}")));
    }
    let faulty = path.iter().filter(|next| match next {
        Move::Attempt(_, fault) => *fault != Fault::NONE,
        Move::Outage(_) => true,
        Move::Send(_) | Move::Arrive(..) | Move::Jump(..) => false,
    });
    Ok(Report {
        requests: case.requests.len(),
        faults: faulty.count(),
        calls: walk.calls,
        expressions: walk.bodies().map(expressions).collect(),
        statuses: walk.statuses,
    })
}

/// Makes the run of a seed and returns all that happened in it, in words.
pub fn history(seed: u64) -> String {
    let (case, mut rng) = prepare(seed);
    let mut recording = Recording::new(&[]);
    let (mut walk, start) = Walk::start(&case, &mut recording);
    let (path, verdict) = draw_path(&mut walk, &start, &mut rng);
    let verdict = verdict.err().unwrap_or("all of it is allowed");
    walk.tell(&start, &path, &format!("{verdict}\nseed {seed}"))
}

fn prepare(seed: u64) -> (Case, Rng) {
    // The function draws its waits from the same source.
    fastrand::seed(seed);
    let mut rng = Rng::with_seed(seed);
    (draw_case(&mut rng), rng)
}

fn draw_case(rng: &mut Rng) -> Case {
    let (clients, instances) = (rng.usize(2..=4), rng.usize(1..=3));
    let mut requests: Vec<Planned> = Vec::new();
    for _ in 0..REQUESTS {
        let request = draw_request(rng, clients, instances);
        // Now and then a client sends the same again, as it should after 503.
        let last = requests.iter().rev().find(|last| last.client == request.client && rng.u8(..5) == 0);
        requests.push(*last.unwrap_or(&request));
    }
    Case {
        stored: vec![
            Stored::At(*choose(rng, &VERSIONS)),
            Stored::At(*choose(rng, &VERSIONS)),
            Stored::OtherNodes,
            Stored::Absent,
        ],
        clocks: Clocks {
            tick: *choose(rng, &[1, 10, 1_000, 300_000]),
            ahead: (0..instances).map(|_| if rng.bool() { 0 } else { draw_jump(rng) }).collect(),
            resolution: *choose(rng, &[1, 1, 1, 1_000, 1_000_000]),
        },
        requests,
        faults: *choose(rng, &[0, 20, 20, 20]),
    }
}

/// Versions at the start: ours, before and after the time of the run; and others'.
const VERSIONS: [Option<&str>; 12] = [
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

fn draw_request(rng: &mut Rng, clients: usize, instances: usize) -> Planned {
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
    }
}

/// Draws microseconds by which a clock jumps.
fn draw_jump(rng: &mut Rng) -> i64 {
    rng.i64(-5_000_000..=5_000_000)
}

/// Draws moves until the end, or until one breaks a rule.
fn draw_path(walk: &mut Walk, start: &World, rng: &mut Rng) -> (Vec<Move>, Result<(), &'static str>) {
    let (mut world, mut path) = (start.clone(), Vec::new());
    // In some runs a lot goes wrong.
    let faulty = *choose(rng, &[0.1, 0.3, 0.6]);
    let jumping = rng.bool();
    // Until when no move is made for a request whose instance is frozen, and for its late attempts.
    let (mut frozen, mut delayed) = ([0; REQUESTS], [0; REQUESTS]);
    loop {
        let moves = walk.moves(&world);
        if moves.is_empty() {
            return (path, Ok(()));
        }
        let now = path.len();
        let ready = moves.iter().filter(|next| match next {
            Move::Send(number) | Move::Attempt(number, _) | Move::Outage(number) => frozen[usize::from(*number)] <= now,
            Move::Arrive(number, _) => delayed[usize::from(*number)] <= now,
            Move::Jump(..) => true,
        });
        let ready: Vec<_> = ready.copied().collect();
        let mut next = *choose(rng, if ready.is_empty() { &moves } else { &ready });
        if let Move::Attempt(number, _) = next {
            if rng.u8(..20) == 0 {
                frozen[usize::from(number)] = now + rng.usize(1..60);
            }
            if world.faults_left > 0 && rng.f64() < faulty {
                next = draw_fault(rng, number);
            }
            delayed[usize::from(number)] = now + if rng.bool() { 0 } else { rng.usize(1..100) };
        }
        if jumping && rng.u8(..40) == 0 {
            next = Move::Jump(rng.usize(..walk.instances()), draw_jump(rng));
        }
        path.push(next);
        match walk.make(&world, next) {
            Ok(after) => world = after.expect("a move that is possible"),
            Err(rule) => return (path, Err(rule)),
        }
    }
}

fn draw_fault(rng: &mut Rng, number: u8) -> Move {
    match rng.usize(..=FAULTS.len()) {
        index if index < FAULTS.len() => Move::Attempt(number, FAULTS[index]),
        _ => Move::Outage(number),
    }
}

/// Leaves out of a path that breaks a rule whatever can be left out.
fn shrink(walk: &mut Walk, start: &World, mut path: Vec<Move>) -> Vec<Move> {
    let mut size = path.len().div_ceil(2);
    // Large parts first; once more with each size, since what is left out makes more of the rest needless.
    while size > 0 {
        let (mut first, before) = (0, path.len());
        while first < path.len() {
            let end = (first + size).min(path.len());
            match follow(walk, start, path[..first].iter().chain(&path[end..])) {
                Some(shorter) => path = shorter,
                None => first += size,
            }
        }
        if path.len() == before {
            size /= 2;
        }
    }
    path
}

/// Follows a path to where it breaks a rule, and returns what is possible of it up to there; `None` if it breaks none.
fn follow<'p>(walk: &mut Walk, start: &World, path: impl Iterator<Item = &'p Move>) -> Option<Vec<Move>> {
    let (mut world, mut followed) = (start.clone(), Vec::new());
    for next in path {
        match walk.make(&world, *next) {
            Ok(Some(after)) => {
                world = after;
                followed.push(*next);
            }
            Ok(None) => {}
            Err(_) => {
                followed.push(*next);
                return Some(followed);
            }
        }
    }
    None
}
