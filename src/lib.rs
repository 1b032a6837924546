//! `PUT /api/v1/integration/distributors/{id}`: sets, removes or leaves the webhook configuration `meta` of a
//! distributor, as an AWS Lambda function.
//!
//! The way of a request, from top to bottom. A module uses only modules below it, and the four in the middle
//! ([`request`], [`body`], [`token`] and [`store`]) do not use each other.
//!
//! | module | from → to |
//! | --- | --- |
//! | [`runtime`] | Lambda's Runtime API → an invocation and the bytes of its event |
//! | [`handler`] | event → response: the start, and the checks in their order |
//! | [`response`] | distributor or problem → HTTP response, in the form of the front end |
//! | [`config`] | environment → settings, once |
//! | [`log`] | the known facts of a request → its one line; the writer of every line |
//! | [`request`] | event → path, token, id, tags, bytes of the body |
//! | [`body`] | bytes → change, or every invalid member |
//! | [`token`] | bearer token → caller; [`token::error`] has every reason of a 401 |
//! | [`store`] | update → distributor, by one conditional `UpdateItem` |
//! | [`problem`] | an error → what the caller reads, and what the log says |
//! | [`distributor`] | the distributor as it is returned |
//! | [`update`] | what request, token and body hand to the store |
//! | [`webhook`] | texts → `meta`, each part by its constructor |
//! | [`invocation`] | headers of an invocation → request id, deadline, trace |
//! | [`event`] | bytes → the members of an event, unread |
//! | [`json`] | bytes → JSON, read strictly |
//! | [`entity_tag`], [`hyphenated_uuid`] | texts → tag, id |
//! | [`address`] | whether an IP address is publicly reachable |
//! | [`canonical_url`] | text → URL that a parser reads as it is written |
//! | [`secret`] | a text that no format prints |
//! | [`clients`], [`clock`] | the network and the time, which tests replace |
//! | [`error`], [`excerpt`] | texts of errors, and untrusted texts, for the log |

pub mod address;
pub mod body;
pub mod canonical_url;
pub mod clients;
pub mod clock;
pub mod config;
pub mod distributor;
pub mod entity_tag;
pub mod error;
pub mod event;
pub mod excerpt;
pub mod handler;
pub mod hyphenated_uuid;
pub mod invocation;
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
