//! The simulation of the tests, for as long as one likes and from any seed.

// What an example does is print.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;
use std::time::Instant;

use testing::simulation::{Report, history, run_all};

const HELP: &str = "\
Simulates clients, instances of the function, their network and the store, and checks every response.

Usage: cargo run --release --example simulate -- [OPTIONS]

Options:
      --requests COUNT   stop after at least as many requests [default: 1000000]
      --seed SEED        seed of the first run; the next ones count up from it [default: 0]
      --show             print what happens in the run of that seed, and do nothing else
  -h, --help             print this
";

/// Runs between two looks at the count of requests.
const RUNS: u64 = 500;

struct Options {
    requests: usize,
    seed: u64,
    show: bool,
}

fn main() -> ExitCode {
    match options() {
        Ok(Some(Options { seed, show: true, .. })) => println!("{}", history(seed)),
        Ok(Some(options)) => match simulate(&options) {
            Ok(report) => println!("{report}"),
            Err(failure) => {
                println!("{failure}");
                return ExitCode::FAILURE;
            }
        },
        Ok(None) => print!("{HELP}"),
        Err(error) => {
            eprintln!("{error}\nSee --help.");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn options() -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;

    let mut options = Options { requests: 1_000_000, seed: 0, show: false };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("requests") => options.requests = arguments.value()?.parse()?,
            Long("seed") => options.seed = arguments.value()?.parse()?,
            Long("show") => options.show = true,
            Short('h') | Long("help") => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(options))
}

fn simulate(options: &Options) -> Result<String, String> {
    let started = Instant::now();
    let mut report = Report::default();
    let mut seed = options.seed;
    while report.requests < options.requests {
        report.add(run_all(seed..seed + RUNS).map_err(|failure| failure.to_string())?);
        seed += RUNS;
    }
    let Report { requests, faults, calls, .. } = report;
    let (first, last, seconds) = (options.seed, seed - 1, started.elapsed().as_secs());
    Ok(format!(
        "{requests} requests, {faults} faults, {calls} attempts that reached the store, seeds {first} to {last}, {seconds} s"
    ))
}
