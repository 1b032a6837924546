//! The items of a table, held against what the function reads and writes.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, ConsumedCapacity, ReturnConsumedCapacity};
use tokio::time::{Instant, sleep_until};
use update_distributor::entity_tag::EntityTag;
use update_distributor::error::chain;
use update_distributor::hyphenated_uuid;
use update_distributor::store::version;
use update_distributor::webhook::{Host, HostPolicy, Method, Path, Scheme};

/// The attributes of an item, or of a map in it.
pub type Attributes = HashMap<String, AttributeValue>;

/// What a scan of a table has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    /// Items.
    pub items: usize,
    /// Those that deviate.
    pub deviating: usize,
}

/// Items that a page of a limited scan has for each read unit: more than a second's worth only where they are larger than
/// half a kilobyte, which the wait after the page makes up for.
const ITEMS_PER_UNIT: u32 = 16;

/// Reads a table page by page, counts in `seen`, and hands over a line for each deviation. It consumes no more than so
/// many read units a second, on average.
///
/// # Errors
///
/// That the table could not be read, in words.
pub async fn scan(
    client: &Client,
    table: &str,
    units_per_second: Option<u32>,
    seen: &mut Seen,
    mut note: impl FnMut(&Seen, Option<String>),
) -> Result<(), String> {
    let mut start = None;
    loop {
        let began = Instant::now();
        let page = client
            .scan()
            .table_name(table)
            .set_exclusive_start_key(start)
            .set_limit(units_per_second.map(|units| (units * ITEMS_PER_UNIT).try_into().unwrap_or(i32::MAX)))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let page = page.send().await.map_err(|error| chain(&error))?;
        for item in page.items() {
            seen.items += 1;
            let found = deviations(item, SystemTime::now());
            seen.deviating += usize::from(!found.is_empty());
            for deviation in found {
                note(seen, Some(format!("{}: {deviation}", id(item))));
            }
        }
        note(seen, None);
        if let Some(units) = units_per_second {
            let consumed = page.consumed_capacity().and_then(ConsumedCapacity::capacity_units).unwrap_or_default();
            sleep_until(began + Duration::from_secs_f64(consumed / f64::from(units))).await;
        }
        start = page.last_evaluated_key;
        if start.is_none() {
            return Ok(());
        }
    }
}

fn id(item: &Attributes) -> String {
    match item.get("id") {
        Some(AttributeValue::S(id)) => id.escape_debug().to_string(),
        other => format!("{other:?}"),
    }
}

/// Returns what in an item differs from what the function writes, and what follows. No value of `meta` is repeated.
pub fn deviations(item: &Attributes, now: SystemTime) -> Vec<String> {
    let mut found = Vec::new();
    let mut note = |text: String| found.push(text);
    match string(item, "id") {
        Some(id) if is_lower_case_uuid(id) => {}
        _ => note("id is not a hyphenated UUID in lower case: the item is never found".to_owned()),
    }
    match string(item, "node_id") {
        Some(id) if is_lower_case_uuid(id) => {}
        _ => note(
            "node_id is not a hyphenated UUID in lower case: the item is found only where TOKEN_NODE_CLAIM is empty"
                .to_owned(),
        ),
    }
    if string(item, "created_at").is_none() {
        note("created_at is missing or not a string: it is returned as null".to_owned());
    }
    match string(item, "updated_at") {
        None => note("updated_at is missing or not a string: there is no entity tag until the next write".to_owned()),
        Some(at) if EntityTag::new(at).is_none() => {
            note(format!("updated_at is {at:?}, which no entity tag can contain: there is none until the next write"));
        }
        Some(at) if version::after(at).is_none() => {
            note(format!("updated_at is {at:?}: the next write replaces it by the clock's time"));
        }
        Some(at) if version::is_far_ahead(at, now) => {
            note(format!("updated_at is {at:?}, more than a day in the future: the next write follows it"));
        }
        Some(_) => {}
    }
    match item.get("meta") {
        None => {}
        Some(AttributeValue::M(meta)) => meta_deviations(meta, &mut note),
        Some(_) => note("meta is not a map: it is returned as null".to_owned()),
    }
    let mut others: Vec<_> =
        item.keys().filter(|name| !["id", "node_id", "created_at", "updated_at", "meta"].contains(&&***name)).collect();
    others.sort();
    for name in others {
        note(format!("{name} is not an attribute of a distributor: it is not returned"));
    }
    found
}

fn meta_deviations(meta: &Attributes, note: &mut impl FnMut(String)) {
    let mut names: Vec<_> = meta.keys().collect();
    names.sort();
    for name in names {
        let value = &meta[name];
        match (name.as_str(), value) {
            ("host", AttributeValue::S(host)) if Host::new(host, HostPolicy::Any).is_err() => {
                note("meta.host is not a host that a request may set: it is returned as it is".to_owned());
            }
            ("path", AttributeValue::S(path)) if Path::new(path).is_err() => {
                note("meta.path is not a path that a request may set: it is returned as it is".to_owned());
            }
            ("method", AttributeValue::N(number))
                if !number.parse().is_ok_and(|number| Method::from_number(number).is_ok()) =>
            {
                note("meta.method is not the number of a method: it is returned as it is".to_owned());
            }
            ("method", AttributeValue::S(_)) => {
                note("meta.method is a string and not a number: it is returned as it is".to_owned());
            }
            ("authentication", AttributeValue::M(authentication)) => authentication_deviations(authentication, note),
            ("host" | "path", AttributeValue::S(_)) | ("method", AttributeValue::N(_)) => {}
            ("host" | "path" | "method" | "authentication", _) => {
                note(format!("meta.{name} is of another type: it is not returned"));
            }
            _ => note(format!("meta.{name} is not a member of meta: it is not returned, and lost when meta is set")),
        }
    }
}

fn authentication_deviations(authentication: &Attributes, note: &mut impl FnMut(String)) {
    let mut names: Vec<_> = authentication.keys().collect();
    names.sort();
    for name in names {
        match (name.as_str(), &authentication[name]) {
            ("type", AttributeValue::N(number))
                if !number.parse().is_ok_and(|number| Scheme::from_number(number).is_ok()) =>
            {
                note("meta.authentication.type is not the number of a type: it is returned as it is".to_owned());
            }
            ("type", AttributeValue::S(_)) => {
                note("meta.authentication.type is a string and not a number: it is returned as it is".to_owned());
            }
            ("type", AttributeValue::N(_)) | ("username" | "password" | "token", AttributeValue::S(_)) => {}
            ("type" | "username" | "password" | "token", _) => {
                note(format!("meta.authentication.{name} is of another type: it is not returned"));
            }
            _ => note(format!(
                "meta.authentication.{name} is not a member: it is not returned, and lost when meta is set"
            )),
        }
    }
}

fn string<'a>(item: &'a Attributes, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

fn is_lower_case_uuid(text: &str) -> bool {
    hyphenated_uuid::parse(text).is_some_and(|uuid| uuid.to_string() == text)
}
