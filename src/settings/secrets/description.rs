//! How a secret is told among an organization's settings.

use crate::event::ResourceType;
use crate::history::description::{Description, Field, Subject, fields};
use crate::settings::secrets::described::Described;
use crate::settings::secrets::projection::Secret;

/// Tells a secret, its value by where that was first written alone.
pub(super) fn describe(secret: &Secret, into: &mut Description) {
    let environment = secret.scope.environment();
    let text = |value: &dyn ToString| Field::from(value.to_string().as_str());
    let modes: Vec<&str> = secret.modes.iter().map(|mode| mode.name()).collect();
    let told = fields([
        ("name", Some(secret.name.as_str().into())),
        ("environment", environment.map(|environment| text(&environment))),
        ("customer", secret.scope.customer().map(|customer| text(&customer))),
        ("modes", (!modes.is_empty()).then(|| Field::Open(modes.into()))),
        ("description", secret.description.as_ref().map(Into::into)),
        ("expires_at", secret.expires_at.map(|at| text(&at))),
        ("value", secret.current_origin().map(Field::Secret)),
    ]);
    into.insert(Subject::new(ResourceType::Secret, secret.id).within(environment), told);
}

impl From<&Described> for Field {
    fn from(described: &Described) -> Self {
        match described {
            Described::Open(text) => text.as_str().into(),
            Described::Sealed(sealed) => sealed.into(),
        }
    }
}
