//! Carrying a configuration value over from one environment to another.

use crate::command::{Need, NewEvent};
use crate::event::{Resource, ResourceType};
use crate::history::description::{Change, Difference, FieldChange, Subject};
use crate::history::restore::plan::Step;
use crate::settings::environments::event::{ConfigSet, EnvironmentsEvent};
use crate::settings::environments::projection::{ConfigValue, Environment};
use crate::settings::environments::value::ConfigKey;
use crate::settings::roles::permission::Permission;

/// The step that sets a value in an environment as it is in another; `None` where it is the same there already.
pub fn copy(key: &ConfigKey, value: &ConfigValue, to: &Environment) -> Option<Step> {
    let there = to.config.get(key.as_str());
    if there.is_some_and(|there| there.value == value.value) {
        return None;
    }
    let set = ConfigSet { environment: to.id, key: key.to_string(), value: value.value.to_string() };
    let event = NewEvent::new(
        Resource::named(ResourceType::Config, to.id, key.as_str()),
        EnvironmentsEvent::ConfigSet(set),
    );
    let change = FieldChange { field: "value", from: there.map(ConfigValue::field), to: Some(value.field()) };
    let difference = Difference {
        subject: Subject::named(ResourceType::Config, to.id, key.as_str()),
        change: if there.is_some() { Change::Updated } else { Change::Created },
        fields: vec![change],
        shown: Some(key.to_string()),
    };
    Some(Step::new(&difference, event, Need::Environment(Permission::ConfigWrite, to.id)))
}
