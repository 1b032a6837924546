//! The sample events: each gets the response that its name says.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;
use update_distributor::problem::Code;

use strum::VariantArray as _;
use testing::lambda::function::{Function, embedded};
use testing::store::embedded::documented_item;

/// Outcomes that an event alone cannot cause.
const NOT_BY_AN_EVENT: [Code; 3] = [Code::KeysUnavailable, Code::StoreUnavailable, Code::InternalError];

pub fn read(name: &str) -> Value {
    let path = testing::root().join("events").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The names of all events.
pub fn names() -> Vec<String> {
    let entries = std::fs::read_dir(testing::root().join("events")).unwrap();
    let paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    let names = paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
    names.filter(|name| name != "env.json").collect()
}

/// The function with the settings of `env.json`.
pub async fn function() -> Function {
    let env = read("env.json");
    let settings: Vec<_> = env["Function"].as_object().unwrap().iter().collect();
    let settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
    let store = embedded().await;
    let endpoint = store.endpoint();
    Function::at_endpoint(store, &endpoint, &settings).await
}

#[tokio::test]
async fn every_event_is_answered_as_its_name_says() {
    let function = function().await;
    let mut seen = BTreeSet::new();
    for name in names() {
        function.store.put(documented_item());
        let (status, outcome) = name.split_once('.').unwrap();
        let outcome = outcome.split(['.', '-']).next().unwrap();
        let response = function.raw(read(&name).to_string().as_bytes()).await;
        match response {
            Err(_) => assert_eq!((status, outcome), ("error", "InvalidEvent"), "{name}"),
            Ok(response) => {
                assert_eq!(response.status.to_string(), status, "{name}");
                let line = function.last_line();
                let said = if status == "200" { &line["operation"] } else { &response.body["code"] };
                assert_eq!(said, outcome, "{name}");
                seen.insert(outcome.to_owned());
            }
        }
    }
    for code in Code::VARIANTS {
        assert_eq!(seen.contains(code.name()), !NOT_BY_AN_EVENT.contains(code), "an event for {}", code.name());
    }
}
