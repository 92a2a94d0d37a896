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
        "update" | "set" | "rotate" | "rollback" | "undelete" | "suspend" | "reactivate" | "promote"
        | "restore" | "change_email" | "change_password" => 3,
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
    use super::*;
    use crate::event::Event;

    #[test]
    fn every_action_has_a_class_and_an_activity_of_it() {
        for spec in Event::actions() {
            let (class, _) = class(spec.action);
            let allowed: &[u32] = if class == AUTHENTICATION.0 { &[1, 2] } else { &[1, 2, 3, 4, OTHER] };
            assert!(allowed.contains(&activity(spec.action)), "{}", spec.action);
        }
        assert_eq!((activity("secret.create"), activity("config.set")), (1, 3));
        assert_eq!((activity("secret.destroy_version"), activity("encryption_key.rotate")), (4, 3));
        assert_eq!(activity("clock.accept"), OTHER);
    }
}
