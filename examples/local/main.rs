//! The function behind a local HTTP port, with an embedded DynamoDB, a token and a page to try it with.
//!
//! Every request for the operation becomes the event that an HTTP API would send, or the front end that its header `X-Front-End`
//! names, and goes the way that it goes in Lambda.

// What an example does is print, and what it cannot start with ends it.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

mod gateway;
mod page;

use std::process::ExitCode;
use std::sync::Arc;

use page::{Page, Recent};
use testing::issuer;
use testing::lambda;
use testing::store::embedded;
use tokio::net::TcpListener;
use update_distributor::config::{Config, Platform};
use update_distributor::handler::App;
use update_distributor::log::{Log, Writer, enable_diagnostics};

const HELP: &str = "\
Serves PUT /api/v1/integration/distributors/{id} on this machine, with an embedded DynamoDB and a page to try it.

Usage: cargo run --example local -- [OPTIONS]

Options:
      --host ADDRESS         address that both listen on [default: 127.0.0.1]
      --port PORT            port of the function [default: 9000]
      --dynamodb-port PORT   port of the embedded DynamoDB [default: 8000]
      --issuer URL           accept the tokens of this OpenID provider, instead of one that is made here
      --audience TEXT        the audience of its tokens [default: distributors]
  -h, --help                 print this
";

const HOUR: u64 = 3_600;
const SCOPE: &str = "distributors:write";

struct Options {
    host: String,
    port: u16,
    dynamodb_port: u16,
    issuer: Option<String>,
    audience: Option<String>,
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
            return ExitCode::FAILURE;
        }
    };
    tokio::select! {
        result = serve(options) => match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        },
        _ = tokio::signal::ctrl_c() => ExitCode::SUCCESS,
    }
}

fn options() -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;

    let mut options =
        Options { host: "127.0.0.1".to_owned(), port: 9000, dynamodb_port: 8000, issuer: None, audience: None };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("host") => options.host = arguments.value()?.string()?,
            Long("port") => options.port = arguments.value()?.parse()?,
            Long("dynamodb-port") => options.dynamodb_port = arguments.value()?.parse()?,
            Long("issuer") => options.issuer = Some(arguments.value()?.string()?),
            Long("audience") => options.audience = Some(arguments.value()?.string()?),
            Short('h') | Long("help") => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(options))
}

async fn serve(options: Options) -> Result<(), String> {
    let listener = listen(&options.host, options.port, "--port").await?;
    let dynamodb_listener = listen(&options.host, options.dynamodb_port, "--dynamodb-port").await?;
    let url = format!("http://{}", listener.local_addr().expect("the listener is bound"));

    let store = embedded::Embedded::serve(dynamodb_listener);
    store.put(embedded::documented_item());
    let issuer = issuer::Issuer::new("local");
    let mut settings = lambda::settings(&issuer.jwks());
    let (issuer, token) = if let Some(url) = options.issuer {
        // Its keys are found as its metadata says.
        settings.remove("TOKEN_JWKS");
        settings.insert("TOKEN_ISSUER".to_owned(), url);
        (None, String::new())
    } else {
        settings.insert("TOKEN_SCOPE".to_owned(), SCOPE.to_owned());
        let mut claims = issuer::claims(embedded::NODE, 12 * HOUR);
        claims["scope"] = SCOPE.into();
        let token = issuer.sign(&claims);
        (Some(issuer), token)
    };
    settings.extend(options.audience.map(|audience| ("TOKEN_AUDIENCE".to_owned(), audience)));
    let config = Config::from_env(|name| settings.get(name).map(Into::into)).map_err(|error| error.to_string())?;
    let platform = Platform::from_env(std::env::var_os);
    let recent = Recent::new();
    let writer = Arc::new(Writer::new(platform.log_level, platform.log_json, Box::new(recent.clone())));
    enable_diagnostics(Arc::clone(&writer));
    // There is nothing here that collects metrics.
    let log = Log::new(writer, None);
    let app = App::start(config, embedded::clients(&store.endpoint()).await, log).await;

    println!("{}", introduction(&url, &store.endpoint(), &token));
    let page = Page { app, store, issuer, token, log: recent, exchanges: Recent::new() };
    axum::serve(listener, page.routes(&url)).await.map_err(|error| error.to_string())
}

async fn listen(host: &str, port: u16, option: &str) -> Result<TcpListener, String> {
    let listener = TcpListener::bind((host, port)).await;
    listener.map_err(|error| format!("cannot listen on {host}:{port}: {error}; choose another with {option} or --host"))
}

fn introduction(url: &str, dynamodb: &str, token: &str) -> String {
    let call = |body: &str| {
        format!(
            "curl -i -X PUT {url}/api/v1/integration/distributors/{} \\
  -H \"Authorization: Bearer $TOKEN\" -H 'X-Target-Server: integration' -H 'Content-Type: application/json' \\
  -d '{body}'",
            embedded::ID
        )
    };
    let set = r#"{"meta": {"host": "https://example.com222", "path": "/webhook", "method": 1, "authentication": {"type": 1, "username": "user", "password": "pass"}}}"#;
    let token = if token.is_empty() {
        "# A token of the provider:\nTOKEN=".to_owned()
    } else {
        format!("# A token for node {node}, valid for 12 hours:\nTOKEN={token}", node = embedded::NODE)
    };
    format!(
        "Open {url} to read the description and to try it.

The function listens on {url}, DynamoDB on {dynamodb} (table {table}). Ctrl-C ends both.

{token}

# Set the webhook:
{set}

# Remove it:
{remove}

# Read the distributor, changing nothing:
{read}
",
        table = embedded::TABLE,
        set = call(set),
        remove = call(r#"{"meta": null}"#),
        read = call("{}"),
    )
}
