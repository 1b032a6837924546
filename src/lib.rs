//! `PUT /api/v1/integration/distributors/{id}`: sets, removes or leaves the webhook configuration `meta` of a
//! distributor, as an AWS Lambda function.
//!
//! The way of a request, from top to bottom; a module uses only those below it:
//!
//! | module | from → to |
//! | --- | --- |
//! | [`runtime`] | invocation → the bytes of its event |
//! | [`handler`] | event → answer: the checks, in their order |
//! | [`config`] | environment → settings, once |
//! | [`log`] | what is known of a request → its one line |
//! | [`store`] | update → distributor, by one conditional `UpdateItem` |
//! | [`token`] | bearer token → caller |
//! | [`request`] | event → path, token, id, tags, bytes of the body |
//! | [`body`] | members → change, or every fault |
//! | [`problem`] | what went wrong → what the caller reads |
//! | [`distributor`] | the distributor as it is returned |
//! | [`update`] | what request, token and body hand to the store |
//! | [`webhook`] | texts → `meta`, each part by its one constructor |
//! | [`event`], [`json`], [`address`], [`secret`], [`clients`], [`clock`] | what the others stand on |

pub mod address;
pub mod body;
pub mod clients;
pub mod clock;
pub mod config;
pub mod distributor;
pub mod event;
pub mod handler;
pub mod json;
pub mod log;
pub mod problem;
pub mod request;
pub mod runtime;
pub mod secret;
pub mod store;
pub mod token;
pub mod update;
pub mod webhook;
