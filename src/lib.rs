//! `PUT /api/v1/integration/distributors/{id}`: sets, removes or leaves the webhook configuration `meta` of a
//! distributor, as an AWS Lambda function.
//!
//! The way of a request, from top to bottom. A module uses only modules below it, and the four in the middle
//! ([`request`], [`body`], [`token`] and [`store`]) do not use each other.
//!
//! | module | from → to |
//! | --- | --- |
//! | [`runtime`] | invocation → the bytes of its event |
//! | [`handler`] | event → response: the checks, in their order |
//! | [`response`] | distributor or problem → HTTP response |
//! | [`config`] | environment → settings, once |
//! | [`log`] | the known facts of a request → its one line |
//! | [`request`] | event → path, token, id, tags, bytes of the body |
//! | [`body`] | members → change, or every invalid member |
//! | [`token`] | bearer token → caller |
//! | [`store`] | update → distributor, by one conditional `UpdateItem` |
//! | [`problem`] | an error → what the caller reads, and what the log says |
//! | [`distributor`] | the distributor as it is returned |
//! | [`update`] | what request, token and body hand to the store |
//! | [`webhook`] | texts → `meta`, each part by its constructor |
//! | [`event`], [`json`], [`address`], [`secret`], [`clients`], [`clock`], [`configured_url`], [`error`], [`excerpt`] | shared foundations |

pub mod address;
pub mod body;
pub mod clients;
pub mod clock;
pub mod config;
pub mod configured_url;
pub mod distributor;
pub mod error;
pub mod event;
pub mod excerpt;
pub mod handler;
pub mod json;
pub mod log;
pub mod problem;
pub mod request;
pub mod response;
pub mod runtime;
pub mod secret;
pub mod store;
pub mod token;
pub mod update;
pub mod webhook;
