//! The description and the function, held to each other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use update_distributor::distributor::{IntegerOrText, StoredAuthentication, StoredMeta};
use update_distributor::problem::Code;
use update_distributor::webhook::{Method, Scheme};

use crate::events;
use crate::readme::readme;
use strum::VariantArray as _;
use testing::fault::Fault;
use testing::issuer::key_server::KeyServer;
use testing::lambda::function::{Function, embedded};
use testing::lambda::request::{EVERY_MEMBER, FrontEnd, Response};
use testing::proxy::Proxy;
use testing::store::embedded::documented_item;

struct Description {
    document: Value,
}

impl Description {
    fn read() -> Self {
        let path = testing::root().join("openapi.yaml");
        Self { document: serde_norway::from_slice(&std::fs::read(path).unwrap()).unwrap() }
    }

    fn operation(&self) -> &Value {
        &self.document["paths"]["/api/v1/integration/distributors/{id}"]["put"]
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.document.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
            None => value,
        }
    }

    /// Whether a value fits a schema of the description.
    fn fits(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let mut schema = schema.clone();
        schema["components"] = self.document["components"].clone();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        validator.validate(value).map_err(|error| error.to_string())
    }

    /// Whether a response is as its status is described.
    #[track_caller]
    fn check(&self, name: &str, response: &Response) {
        let documented = &self.operation()["responses"][response.status.to_string()];
        assert!(documented.is_object(), "{name}: {} is described", response.status);
        let content = &documented["content"][response.header("content-type").unwrap()];
        self.fits(&content["schema"], &response.body).unwrap_or_else(|error| panic!("{name}: {error}"));
        let described: BTreeMap<_, _> = documented["headers"].as_object().unwrap().iter().collect();
        for (header, described) in &described {
            let described = self.resolve(described);
            match response.header(&header.to_lowercase()) {
                Some(value) => self.fits(&described["schema"], &json!(value)).unwrap(),
                None => assert_ne!(described["required"], true, "{name}: {header}"),
            }
        }
        for header in response.headers.keys().filter(|header| *header != "content-type") {
            assert!(described.keys().any(|name| name.eq_ignore_ascii_case(header)), "{name}: {header} is described");
        }
        if let Some(code) = response.body["code"].as_str() {
            let mut example = content["examples"][code]["value"].clone();
            example["request_id"] = response.body["request_id"].clone();
            assert_eq!(response.body, example, "{name}: the example is the real response");
        }
    }
}

#[tokio::test]
async fn responses_to_the_events_are_as_described() {
    let (description, function) = (Description::read(), events::function().await);
    for name in events::names() {
        function.store.put(documented_item());
        if let Ok(response) = function.raw(events::read(&name).to_string().as_bytes()).await {
            description.check(&name, &response);
        }
    }
}

#[tokio::test]
async fn responses_that_no_event_causes_are_as_described() {
    let description = Description::read();
    let function = Function::new().await;
    let event = function.put("{}").event(FrontEnd::HttpApi).to_string();
    let response = function.within(event.as_bytes(), Duration::ZERO).await.unwrap();
    assert_eq!(response.outcome(), "503 store_unavailable");
    description.check("out of time", &response);

    let keys = KeyServer::start().await;
    let function = Function::with_settings(&[("TOKEN_JWKS", ""), ("TOKEN_JWKS_URI", &keys.url("/"))]).await;
    let response = function.call(&function.put("{}")).await;
    assert_eq!(response.outcome(), "503 keys_unavailable");
    description.check("no keys", &response);

    let store = embedded().await;
    let proxy = Proxy::start(store.address).await;
    let function = Function::at_endpoint(store, &proxy.endpoint(), &[]).await;
    proxy.script([Fault::status(400, r#"{"__type":"x#ValidationException"}"#)]);
    let response = function.call(&function.put("{}")).await;
    assert_eq!(response.outcome(), "500 internal_error");
    description.check("refused", &response);
}

#[tokio::test]
async fn example_requests_get_the_example_responses() {
    let (description, function) = (Description::read(), Function::new().await);
    let operation = description.operation();
    let body = &operation["requestBody"]["content"]["application/json"];
    let examples = body["examples"].as_object().unwrap();
    assert_eq!(examples.len(), 3);
    for (name, example) in examples {
        function.store.put(documented_item());
        description.fits(&body["schema"], &example["value"]).unwrap();
        let response = function.call(&function.put(&example["value"].to_string())).await;
        description.check(name, &response);
        let mut expected =
            operation["responses"]["200"]["content"]["application/json"]["examples"][name]["value"].clone();
        if name != "read" {
            expected["updated_at"] = response.body["updated_at"].clone();
        }
        assert_eq!(response.body, expected, "{name}");
    }
    for (status, documented) in operation["responses"].as_object().unwrap() {
        for (kind, content) in documented["content"].as_object().unwrap() {
            for (name, example) in content["examples"].as_object().unwrap() {
                let fits = description.fits(&content["schema"], &example["value"]);
                assert_eq!(fits, Ok(()), "{status} {kind} {name}");
            }
        }
    }
}

#[test]
fn the_description_and_the_changelog_have_the_version_of_the_crate() {
    let manifest = std::fs::read_to_string(testing::root().join("Cargo.toml")).unwrap();
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"')).unwrap();
    assert_eq!(Description::read().document["info"]["version"], version);
    let changelog = std::fs::read_to_string(testing::root().join("CHANGELOG.md")).unwrap();
    let latest = changelog.lines().find(|line| line.starts_with("## ") && *line != "## Unreleased").unwrap();
    assert!(latest.starts_with(&format!("## {version} - ")), "{latest}");
}

#[test]
fn every_code_is_described_and_every_described_code_exists() {
    let description = Description::read();
    let mut described = BTreeSet::new();
    for (status, documented) in description.operation()["responses"].as_object().unwrap() {
        let examples = documented["content"]["application/problem+json"]["examples"].as_object();
        for code in examples.into_iter().flat_map(|examples| examples.keys()) {
            described.insert((status.parse::<u16>().unwrap(), code.as_str()));
        }
    }
    let codes: BTreeSet<_> = Code::VARIANTS.iter().map(|code| (code.status().as_u16(), code.name())).collect();
    assert_eq!(described, codes);
    let listed =
        description.document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"].as_array().unwrap();
    let listed: Vec<_> = listed.iter().map(|code| code.as_str().unwrap()).collect();
    let names: Vec<_> = Code::VARIANTS.iter().map(|code| code.name()).collect();
    assert_eq!(listed, names, "in the order of the checks");
}

/// The names of the members of an object.
pub fn names(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn every_member_and_every_choice_is_described() {
    let description = Description::read();
    let schemas = &description.document["components"]["schemas"];
    let text = || Some("x".to_owned());
    // Complete literals: a new member has to be added here, and then to the description and to README.
    let authentication = StoredAuthentication {
        scheme: Some(IntegerOrText::Integer(1)),
        username: text(),
        password: text(),
        token: text(),
    };
    let meta = StoredMeta {
        host: text(),
        path: text(),
        method: Some(IntegerOrText::Text("GET".to_owned())),
        authentication: Some(authentication),
    };
    let meta = serde_json::to_value(meta).unwrap();
    let readme = readme();
    let sent: Value = serde_json::from_str(EVERY_MEMBER).unwrap();
    for (stored, sent, schema_of_stored, schema) in [
        (&meta, &sent["meta"], "StoredMeta", "Meta"),
        (&meta["authentication"], &sent["meta"]["authentication"], "StoredAuthentication", "Authentication"),
    ] {
        assert_eq!(names(&schemas[schema_of_stored]["properties"]), names(stored), "{schema_of_stored}");
        assert_eq!(names(&schemas[schema]["properties"]), names(stored), "{schema}");
        assert_eq!(names(sent), names(stored), "EVERY_MEMBER");
        for member in names(stored) {
            let in_readme = [format!("`{member}`"), format!("`{member}."), format!(".{member}`")];
            assert!(in_readme.iter().any(|text| readme.contains(text)), "README: {member}");
        }
    }
    let types: Vec<Value> = Scheme::VARIANTS.iter().map(|scheme| scheme.number().into()).collect();
    let described = schemas["Authentication"]["properties"]["type"]["enum"].as_array().unwrap();
    assert_eq!(*described, [types, vec![Value::Null]].concat());
    let [numbers, methods, _] = &schemas["Meta"]["properties"]["method"]["oneOf"].as_array().unwrap()[..] else {
        panic!("three kinds of values")
    };
    let last = Method::ALL.iter().map(|method| u64::from(method.number())).max();
    assert_eq!(numbers["maximum"].as_u64(), last);
    assert_eq!(*methods["enum"].as_array().unwrap(), Method::ALL.map(Method::name));
}

/// The bodies that the function accepts and refuses, where a schema can say it.
#[test]
fn the_schema_of_the_body_is_what_the_function_accepts() {
    let description = Description::read();
    let schema = &description.operation()["requestBody"]["content"]["application/json"]["schema"];
    let bodies: Value = serde_json::from_str(include_str!("../data/bodies.json")).unwrap();
    let valid = bodies["valid"].as_array().unwrap().iter().map(|body| (body, true));
    let invalid = bodies["invalid"].as_array().unwrap().iter().map(|row| (&row[0], false));
    for (body, is_valid) in valid.chain(invalid) {
        let body: Value = serde_json::from_str(body.as_str().unwrap()).unwrap();
        assert_eq!(description.fits(schema, &body).is_ok(), is_valid, "{body}");
    }
}
