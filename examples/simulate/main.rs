//! The simulation of the tests, for as long as one likes and from any seed.

// What an example does is print.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use testing::simulation::every_order::{Counts, PACES, SIZES, cases, walk_all};
use testing::simulation::{Failure, calls, drawn, keys, run_all};

const HELP: &str = "\
Simulates clients, instances of the function, their network and the store, and checks every response.

Usage: cargo run --release --example simulate -- [OPTIONS]

Options:
      --requests COUNT   stop after at least as many requests [default: 1000000]
      --seed SEED        seed of the first run; the next ones count up from it [default: 0]
      --show             print what happens in the run of that seed, and do nothing else
      --keys             simulate issuers and their keys instead
      --calls            print every call of the store, for every item, with the result that the simulation assumes
      --exhaustive       walk through every order of events of up to three requests instead
  -h, --help             print this
";

/// Runs between two looks at the count of requests.
const RUNS: u64 = 500;

struct Options {
    requests: usize,
    seed: u64,
    mode: Mode,
}

enum Mode {
    Help,
    Writes,
    Show,
    Keys,
    Calls,
    Exhaustive,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\nSee --help.");
            return ExitCode::FAILURE;
        }
    };
    let result = match options.mode {
        Mode::Help => {
            print!("{HELP}");
            Ok(())
        }
        Mode::Show => {
            println!("{}", drawn::history(options.seed));
            Ok(())
        }
        Mode::Writes => simulate_writes(&options),
        Mode::Keys => simulate_keys(&options),
        Mode::Calls => {
            for item in calls::items() {
                for request in calls::requests() {
                    let expected = calls::expected(item.as_ref(), &request);
                    println!("{}", json!({"item": item, "request": request, "expected": expected}));
                }
            }
            Ok(())
        }
        Mode::Exhaustive => walk(),
    };
    if let Err(failure) = result {
        println!("{failure}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn options() -> Result<Options, lexopt::Error> {
    use lexopt::prelude::*;

    let mut options = Options { requests: 1_000_000, seed: 0, mode: Mode::Writes };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("requests") => options.requests = arguments.value()?.parse()?,
            Long("seed") => options.seed = arguments.value()?.parse()?,
            Long("show") => options.mode = Mode::Show,
            Long("keys") => options.mode = Mode::Keys,
            Long("calls") => options.mode = Mode::Calls,
            Long("exhaustive") => options.mode = Mode::Exhaustive,
            Short('h') | Long("help") => options.mode = Mode::Help,
            other => return Err(other.unexpected()),
        }
    }
    Ok(options)
}

fn simulate_writes(options: &Options) -> Result<(), Failure> {
    let started = Instant::now();
    let mut sum = drawn::Report::default();
    let mut seed = options.seed;
    let progress = progress(options.requests, "requests");
    while sum.requests < options.requests {
        for report in run_all(seed..seed + RUNS, drawn::run)? {
            sum.add(report);
        }
        seed += RUNS;
        progress.set_position(sum.requests as u64);
        progress.set_message(format!("seeds up to {}", seed - 1));
    }
    progress.finish_and_clear();
    let drawn::Report { requests, faults, calls, .. } = sum;
    let (first, last, seconds) = (options.seed, seed - 1, started.elapsed().as_secs());
    println!(
        "{requests} requests, {faults} faults, {calls} attempts that reached the store, seeds {first} to {last}, {seconds} s"
    );
    Ok(())
}

fn simulate_keys(options: &Options) -> Result<(), Failure> {
    let started = Instant::now();
    let mut sum = keys::Report::default();
    let mut seed = options.seed;
    let progress = progress(options.requests, "requests");
    while sum.requests < options.requests {
        for report in run_all(seed..seed + RUNS, keys::run)? {
            sum.add(report);
        }
        seed += RUNS;
        progress.set_position(sum.requests as u64);
        progress.set_message(format!("seeds up to {}", seed - 1));
    }
    progress.finish_and_clear();
    let keys::Report { requests, fetches, failures, freezes, statuses } = sum;
    let (first, last, seconds) = (options.seed, seed - 1, started.elapsed().as_secs());
    println!(
        "{requests} requests, {fetches} fetches, {failures} failed, {freezes} freezes, seeds {first} to {last}, {seconds} s"
    );
    for ((status, withdrawn), count) in statuses {
        println!("{count} times {status}, key {}", if withdrawn { "withdrawn" } else { "published or unknown" });
    }
    Ok(())
}

/// Returns a bar, which is shown where standard error is a terminal.
fn progress(length: usize, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(&format!("{{bar:30}} {{pos}}/{{len}} {what}, {{msg}}, {{elapsed}}"));
    ProgressBar::new(length as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// From the smallest size on, so that what fails first needs the fewest requests and faults.
fn walk() -> Result<(), Failure> {
    for size in SIZES {
        let started = Instant::now();
        let progress = progress(cases(size, &PACES, size.stored()), "cases");
        let states = AtomicUsize::new(0);
        let done = |counts: &Counts| {
            let states = states.fetch_add(counts.states, Ordering::Relaxed) + counts.states;
            progress.inc(1);
            progress.set_message(format!("{size}: {states} states"));
        };
        let counts = walk_all(size, &PACES, size.stored(), done)?;
        progress.finish_and_clear();
        println!("{size}: {counts}, {:.1} s", started.elapsed().as_secs_f64());
    }
    Ok(())
}
