//! A set, a round trip of the response, a remove, a read and a 422 by the generated client.

use std::env;

use openapi::apis::Error;
use openapi::apis::configuration::Configuration;
use openapi::apis::distributors_api::{UpdateDistributorError, update_distributor};
use openapi::models::{
    Authentication, Distributor, Meta, MetaMethod, StoredAuthenticationType, StoredMetaMethod, Update, authentication,
};

const ID: &str = "39e8003c-6342-4fd3-97a1-3f2a7b437d0a";

struct Caller(Configuration);

impl Caller {
    async fn update(&self, body: Update, if_match: Option<&str>) -> Result<Distributor, Error<UpdateDistributorError>> {
        update_distributor(&self.0, ID, "integration", body, if_match).await
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let configuration = Configuration {
        base_path: env::var("URL").unwrap(),
        bearer_access_token: env::var("TOKEN").ok(),
        ..Configuration::default()
    };
    let caller = Caller(configuration);

    let authentication = Authentication {
        r#type: Some(Some(authentication::Type::Basic)),
        username: Some(Some("user".to_owned())),
        password: Some(Some("pass".to_owned())),
        token: None,
    };
    let meta = Meta {
        host: Some(Some("https://example.com222".to_owned())),
        path: Some(Some("/webhook".to_owned())),
        method: Some(Some(Box::new(MetaMethod::Integer(2)))),
        authentication: Some(Some(Box::new(authentication))),
    };
    let set = caller.update(Update { meta: Some(Some(Box::new(meta))), ..Update::new() }, None).await.unwrap();
    let stored = set.meta.as_ref().unwrap();
    assert_eq!(stored.method.as_deref(), Some(&StoredMetaMethod::String("POST".to_owned())));
    let r#type = stored.authentication.as_ref().unwrap().r#type.as_deref();
    assert_eq!(r#type, Some(&StoredAuthenticationType::Integer(1)));
    println!("set");

    let sent_back = serde_json::from_value(serde_json::to_value(&set).unwrap()).unwrap();
    let again = caller.update(sent_back, None).await.unwrap();
    assert!(again.meta == set.meta && again.updated_at > set.updated_at, "{again:?}");
    println!("round-trip");

    let tag = format!("\"{}\"", again.updated_at.as_ref().unwrap());
    let removed = caller.update(Update { meta: Some(None), ..Update::new() }, Some(&tag)).await.unwrap();
    assert!(removed.meta.is_none() && removed.updated_at > again.updated_at, "{removed:?}");
    println!("remove");

    assert_eq!(caller.update(Update::new(), None).await.unwrap(), removed);
    println!("read");

    let private = Meta { host: Some(Some("http://localhost".to_owned())), path: Some(Some("/".to_owned())), ..Meta::new() };
    let refused = caller.update(Update { meta: Some(Some(Box::new(private))), ..Update::new() }, None).await;
    let Err(Error::ResponseError(response)) = refused else { panic!("{refused:?}") };
    let problem: openapi::models::InvalidBody = serde_json::from_str(&response.content).unwrap();
    let pointers: Vec<_> = problem.errors.iter().flatten().map(|each| each.pointer.as_str()).collect();
    assert_eq!((problem.code, pointers), (openapi::models::invalid_body::Code::InvalidBody, vec!["/meta/host"]));
    println!("{}", response.status.as_u16());
}
