//! Checks the items of a table for what the function does not expect. It only reads.

// What an example does is print.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::env;
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{self, retry::RetryConfig};
use indicatif::{ProgressBar, ProgressStyle};
use testing::store::table::{Seen, scan};
use update_distributor::clients::Clients;
use update_distributor::config::aws;

const HELP: &str = "\
Checks the items of a DynamoDB table for what the function does not expect. It only reads (Scan).

Usage: cargo run --example check-table -- [OPTIONS] TABLE

Options:
      --read-units N     consume at most N read units a second, on average
  -h, --help             print this

Region, credentials and endpoint come from the environment: AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_SESSION_TOKEN, AWS_ENDPOINT_URL_DYNAMODB. The exit status is 1 if an item deviates, 2 if the table cannot be read,
and 130 if it was interrupted (Ctrl-C).
";

/// The status of a process that was interrupted, as shells have it: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

struct Options {
    table: String,
    read_units: Option<NonZeroU32>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = match options() {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}\nSee --help.");
            return ExitCode::from(2);
        }
    };
    let aws = match aws(env::var_os) {
        Ok(aws) => aws,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let sdk = Clients::from_env(&aws).await.sdk;
    let client = Client::from_conf(config::Builder::from(&sdk).retry_config(RetryConfig::standard()).build());
    // Nothing is shown where standard error is no terminal.
    let style = ProgressStyle::with_template("{spinner} {pos} items, {msg}, {per_sec}, {elapsed}");
    let progress = ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    progress.enable_steady_tick(Duration::from_millis(200));
    let mut seen = Seen::default();
    let note = |seen: &Seen, deviation: Option<String>| {
        progress.set_position(seen.items as u64);
        progress.set_message(format!("{} of them deviate", seen.deviating));
        if let Some(deviation) = deviation {
            progress.suspend(|| println!("{deviation}"));
        }
    };
    let read = tokio::select! {
        read = scan(&client, &options.table, options.read_units.map(NonZeroU32::get), &mut seen, note) => Some(read),
        _ = tokio::signal::ctrl_c() => None,
    };
    progress.finish_and_clear();
    if let Some(Err(error)) = read {
        eprintln!("{error}");
        return ExitCode::from(2);
    }
    let Seen { items, deviating } = seen;
    match deviating {
        0 => println!("{items} items, no deviation"),
        _ => println!("{items} items, {deviating} of them deviate"),
    }
    if read.is_none() {
        eprintln!("interrupted; the rest of the table was not read");
        return ExitCode::from(INTERRUPTED);
    }
    if deviating == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Reads the command line; `None` asks for help.
fn options() -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;

    let (mut table, mut read_units) = (None, None);
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("read-units") => read_units = Some(arguments.value()?.parse()?),
            Short('h') | Long("help") => return Ok(None),
            Value(value) if table.is_none() => table = Some(value.string()?),
            other => return Err(other.unexpected()),
        }
    }
    let table = table.ok_or("TABLE is missing")?;
    Ok(Some(Options { table, read_units }))
}
