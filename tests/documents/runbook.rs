//! `docs/runbook.md` has every code, every alarm, and every text that the log can have as a reason.

use std::fs;

use strum::VariantArray as _;
use update_distributor::problem::Code;

fn read(path: &str) -> String {
    let text = fs::read_to_string(testing::root().join(path)).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The texts of the error types in a source, each in the parts between what is filled in.
fn texts(path: &str) -> Vec<Vec<String>> {
    let source = read(path);
    let texts = source.split("#[error(\"").skip(1).map(|rest| rest.split("\")]").next().unwrap().to_owned());
    let parts = texts.map(|text| {
        let text = text.replace("\\\"", "\"").replace('}', "{");
        text.split('{').step_by(2).map(|part| part.trim().to_owned()).filter(|part| part.len() > 2).collect::<Vec<_>>()
    });
    parts.filter(|parts| !parts.is_empty()).collect()
}

#[test]
fn every_text_of_a_reason_is_in_the_runbook() {
    let runbook = read("docs/runbook.md");
    let mut missing = Vec::new();
    let mut count = 0;
    for source in [
        "src/token/error.rs",
        "src/token/key_store.rs",
        "src/token/fetch.rs",
        "src/token/key_set.rs",
        "src/token/jwk.rs",
        "src/handler.rs",
        "src/event.rs",
    ] {
        for parts in texts(source) {
            count += 1;
            // The parts in their order, in one cell of a table.
            let found = runbook.split(['|', '`']).any(|cell| {
                parts.iter().try_fold(cell, |rest, part| rest.split_once(part.as_str()).map(|(_, rest)| rest)).is_some()
            });
            // Of a key, the table names the first word of each reason.
            let is_malformed = parts.first().is_some_and(|part| part.starts_with("malformed"));
            if !(found || is_malformed && runbook.contains("`malformed` with the member")) {
                missing.push(format!("{source}: {}", parts.join(" … ")));
            }
        }
    }
    assert!(count > 40, "{count} texts were found");
    assert!(missing.is_empty(), "{missing:#?}");
    for reason in ["absent", "other_node", "a bearer token is required", "is not valid HTTP"] {
        assert!(runbook.contains(reason), "{reason}");
    }
}

#[test]
fn every_code_has_its_row() {
    let text = fs::read_to_string(testing::root().join("docs/runbook.md")).unwrap();
    for code in Code::VARIANTS {
        let (status, name) = (code.status().as_u16(), format!("`{}`", code.name()));
        let row = text.lines().any(|line| line.starts_with(&format!("| {status} | ")) && line.contains(&name));
        assert!(row, "{status} {name}");
    }
}

#[test]
fn every_alarm_has_its_row() {
    let (template, runbook) = (read("template.yaml"), read("docs/runbook.md"));
    let resources = template.split(" Resources: ").nth(1).unwrap();
    let words: Vec<_> = resources.split(' ').collect();
    let alarms = words.windows(3).filter(|words| words[1] == "Type:" && words[2] == "AWS::CloudWatch::Alarm");
    let alarms: Vec<_> = alarms.map(|words| words[0].trim_end_matches(':')).collect();
    assert!(alarms.len() > 6, "{alarms:?}");
    let operation = read("docs/operation.md");
    for alarm in alarms {
        assert!(runbook.contains(&format!("`{alarm}`")) && operation.contains(&format!("`{alarm}`")), "{alarm}");
    }
}
