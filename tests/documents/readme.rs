//! README and the function, held to each other.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsString;

use strum::VariantArray as _;
use update_distributor::config::Config;
use update_distributor::problem::Code;

pub fn readme() -> String {
    std::fs::read_to_string(testing::root().join("README.md")).unwrap()
}

#[test]
fn codes_are_listed_in_the_order_of_the_checks() {
    let readme = readme();
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | `"));
    let rows = rows.filter_map(|(status, rest)| Some((status.parse::<u16>().ok()?, rest.split_once('`')?.0)));
    let mut rows: Vec<_> = rows.collect();
    // The parts of an event that need no other check come first, its body later.
    let body = rows.iter().rposition(|(_, code)| *code == Code::InvalidEvent.name()).unwrap();
    assert_eq!((rows[body - 1].1, rows[body + 1].1), ("unsupported_media_type", "body_too_large"));
    rows.remove(body);
    let codes: Vec<_> = Code::VARIANTS.iter().map(|code| (code.status().as_u16(), code.name())).collect();
    assert_eq!(rows, codes);
}

#[test]
fn every_variable_is_listed() {
    let read = RefCell::new(BTreeSet::new());
    let config = Config::from_env(|name| {
        read.borrow_mut().insert(name);
        let required = ["TABLE_NAME", "TOKEN_AUDIENCE", "AWS_REGION"].contains(&name);
        let value = if name == "TOKEN_ISSUER" { Some("https://issuer.example") } else { required.then_some("x") };
        value.map(OsString::from)
    });
    assert!(config.is_ok());
    let readme = readme();
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
    let variables = rows.flat_map(|(names, _)| names.split('`'));
    let is_variable =
        |name: &&str| name.len() > 4 && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let listed: BTreeSet<_> = variables.filter(is_variable).collect();
    let mut own = read.into_inner();
    own.retain(|name| !name.starts_with("AWS_"));
    assert_eq!(listed, own);
}
