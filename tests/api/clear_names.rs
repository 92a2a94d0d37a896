//! Documents and executions that were recorded before their names were sealed: they are there by those names, and stay so.

use serde_json::{Value, json};
use settled::actor::Actor;
use settled::command::{Need, NewEvent};
use settled::event::{Resource, ResourceType};
use settled::history::description::{Change, Difference, Subject};
use settled::history::restore::command::RestoreSettings;
use settled::history::restore::plan::Step;
use settled::ids::{CustomerId, EnvironmentId, ExecutionId, Fresh};
use settled::seal::Plain;
use settled::settings::customer_data::event::{Content, CustomerDataEvent, DocumentSet};
use settled::settings::customer_data::{field, value_path};
use settled::settings::executions::event::{ExecutionStarted, ExecutionsEvent};
use settled::settings::roles::permission::Permission;
use settled::store::Submission;

use crate::roles::ids;
use crate::server::{Somebody, TestServer, text};

/// The key of a document that was recorded with it.
const KEY: &str = "a-key-of-before";

impl TestServer {
    /// Appends events as they are read where they were recorded under schema 1.
    async fn records(&self, owner: &Somebody, events: Vec<NewEvent>) {
        let handle = self.handle(owner.organization);
        let view = handle.view();
        let step = |event: NewEvent| {
            let subject = Subject::new(event.resource.kind, &event.resource.id);
            let difference = Difference { subject, change: Change::Created, fields: Vec::new(), shown: None };
            Step::new(&difference, event, Need::Organization(Permission::CustomerDataWrite))
        };
        let nothing = RestoreSettings::of_nothing(view.version(), view.organization().revision.version());
        let command = RestoreSettings { steps: events.into_iter().map(step).collect(), ..nothing };
        self.app().store.execute(&handle, Submission::new(command, Actor::OPERATOR)).await.unwrap();
    }

    /// A document whose key stands in the clear.
    fn clear_document(&self, owner: &Somebody, customer: CustomerId, key: &str) -> NewEvent {
        let handle = self.handle(owner.organization);
        let under = self.app().store.key_of_customer(&handle, customer).unwrap().unwrap();
        let (place, path) = (customer.to_string(), value_path(key));
        let value = under.seal(&field(handle.stream(), &place, &path), &Plain::from("\"of before\""));
        let content = Content::Value(value);
        let set = DocumentSet { customer, document: key.to_owned(), key: None, content };
        let resource = Resource::named(ResourceType::CustomerData, customer, key);
        NewEvent::new(resource, CustomerDataEvent::DocumentSet(set))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_with_its_key_in_the_clear_is_there_by_it_until_it_is_deleted() {
    let (server, owner) = TestServer::set_up().await;
    let customer = server.customer(&owner, &json!({"name": "A"})).await;
    let path = format!("/v1/customers/{customer}/data");
    server.put(&format!("{path}/new"), &owner, &json!({"value": 1})).await.is(201);
    server.records(&owner, vec![server.clear_document(&owner, customer.parse().unwrap(), KEY)]).await;
    let then = server.version(owner.organization);
    let old = format!("{path}/{KEY}");
    assert_eq!(server.get(&old, &owner).await.is(200).json()["value"], "of before");
    server.put(&old, &owner, &json!({"value": "written"})).await.is(200);
    assert_eq!(server.get(&old, &owner).await.is(200).json()["value"], "written");
    assert_eq!(server.get(&format!("{old}?as_of={then}"), &owner).await.is(200).json()["value"], "of before");
    let keys = server.get(&path, &owner).await.is(200).json();
    let keys: Vec<String> = keys["data"].as_array().unwrap().iter().map(|row| text(&row["key"])).collect();
    assert_eq!(keys, [KEY, "new"]);
    let history = server.get(&format!("/v1/history/{customer}?name={KEY}"), &owner).await.is(200).json();
    assert_eq!(history["data"].as_array().map(Vec::len), Some(2));
    let rows = server.audit(&owner, &format!("&resource={customer}/{KEY}")).await;
    assert!(rows.len() == 2 && rows.iter().all(|row| row["resource"]["name"] == KEY), "{rows:?}");
    let restored = server.restored(&owner, then, &json!({"resource": format!("{customer}/{KEY}")})).await;
    assert_eq!(restored["steps"][0]["resource"]["name"], KEY);
    assert_eq!(server.get(&old, &owner).await.is(200).json()["value"], "of before");
    // Once it is deleted, its key is recorded as every other.
    server.delete(&old, &owner).await.is(204);
    server.get(&old, &owner).await.is_problem(404, "not_found");
    let after = server.version(owner.organization);
    server.put(&old, &owner, &json!({"value": 1})).await.is(201);
    let events = server.get(&format!("/v1/events?after={after}"), &owner).await.is(200);
    assert!(events.text.contains("customer_data.set") && !events.text.contains(KEY), "{}", events.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_with_its_workflow_in_the_clear_is_of_that_workflow() {
    let (server, owner) = TestServer::set_up().await;
    let environment = server.environment(&owner, "Dev", "test").await;
    let customer = server.customer(&owner, &json!({"name": "A"})).await;
    let (execution, of): (ExecutionId, EnvironmentId) = (Fresh.id(), environment.parse().unwrap());
    let started = ExecutionStarted {
        execution,
        customer: customer.parse().unwrap(),
        environment: of,
        workflow_id: "sync".to_owned(),
        workflow: None,
        trigger: None,
        period: None,
    };
    let resource = Resource::named(ResourceType::Execution, execution, "sync");
    let event = NewEvent::new(resource, ExecutionsEvent::ExecutionStarted(started));
    server.records(&owner, vec![event.relating(&environment).relating(&customer)]).await;
    let new = server.execution(&owner, &customer, "sync").await;
    server.execution(&owner, &customer, "other").await;
    let path = format!("/v1/customers/{customer}/executions");
    let listed = server.get(&format!("{path}?workflow=sync"), &owner).await.is(200).json();
    assert_eq!(ids(&listed), [execution.to_string(), new]);
    let finish = format!("{path}/{execution}/finish");
    let ended = server.post(&finish, Some(&owner), &json!({"status": "succeeded"})).await.is(200).json();
    assert_eq!(ended["workflow"], "sync");
    let rows: Vec<Value> = server.audit(&owner, &format!("&resource={execution}")).await;
    assert!(rows.len() == 2 && rows.iter().all(|row| row["resource"]["name"] == "sync"), "{rows:?}");
}
