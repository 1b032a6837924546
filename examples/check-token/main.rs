//! Says why a token is accepted or refused, with the function's own code and settings.

// What an example does is print, and what it cannot start with ends it.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

mod explanation;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use explanation::explain;
use update_distributor::clients::Clients;
use update_distributor::config::Config;
use update_distributor::json::without_byte_order_mark;
use update_distributor::token::issuer::Keys;
use update_distributor::token::key_set::KeySet;

const HELP: &str = "\
Says step by step what the function makes of a token: issuer, keys, signature, claims, scope and node.

Usage: cargo run --example check-token -- [OPTIONS] < TOKEN

The settings come from the function's own variables: TOKEN_ISSUER, TOKEN_AUDIENCE, and those that are set of TOKEN_JWKS_URI,
TOKEN_JWKS, TOKEN_SCOPE, TOKEN_NODE_CLAIM. The token is read from the standard input and never printed.

Options:
      --offline FILE   take the issuer's keys from a file, and fetch nothing
  -h, --help           print this

The exit status is 0 if the token is accepted, 1 if it is refused, 2 if the settings are wrong.
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(accepted) => ExitCode::from(u8::from(!accepted)),
        Err(error) => {
            eprintln!("{error}\nSee --help.");
            ExitCode::from(2)
        }
    }
}

/// Returns whether the token is accepted.
async fn run() -> Result<bool, String> {
    let Some(options) = options().map_err(|error| error.to_string())? else {
        print!("{HELP}");
        return Ok(true);
    };
    let mut config = Config::from_env(setting).map_err(|error| error.to_string())?;
    if let Some(path) = options.offline {
        let set = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let set = KeySet::fetched(without_byte_order_mark(&set));
        let set = Arc::new(set.map_err(|error| format!("{}: {error}", path.display()))?);
        for issuer in &mut config.token_rules.issuers {
            issuer.keys = Keys::Inline(Arc::clone(&set));
        }
    }
    let token = io::read_to_string(io::stdin()).map_err(|error| format!("the token cannot be read: {error}"))?;
    let http = Clients::from_env(&config.aws).await.unpooled;
    let explanation = explain(config.token_rules, &http, token.trim(), io::stdout().is_terminal()).await;
    print!("{}", explanation.text);
    Ok(explanation.refused.is_none())
}

/// Returns a setting of the function. Those that are required and have nothing to do with tokens need not be set.
fn setting(name: &'static str) -> Option<OsString> {
    let unused = matches!(name, "TABLE_NAME" | "AWS_REGION").then(|| "unused".into());
    env::var_os(name).or(unused)
}

struct Options {
    offline: Option<PathBuf>,
}

fn options() -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;

    let mut options = Options { offline: None };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("offline") => options.offline = Some(arguments.value()?.into()),
            Short('h') | Long("help") => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(options))
}
