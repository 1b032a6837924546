//! Lambda and its front ends for tests, with the function in this process or in its own.

use std::collections::HashMap;
use std::ffi::OsString;

use update_distributor::clients::Clients;
use update_distributor::config::Config;
use update_distributor::handler::App;
use update_distributor::log::Log;

use crate::issuer::{AUDIENCE, ISSUER};
use crate::store::embedded::TABLE;

pub mod captured_log;
pub mod function;
pub mod process;
pub mod request;
pub mod runtime_api;

/// Settings by the names of their variables.
pub type Settings = HashMap<String, String>;

/// The settings of a function that accepts what these keys have signed for [`ISSUER`] and [`AUDIENCE`].
pub fn settings(jwks: &str) -> Settings {
    let settings = [
        ("AWS_REGION", "eu-central-1"),
        ("TABLE_NAME", TABLE),
        ("TOKEN_ISSUER", ISSUER),
        ("TOKEN_AUDIENCE", AUDIENCE),
        ("TOKEN_JWKS", jwks),
    ];
    settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Reads settings as the function does.
pub fn config(settings: &Settings) -> Config {
    let config = Config::from_env(|name| settings.get(name).map(OsString::from));
    config.expect("the settings are right")
}

/// Starts the function in this process without its priming call, for these keys and with settings besides the usual ones.
pub async fn start(clients: Clients, jwks: &str, more: &[(&str, &str)], log: Log) -> App {
    let mut settings = settings(jwks);
    for (name, value) in [("PRIME", "false")].iter().chain(more) {
        settings.insert((*name).to_owned(), (*value).to_owned());
    }
    App::start(config(&settings), clients, log).await
}
