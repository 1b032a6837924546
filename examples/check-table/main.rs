//! Checks the items of a table for what the function does not expect. It only reads.

// What an example does is print.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::env;
use std::process::ExitCode;
use std::time::SystemTime;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{self, retry::RetryConfig};
use aws_sdk_dynamodb::types::AttributeValue;
use testing::store::table::{Attributes, deviations};
use update_distributor::clients::Clients;
use update_distributor::config::aws;
use update_distributor::error::chain;

const HELP: &str = "\
Checks the items of a DynamoDB table for what the function does not expect. It only reads (Scan).

Usage: cargo run --example check-table -- TABLE

Region, credentials and endpoint come from the environment: AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_SESSION_TOKEN, AWS_ENDPOINT_URL_DYNAMODB. The exit status is 1 if an item deviates, 2 if the table cannot be read.
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let table = match &arguments[..] {
        [help] if help == "-h" || help == "--help" => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        [table] if !table.starts_with('-') => table,
        _ => {
            eprint!("{HELP}");
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
    match check(&client, table).await {
        Ok((items, 0)) => {
            println!("{items} items, no deviation");
            ExitCode::SUCCESS
        }
        Ok((items, deviating)) => {
            println!("{items} items, {deviating} of them deviate");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Returns how many items there are, and how many of them deviate.
async fn check(client: &Client, table: &str) -> Result<(usize, usize), String> {
    let (mut items, mut deviating) = (0, 0);
    let mut pages = client.scan().table_name(table).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| chain(&error))?;
        for item in page.items() {
            items += 1;
            let found = deviations(item, SystemTime::now());
            deviating += usize::from(!found.is_empty());
            for deviation in found {
                println!("{}: {deviation}", id(item));
            }
        }
    }
    Ok((items, deviating))
}

fn id(item: &Attributes) -> String {
    match item.get("id") {
        Some(AttributeValue::S(id)) => id.escape_debug().to_string(),
        other => format!("{other:?}"),
    }
}
