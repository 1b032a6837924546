//! A model of the API, small, slow and obvious: given the stored items and a request, the response and the items after it.
//! It shares no code with the function, and knows of each part of a request whether it is right by the table that the
//! part was drawn from.

use serde_json::{Map, Value, json};

use crate::lambda::request::FrontEnd;

/// A part of a request as it is sent, and what it is worth: `None`, or the problem that it is.
pub type Row = (&'static [&'static str], Option<Problem>);

/// Status and code.
pub type Problem = (u64, &'static str);

const INVALID_EVENT: Problem = (400, "invalid_event");
const INVALID_TOKEN: Problem = (401, "invalid_token");
const NO_ROUTE: Problem = (404, "route_not_found");
const INVALID_ID: Problem = (400, "invalid_id");
const UNSUPPORTED: Problem = (415, "unsupported_media_type");

/// Methods.
pub const METHODS: [Row; 11] = [
    (&["PUT"], None),
    (&["GET"], Some((405, "method_not_allowed"))),
    (&["HEAD"], Some((405, "method_not_allowed"))),
    (&["OPTIONS"], Some((405, "method_not_allowed"))),
    (&["PATCH"], Some((405, "method_not_allowed"))),
    (&["DELETE"], Some((405, "method_not_allowed"))),
    (&["POST"], Some((405, "method_not_allowed"))),
    (&["put"], Some((405, "method_not_allowed"))),
    (&["PUTS"], Some((405, "method_not_allowed"))),
    (&[""], Some(INVALID_EVENT)),
    (&["PUT "], Some(INVALID_EVENT)),
];

/// `{id}` is the distributor's, `{ID}` the same in upper case, `{simple}` without its hyphens, `{%id}` with its hyphens
/// encoded, `{%%id}` with them encoded twice.
pub const PATHS: [Row; 48] = [
    (&["/api/v1/integration/distributors/{id}"], None),
    (&["/api/v1/integration/distributors/{ID}"], None),
    (&["/api/v1/integration/distributors/{%id}"], None),
    (&["/prod/api/v1/integration/distributors/{id}"], None),
    (&["/a/b/api/v1/integration/distributors/{id}"], None),
    (&["/prod//x/api/v1/integration/distributors/{id}"], None),
    (&["/api/v1/integration%2fdistributors/{id}"], None),
    (&["/%61pi/v1/integration%2Fdistributors/{id}"], None),
    (&["/api/v1/integration/%64istributors/{id}"], None),
    (&["/100%/api/v1/integration/distributors/{id}"], None),
    (&["/%zz/api/v1/integration/distributors/{id}"], None),
    (&["/api/v1/integration/distributors/{%%id}"], Some(INVALID_ID)),
    (&["/api/v1/integration/distributors/{simple}"], Some(INVALID_ID)),
    (&["/api/v1/integration/distributors/{{id}}"], Some(INVALID_ID)),
    (&["/api/v1/integration/distributors/urn:uuid:{id}"], Some(INVALID_ID)),
    (&["/api/v1/integration/distributors/{id}0"], Some(INVALID_ID)),
    (&["/api/v1/integration/distributors/ {id}"], Some(INVALID_ID)),
    (&["/api/v1/integration/distributors/x"], Some(INVALID_ID)),
    (&["/api/v1/integration/distributors/%"], Some(INVALID_ID)),
    (&["/api/v1/integration/distributors/%zz"], Some(INVALID_ID)),
    (&["/api/v1/integration/distributors/{id}/"], Some(NO_ROUTE)),
    (&["/api/v1/integration/distributors/{id}%2F"], Some(NO_ROUTE)),
    (&["/api/v1/integration/distributors/{id}/x"], Some(NO_ROUTE)),
    (&["/api/v1/integration/distributors//{id}"], Some(NO_ROUTE)),
    (&["/api/v1//integration/distributors/{id}"], Some(NO_ROUTE)),
    (&["/api/v1/integration//distributors/{id}"], Some(NO_ROUTE)),
    (&["/api/v1/integration/distributors%2f%2f{id}"], Some(NO_ROUTE)),
    (&["/api/v1/integration/distributors/./{id}"], Some(NO_ROUTE)),
    (&["/api/v1/integration/distributors/%2e%2e/{id}"], Some(NO_ROUTE)),
    (&["/x/../api/v1/integration/distributors/{id}"], Some(NO_ROUTE)),
    (&["/api/v1/x/../integration/distributors/{id}"], Some(NO_ROUTE)),
    (&["/./api/v1/integration/distributors/{id}"], Some(NO_ROUTE)),
    (&["/%2E/api/v1/integration/distributors/{id}"], Some(NO_ROUTE)),
    (&["/api/v1/integration/distributors/.."], Some(NO_ROUTE)),
    (&["/api/v1/integration/distributors/."], Some(NO_ROUTE)),
    (&["/api/v1/integration/distributors/%2e%2E"], Some(NO_ROUTE)),
    (&["/api/v1/integration/distributors/"], Some(NO_ROUTE)),
    (&["/api/v1/integration/distributors"], Some(NO_ROUTE)),
    (&["api/v1/integration/distributors/{id}"], Some(NO_ROUTE)),
    (&["/xapi/v1/integration/distributors/{id}"], Some(NO_ROUTE)),
    (&["/API/v1/integration/distributors/{id}"], Some(NO_ROUTE)),
    (&["/api/v1/integration/Distributors/{id}"], Some(NO_ROUTE)),
    (&[""], Some(NO_ROUTE)),
    (&["/"], Some(NO_ROUTE)),
    (&["/api/v1/integration/distributors/{id}%00"], Some(INVALID_EVENT)),
    (&["/api/v1/integration/distributors/{id}%0A"], Some(INVALID_EVENT)),
    (&["/%0a/api/v1/integration/distributors/{id}"], Some(INVALID_EVENT)),
    (&["/api/v1/integration/distributors/{id}\n"], Some(INVALID_EVENT)),
];

/// `X-Target-Server`.
pub const TARGETS: [Row; 8] = [
    (&["integration"], None),
    (&["INTEGRation"], None),
    (&[], Some((400, "wrong_target_server"))),
    (&[""], Some((400, "wrong_target_server"))),
    (&["berlin"], Some((400, "wrong_target_server"))),
    (&["integration2"], Some((400, "wrong_target_server"))),
    (&["integration,integration"], Some((400, "wrong_target_server"))),
    (&["inte\u{7f}gration"], Some(INVALID_EVENT)),
];

/// `Content-Type`.
pub const CONTENT_TYPES: [Row; 21] = [
    (&["application/json"], None),
    (&[], None),
    (&["Application/JSON; charset=utf-16; x=\""], None),
    (&["application/json;"], None),
    (&["application/merge-patch+json"], None),
    (&["application/vnd.x+JSON"], None),
    (&["text/x+JSON ;a=b"], None),
    (&[r#"application/json; x="a,b\",c""#], None),
    // A backslash escapes inside of quotes only.
    (&[r#"application/json; x=\"a,b""#], None),
    (&[""], Some(UNSUPPORTED)),
    (&["json"], Some(UNSUPPORTED)),
    (&["application"], Some(UNSUPPORTED)),
    (&["text/json"], Some(UNSUPPORTED)),
    (&["text/plain"], Some(UNSUPPORTED)),
    (&["application/jsonp"], Some(UNSUPPORTED)),
    (&["application/+json"], Some(UNSUPPORTED)),
    (&["application/json+xml"], Some(UNSUPPORTED)),
    (&["application/x-www-form-urlencoded"], Some(UNSUPPORTED)),
    (&["/json"], Some(UNSUPPORTED)),
    (&["a b/c+json"], Some(UNSUPPORTED)),
    (&["application/json\n"], Some(INVALID_EVENT)),
];

/// `Content-Encoding`.
pub const CODINGS: [Row; 8] = [
    (&[], None),
    (&["identity"], None),
    (&["Identity"], None),
    (&[" identity\t"], None),
    (&[""], Some(UNSUPPORTED)),
    (&["gzip"], Some(UNSUPPORTED)),
    (&["br"], Some(UNSUPPORTED)),
    (&["gzip, identity"], Some(UNSUPPORTED)),
];

/// What an `If-Match` comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tags {
    Match,
    Differ,
    Malformed,
}

/// `If-Match`: `{tag}` is the tag of the item, `{99}` as many others.
pub const IF_MATCHES: [(&[&str], Tags); 24] = [
    (&[], Tags::Match),
    (&["*"], Tags::Match),
    (&["{tag}"], Tags::Match),
    (&["\"x\",{tag}"], Tags::Match),
    (&[",, \"x\" ,\t{tag},"], Tags::Match),
    (&["{99},{tag}"], Tags::Match),
    (&["\"2000-01-01T00:00:00.000000Z\""], Tags::Differ),
    (&["\"x\""], Tags::Differ),
    (&["\"\""], Tags::Differ),
    (&["\"\u{e4}!#\""], Tags::Differ),
    (&["W/{tag}"], Tags::Differ),
    (&["{100}"], Tags::Differ),
    (&["{100},{tag}"], Tags::Malformed),
    (&["{100},W/{tag}"], Tags::Malformed),
    (&[""], Tags::Malformed),
    (&[" , "], Tags::Malformed),
    (&["2000-01-01T00:00:00.000000Z"], Tags::Malformed),
    (&["*,{tag}"], Tags::Malformed),
    (&["\"a b\""], Tags::Malformed),
    (&["\"x"], Tags::Malformed),
    (&["\"x\"y"], Tags::Malformed),
    (&["\"x\" \"y\""], Tags::Malformed),
    (&["w/{tag}"], Tags::Malformed),
    (&["W/ {tag}"], Tags::Malformed),
];

/// Returns `If-Match` as it is sent, where the item's version is this.
pub fn if_match(row: &str, current: &str) -> String {
    let others = |count: usize| vec!["\"x\""; count].join(",");
    row.replace("{tag}", &format!("\"{current}\"")).replace("{99}", &others(99)).replace("{100}", &others(100))
}

/// Returns a path as it is sent, for the distributor of this id.
pub fn path(row: &str, id: &str) -> String {
    let path = row.replace("{id}", id).replace("{ID}", &id.to_uppercase()).replace("{simple}", &id.replace('-', ""));
    path.replace("{%id}", &id.replace('-', "%2D")).replace("{%%id}", &id.replace('-', "%252d"))
}

/// Tokens by what is wrong with them; who signs them knows how to make them so.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Token {
    Good,
    Absent,
    Basic,
    Garbage,
    Expired,
    Forged,
    NoNode,
    Twice,
}

impl Token {
    pub const ALL: [Self; 8] =
        [Self::Good, Self::Absent, Self::Basic, Self::Garbage, Self::Expired, Self::Forged, Self::NoNode, Self::Twice];

    fn problem(self, front_end: FrontEnd) -> Option<Problem> {
        match self {
            Self::Good => None,
            Self::Absent | Self::Basic => Some((401, "missing_token")),
            Self::NoNode => Some((403, "node_claim_missing")),
            // Of two headers, this front end hides one.
            Self::Twice if front_end == FrontEnd::LoadBalancer => None,
            Self::Garbage | Self::Expired | Self::Forged | Self::Twice => Some(INVALID_TOKEN),
        }
    }
}

/// The form of the body in the event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    Text,
    Base64,
    /// Filled up with spaces to the longest that is allowed.
    Longest,
    TooLong,
    FlagOfAnotherType,
    NotBase64,
    Absent,
    Cut,
    NotUtf8,
    Bom,
    TwoBoms,
}

impl Form {
    pub const ALL: [Self; 11] = [
        Self::Text,
        Self::Base64,
        Self::Longest,
        Self::TooLong,
        Self::FlagOfAnotherType,
        Self::NotBase64,
        Self::Absent,
        Self::Cut,
        Self::NotUtf8,
        Self::Bom,
        Self::TwoBoms,
    ];

    fn problem(self) -> Option<Problem> {
        match self {
            Self::Text | Self::Base64 | Self::Longest | Self::Bom => None,
            Self::TooLong => Some((413, "body_too_large")),
            Self::FlagOfAnotherType | Self::NotBase64 => Some(INVALID_EVENT),
            Self::Absent | Self::Cut | Self::NotUtf8 | Self::TwoBoms => Some((400, "malformed_json")),
        }
    }
}

/// A member of an object: its name, its value as JSON, and whether that is right.
pub type Leaf = (&'static str, &'static str, bool);

pub const HOSTS: [Leaf; 6] = [
    ("host", r#""https://example.com""#, true),
    ("host", r#""http://93.184.215.14:8080/""#, true),
    ("host", r#""http://localhost""#, false),
    ("host", r#""https://example.com/path""#, false),
    ("host", "null", true),
    ("host", "7", false),
];
pub const HOOK_PATHS: [Leaf; 5] = [
    ("path", r#""/webhook""#, true),
    ("path", r#""/a?b=%20""#, true),
    ("path", r#""webhook""#, false),
    ("path", r#""/a/../b""#, false),
    ("path", "{}", false),
];
pub const HOOK_METHODS: [Leaf; 9] = [
    ("method", "1", true),
    ("method", "5", true),
    ("method", r#""PATCH""#, true),
    ("method", "0", false),
    ("method", "6", false),
    ("method", "1.5", false),
    ("method", "2.0", true),
    ("method", r#""get""#, false),
    ("method", "null", true),
];
pub const TYPES: [Leaf; 5] =
    [("type", "1", true), ("type", "2", true), ("type", "3", false), ("type", "1.5", false), ("type", "\"1\"", false)];
/// The second is right unless the type is 1.
pub const USERNAMES: [Leaf; 4] = [
    ("username", r#""user""#, true),
    ("username", r#""a:b""#, true),
    ("username", r#""a\nb""#, false),
    ("username", "[]", false),
];
pub const PASSWORDS: [Leaf; 3] =
    [("password", r#""pass""#, true), ("password", r#""""#, true), ("password", "null", true)];
pub const TOKENS: [Leaf; 3] = [("token", r#""t""#, true), ("token", r#""\u0085""#, false), ("token", "1", false)];
pub const UNKNOWN: [Leaf; 3] = [("x", "1", false), ("a/b~c", "null", false), ("", "{}", false)];
pub const READ_ONLY: [Leaf; 4] = [
    ("id", "7", true),
    ("node_id", r#""x""#, true),
    ("created_at", "null", true),
    ("updated_at", r#"{"a":[1e9]}"#, true),
];

#[derive(Clone, Debug)]
pub enum Member {
    Leaf(Leaf),
    /// `authentication`
    Object(Vec<Leaf>),
    /// `authentication`, of another type.
    NoObject,
}

#[derive(Clone, Debug)]
pub enum Meta {
    Absent,
    Null,
    NoObject,
    Object(Vec<Member>),
    /// The body is what was last answered with 200.
    SentBack,
}

#[derive(Clone, Debug)]
pub struct Body {
    pub form: Form,
    pub before: Vec<Leaf>,
    pub meta: Meta,
    pub after: Vec<Leaf>,
}

#[derive(Debug)]
enum Change {
    Keep,
    Remove,
    Set(Value),
}

impl Body {
    pub fn text(&self, last: Option<&Value>) -> String {
        let leaf = |(name, value, _): &Leaf| format!("{}:{value}", json!(name));
        let meta = match &self.meta {
            Meta::SentBack => return last.map_or("{}".to_owned(), Value::to_string),
            Meta::Absent => None,
            Meta::Null => Some("null".to_owned()),
            Meta::NoObject => Some("[{}]".to_owned()),
            Meta::Object(members) => {
                let members = members.iter().map(|member| match member {
                    Member::Leaf(member) => leaf(member),
                    Member::Object(members) => {
                        format!("\"authentication\":{{{}}}", members.iter().map(leaf).collect::<Vec<_>>().join(","))
                    }
                    Member::NoObject => "\"authentication\":\"x\"".to_owned(),
                });
                Some(format!("{{{}}}", members.collect::<Vec<_>>().join(" , ")))
            }
        };
        let before = self.before.iter().map(leaf);
        let after = self.after.iter().map(leaf);
        let members = before.chain(meta.map(|meta| format!("\"meta\": {meta}"))).chain(after);
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }

    /// What is to be stored, or where the faults are.
    fn change(&self, last: Option<&Value>) -> Result<Change, Vec<String>> {
        let mut faults = Vec::new();
        let mut missing = Vec::new();
        let mut fault = |parent: &str, (name, _, right): &Leaf| {
            if !right {
                faults.push(format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1")));
            }
        };
        let mut change = Change::Keep;
        self.before.iter().for_each(|leaf| fault("", leaf));
        match &self.meta {
            Meta::SentBack => {
                return Ok(match last.map(|last| &last["meta"]) {
                    None => Change::Keep,
                    Some(Value::Null) => Change::Remove,
                    Some(meta) => Change::Set(stored(meta.clone())),
                });
            }
            Meta::Absent => {}
            Meta::Null => change = Change::Remove,
            Meta::NoObject => fault("", &("meta", "", false)),
            Meta::Object(members) => {
                let mut meta = Map::new();
                for member in members {
                    match member {
                        Member::Leaf(leaf) => {
                            fault("/meta", leaf);
                            // What is null counts as left out.
                            if leaf.1 != "null" {
                                meta.insert(leaf.0.to_owned(), serde_json::from_str(leaf.1).unwrap());
                            }
                        }
                        Member::NoObject => fault("/meta", &("authentication", "", false)),
                        Member::Object(members) => {
                            let basic = members.iter().any(|(name, value, _)| *name == "type" && *value == "1");
                            for leaf in members {
                                let colon = basic && leaf.0 == "username" && leaf.1.contains(':');
                                fault("/meta/authentication", &(leaf.0, leaf.1, leaf.2 && !colon));
                            }
                            for required in ["username", "password"] {
                                if basic && members.iter().all(|(name, value, _)| *name != required || *value == "null")
                                {
                                    missing.push(format!("/meta/authentication/{required}"));
                                }
                            }
                            let object: Map<_, _> = members
                                .iter()
                                .filter(|(_, value, _)| *value != "null")
                                .map(|(name, value, _)| ((*name).to_owned(), serde_json::from_str(value).unwrap()))
                                .collect();
                            meta.insert("authentication".to_owned(), object.into());
                        }
                    }
                }
                change = Change::Set(stored(meta.into()));
            }
        }
        self.after.iter().for_each(|leaf| fault("", leaf));
        faults.append(&mut missing);
        if faults.is_empty() { Ok(change) } else { Err(faults) }
    }
}

const METHOD_NAMES: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// `meta` as it is stored: the method is a number.
fn stored(mut meta: Value) -> Value {
    if let Some(method) = meta.get_mut("method") {
        // By its name, or by its number in any spelling.
        let number = |index: usize| method.as_f64() == u32::try_from(index + 1).map(f64::from).ok();
        if let Some(index) = (0..5).find(|index| method == METHOD_NAMES[*index] || number(*index)) {
            *method = json!(index + 1);
        }
    }
    meta
}

/// `meta` as it is answered: the method is a name.
fn answered(mut meta: Value) -> Value {
    if let Some(method) = meta.get_mut("method") {
        *method = json!(METHOD_NAMES[usize::try_from(method.as_u64().unwrap()).unwrap() - 1]);
    }
    meta
}

/// One request, as it was drawn.
#[derive(Clone, Debug)]
pub struct Draw {
    pub front_end: FrontEnd,
    /// Whose token, and which distributor: those of the same number belong together, and the third is absent.
    pub caller: usize,
    pub distributor: usize,
    pub method: Row,
    pub path: Row,
    pub token: Token,
    pub target: Row,
    pub if_match: (&'static [&'static str], Tags),
    pub content_type: Row,
    pub coding: Row,
    pub body: Body,
}

/// An item as it is stored; its times are texts, and a time that is not known yet is [`NOW`].
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub owner: usize,
    pub updated_at: String,
    pub meta: Option<Value>,
}

/// Represents the time at which a request was handled.
pub const NOW: &str = "NOW";

/// What must come out.
#[derive(Debug, PartialEq)]
pub enum Response {
    /// 200 with this `meta` and `updated_at`.
    Distributor { meta: Value, updated_at: String },
    /// A problem, with the pointers of its errors and the version that its `ETag` names.
    Problem { problem: Problem, pointers: Vec<String>, version: Option<String> },
}

/// The response to a request, and the item after it; `last` is what was last answered with 200.
pub fn response(draw: &Draw, item: &mut Option<Item>, last: Option<&Value>) -> Response {
    let problem = |problem| Response::Problem { problem, pointers: Vec::new(), version: None };
    // The checks, in their order; a part can fail the first of them, and one other.
    let parts = [draw.method.1, draw.path.1, draw.target.1, draw.content_type.1];
    let checks = [
        parts.into_iter().flatten().find(|found| *found == INVALID_EVENT),
        draw.path.1.filter(|(status, _)| *status == 404),
        draw.method.1,
        draw.token.problem(draw.front_end),
        draw.target.1,
        draw.path.1,
        (draw.if_match.1 == Tags::Malformed).then_some((400, "invalid_if_match")),
        draw.content_type.1,
        draw.coding.1,
        draw.body.form.problem(),
    ];
    if let Some(found) = checks.into_iter().flatten().next() {
        return problem(found);
    }
    let change = match draw.body.change(last) {
        Ok(change) => change,
        Err(pointers) => return Response::Problem { problem: (422, "invalid_body"), pointers, version: None },
    };
    update(draw, &change, item)
}

/// The one conditional call.
fn update(draw: &Draw, change: &Change, item: &mut Option<Item>) -> Response {
    let problem = |problem, version| Response::Problem { problem, pointers: Vec::new(), version };
    let Some(item) = item.as_mut().filter(|item| item.owner == draw.caller) else {
        return problem((404, "distributor_not_found"), None);
    };
    let wanted = match change {
        Change::Keep => None,
        Change::Remove => Some(None),
        Change::Set(meta) => Some(Some(meta.clone())),
    };
    // What this request has written itself is no reason to refuse it.
    let matches = draw.if_match.1 == Tags::Match && item.updated_at != NOW;
    match wanted {
        Some(wanted) if matches => {
            item.meta = wanted;
            NOW.clone_into(&mut item.updated_at);
        }
        // It has been applied already, by this request or by another that asked for the same.
        Some(wanted) if wanted == item.meta => {}
        None if matches => {}
        _ => return problem((412, "precondition_failed"), Some(item.updated_at.clone())),
    }
    let meta = item.meta.clone().map_or(Value::Null, answered);
    Response::Distributor { meta, updated_at: item.updated_at.clone() }
}
