//! Rows as events of the Open Cybersecurity Schema Framework, for whoever gathers the events of many systems.
//!
//! Logins and logouts are of the class Authentication (3002), all else is Entity Management (3004), both of the category
//! Identity & Access Management; `docs/ocsf.md` has the mapping, field by field.

use serde_json::{Map, Value, json};

use crate::actor::ActorKind;
use crate::audit::row::Row;
use crate::event::Outcome;

/// The version of the schema.
const VERSION: &str = "1.3.0";
const CATEGORY: u32 = 3;
const AUTHENTICATION: (u32, &str) = (3002, "Authentication");
const ENTITY_MANAGEMENT: (u32, &str) = (3004, "Entity Management");
/// An activity that the class has no number for; its name is the action.
const OTHER: u32 = 99;

/// A row as an event.
pub fn event(row: &Row) -> Value {
    let (class_uid, class_name) = class(&row.action);
    let activity = activity(&row.action);
    let (status_id, severity_id) = if row.outcome == Outcome::Success { (1, 1) } else { (2, 2) };
    let mut event = json!({
        "activity_id": activity,
        "activity_name": row.action,
        "category_uid": CATEGORY,
        "class_uid": class_uid,
        "class_name": class_name,
        "type_uid": class_uid * 100 + activity,
        "time": row.timestamp.micros() / 1_000,
        "severity_id": severity_id,
        "status_id": status_id,
        "status_detail": row.outcome.name(),
        "metadata": {
            "version": VERSION,
            "product": {
                "name": "Settled",
                "vendor_name": "Settled",
                "version": env!("CARGO_PKG_VERSION"),
            },
            "uid": row.id,
            "sequence": row.version,
            "event_code": row.action,
            "original_time": row.timestamp,
        },
        "actor": {"user": user(row)},
    });
    let more = event.as_object_mut().expect("it is an object, as written above");
    if class_uid == AUTHENTICATION.0 {
        more.insert("user".to_owned(), user(row));
        more.insert("service".to_owned(), json!({"name": "Settled"}));
    } else {
        more.insert("entity".to_owned(), entity(row));
    }
    more.extend(row.count.map(|count| ("count".to_owned(), count.into())));
    more.extend(row.reason.as_deref().map(|reason| ("comment".to_owned(), reason.into())));
    more.extend(row.ip.as_deref().map(|ip| ("src_endpoint".to_owned(), json!({"ip": ip}))));
    event
}

fn class(action: &str) -> (u32, &'static str) {
    match action {
        "auth.login" | "auth.logout" => AUTHENTICATION,
        _ => ENTITY_MANAGEMENT,
    }
}

/// The number of an action's activity in its class.
fn activity(action: &str) -> u32 {
    match action {
        // Of Authentication: logon and logoff.
        "auth.login" => return 1,
        "auth.logout" => return 2,
        _ => {}
    }
    match action.rsplit_once('.').map_or(action, |(_, verb)| verb) {
        "create" | "join" | "add_member" => 1,
        "read" | "reveal" | "export" | "use" => 2,
        "update" | "set" | "set_quota" | "set_customer_limit" | "rotate" | "rollback" | "undelete"
        | "suspend" | "reactivate" | "promote" | "restore" | "change_email" | "change_password"
        | "reset_password" | "change_plan" | "verify_domain" | "lapse_domain" => 3,
        "delete" | "destroy" | "destroy_version" | "remove" | "remove_member" | "revoke" | "erase" => 4,
        _ => OTHER,
    }
}

fn user(row: &Row) -> Value {
    let (type_id, kind) = match row.user.kind {
        ActorKind::Person | ActorKind::Account => (1, "User"),
        ActorKind::Operator => (2, "Admin"),
        ActorKind::System => (3, "System"),
        ActorKind::ApiKey => (OTHER, "API key"),
    };
    named(json!({"uid": row.user.id, "type_id": type_id, "type": kind}), row.user.name.as_deref())
}

fn entity(row: &Row) -> Value {
    let entity = json!({"uid": row.resource.id, "type": row.resource.kind.name()});
    named(entity, row.resource.name.as_deref())
}

fn named(mut value: Value, name: Option<&str>) -> Value {
    let name = name.map(|name| ("name".to_owned(), Value::from(name)));
    value.as_object_mut().unwrap_or(&mut Map::new()).extend(name);
    value
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::event::Event;

    /// Every action by its type: its class and its activity. A new one is looked at here, and given its place.
    const TYPES: [(u32, &str); 7] = [
        (300201, "auth.login"),
        (300202, "auth.logout"),
        (
            300401,
            "api_key.create connection.create customer.create environment.create invitation.create \
             join_request.create oauth_app.create organization.create person.join role.create \
             role_assignment.create secret.create signing_key.create snapshot.create team.add_member team.create",
        ),
        (300402, "api_key.use audit.export secret.read secret.reveal"),
        (
            300403,
            "api_key.rotate api_key.update auth.change_email auth.change_password auth.reset_password \
             billing.change_plan billing.set_customer_limit billing.set_quota config.set connection.update \
             customer.reactivate customer.suspend customer.update customer_data.set encryption_key.rotate \
             environment.promote environment.update managed_oauth_app.set oauth_app.update \
             organization.lapse_domain organization.restore organization.set_quota organization.update \
             organization.verify_domain person.change_email person.reactivate person.suspend person.update \
             plan.set role.update secret.rollback secret.undelete secret.update signing_key.rotate store.restore \
             team.update",
        ),
        (
            300404,
            "account.delete api_key.revoke config.delete connection.revoke customer.delete customer.erase \
             customer_data.delete environment.delete invitation.revoke managed_oauth_app.delete oauth_app.delete \
             organization.delete person.erase person.remove role.delete role_assignment.delete secret.delete \
             secret.destroy secret.destroy_version session.revoke team.delete team.remove_member",
        ),
        (
            300499,
            "auth.signup auth.switch auth.verify_email billing.alert billing.usage clock.accept \
             connection.connect connection.reconnect connection.refresh credential.token_refresh deletion.close \
             email_change.close email_change.request execution.finish execution.start founding.close founding.open \
             invitation.accept invitation.decline invitation.expire invitation.resend join_request.approve \
             join_request.decline membership.close membership.end membership.open organization.check_domain \
             organization.end organization.forget password_reset.request secret.expire signup.expire \
             snapshot.drill snapshot.verify",
        ),
    ];

    #[test]
    fn every_action_has_the_type_that_it_was_given() {
        let mut types = BTreeMap::<u32, BTreeSet<&str>>::new();
        for spec in Event::actions() {
            let (class, _) = class(spec.action);
            types.entry(class * 100 + activity(spec.action)).or_default().insert(spec.action);
        }
        let given = TYPES.map(|(number, actions)| (number, actions.split(' ').collect::<BTreeSet<_>>()));
        assert_eq!(types, BTreeMap::from(given));
    }
}
