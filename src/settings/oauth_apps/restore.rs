//! Bringing OAuth apps back. A secret comes back with the URLs that it was for, sealed anew by whoever restores.

use crate::command::Need;
use crate::history::description::Difference;
use crate::history::restore::plan::{Copied, CopiedFrom, Outlook, Phase, Plan, Step};
use crate::ids::OauthAppId;
use crate::settings::oauth_apps::command::{OAUTH_APPS_MAX, about};
use crate::settings::oauth_apps::event::{OauthAppCreated, OauthAppDeleted, OauthAppUpdated, OauthAppsEvent};
use crate::settings::oauth_apps::projection::OauthApp;
use crate::settings::roles::permission::Permission;

/// What each step stands for.
const NEED: Need = Need::Organization(Permission::OauthAppManage);

/// Plans the steps that make differences go. An app that went comes back under its id.
pub(super) fn restore(differences: &[Difference], outlook: &Outlook<'_>, plan: &mut Plan) {
    for difference in differences {
        let Ok(id) = difference.subject.id.parse::<OauthAppId>() else { continue };
        match (outlook.past.oauth_apps.get(id), outlook.present.oauth_apps.get(id)) {
            (None, Some(_)) if outlook.present.connections.use_app(id) => plan.cannot(difference, "in_use"),
            (None, Some(present)) => {
                let deleted = OauthAppsEvent::OauthAppDeleted(OauthAppDeleted { app: id });
                let step = Step::new(difference, about(id, &present.name, deleted), NEED);
                plan.step(Phase::Deletes, step);
            }
            (Some(past), None) => {
                // Where all come back, they fit as they did then.
                if !outlook.whole && outlook.present.oauth_apps.count() >= OAUTH_APPS_MAX {
                    plan.cannot(difference, "too_many_oauth_apps");
                    continue;
                }
                let number = outlook.present.oauth_apps.next_credentials(id);
                let created = OauthAppsEvent::OauthAppCreated(created(past, number));
                let step = Step::new(difference, about(id, &past.name, created), NEED);
                plan.step(Phase::Creates, step.copying(copied(past)));
            }
            (Some(past), Some(present)) => {
                let updated = updated(past, present);
                let copies = updated.client_secret.is_some();
                let step = Step::new(
                    difference,
                    about(id, &past.name, OauthAppsEvent::OauthAppUpdated(updated)),
                    NEED,
                );
                plan.step(Phase::Updates, if copies { step.copying(copied(past)) } else { step });
            }
            (None, None) => {}
        }
    }
}

fn copied(past: &OauthApp) -> Copied {
    Copied { from: CopiedFrom::OauthApp(past.id), commitment: past.client_secret.commitment }
}

fn created(past: &OauthApp, credentials_version: u64) -> OauthAppCreated {
    let secret = &past.client_secret;
    OauthAppCreated {
        app: past.id,
        provider: past.provider.clone(),
        name: past.name.clone(),
        client_id: past.client_id.clone(),
        credentials_version,
        client_secret: (*secret.sealed).clone(),
        scopes: past.scopes.clone(),
        urls: past.urls.clone(),
        client_authentication: past.client_authentication,
        pkce: past.pkce,
        copied_from: Some(secret.origin),
    }
}

fn updated(past: &OauthApp, present: &OauthApp) -> OauthAppUpdated {
    // A URL comes back with the secret that was for it, never with another.
    let is_other = past.client_secret.origin != present.client_secret.origin || past.urls != present.urls;
    let secret = Some(&past.client_secret).filter(|_| is_other);
    let differs = |same: bool| (!same).then_some(());
    OauthAppUpdated {
        app: past.id,
        name: differs(past.name == present.name).map(|()| past.name.clone()),
        client_id: differs(past.client_id == present.client_id).map(|()| past.client_id.clone()),
        credentials_version: secret.map(|_| present.client_secret.credentials_version + 1),
        client_secret: secret.map(|secret| (*secret.sealed).clone()),
        scopes: differs(past.scopes == present.scopes).map(|()| past.scopes.clone()),
        urls: past.urls.clone().filter(|_| past.urls != present.urls),
        client_authentication: past
            .client_authentication
            .filter(|_| past.client_authentication != present.client_authentication),
        pkce: past.pkce.filter(|_| past.pkce != present.pkce),
        copied_from: secret.map(|secret| secret.origin),
    }
}
