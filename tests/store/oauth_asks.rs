//! What random histories ask of OAuth apps.

use proptest::prelude::*;
use proptest::sample::Index;
use settled::actor::Actor;
use settled::ids::{Fresh, OauthAppId, OrganizationId, StreamId};
use settled::oauth::provider::ClientAuthentication;
use settled::seal::Plain;
use settled::settings::oauth_apps::client_secret_field;
use settled::settings::oauth_apps::command::{CreateOauthApp, OauthAppsCommand, UpdateOauthApp, UrlsPatch};
use settled::settings::oauth_apps::event::CustomUrls;
use settled::settings::oauth_apps::value::{ClientId, ProviderName};
use settled::store::Submission;
use settled::text::Name;

use crate::histories::chosen;
use crate::test_store::TestStore;

/// What is asked for. Indices choose among the apps that earlier steps tried to make.
#[derive(Clone, Debug)]
pub enum OauthAsk {
    Create { custom: bool },
    Update { which: Index, renames: bool, moves: bool, secret: bool },
    Delete(Index),
}

pub fn oauth_ask() -> impl Strategy<Value = OauthAsk> {
    let index = any::<Index>;
    prop_oneof![
        4 => any::<bool>().prop_map(|custom| OauthAsk::Create { custom }),
        3 => (index(), any::<bool>(), prop::bool::weighted(0.3), prop::bool::weighted(0.7))
            .prop_map(|(which, renames, moves, secret)| OauthAsk::Update { which, renames, moves, secret }),
        2 => index().prop_map(OauthAsk::Delete),
    ]
}

impl OauthAsk {
    /// What is submitted for it; an app that is to be made joins `made`.
    pub fn submission(
        self,
        made: &mut Vec<OauthAppId>,
        (mark, actor, organization): (&str, Actor, OrganizationId),
        with: &TestStore,
    ) -> Submission {
        let stream = StreamId::Organization(organization);
        let sealed = |app: OauthAppId| {
            let key = with.store.ring().mint(stream).unwrap();
            (key.key().seal(&client_secret_field(stream, &app.to_string()), &Plain::from(mark)), key)
        };
        match self {
            Self::Create { custom } => {
                let app = Fresh.id();
                made.push(app);
                let (client_secret, key) = sealed(app);
                let urls = custom.then(|| CustomUrls {
                    authorize_url: "https://idp.example.com/authorize".to_owned(),
                    token_url: "https://idp.example.com/token".to_owned(),
                    ..CustomUrls::default()
                });
                let create = CreateOauthApp {
                    app,
                    provider: ProviderName::try_from(if custom { "custom" } else { "github" }).unwrap(),
                    name: None,
                    client_id: ClientId::try_from(mark).unwrap(),
                    client_secret,
                    scopes: serde_json::from_str(r#"["read"]"#).unwrap(),
                    urls,
                    client_authentication: custom.then_some(ClientAuthentication::Basic),
                    pkce: None,
                };
                let mut submission = Submission::new(OauthAppsCommand::Create(create), actor);
                submission.keys = vec![key];
                submission
            }
            Self::Update { which, renames, moves, secret } => {
                let app = chosen(made, which, Fresh.id());
                let (client_secret, key) = secret.then(|| sealed(app)).unzip();
                let token_url = moves.then(|| "https://other.example.com/token".to_owned());
                let update = UpdateOauthApp {
                    app,
                    name: renames.then(|| Name::try_from(mark).unwrap()),
                    client_id: None,
                    client_secret,
                    scopes: None,
                    urls: UrlsPatch { token_url, ..UrlsPatch::default() },
                    client_authentication: None,
                    pkce: None,
                };
                let mut submission = Submission::new(OauthAppsCommand::Update(update), actor);
                submission.keys.extend(key);
                submission
            }
            Self::Delete(which) => {
                Submission::new(OauthAppsCommand::Delete(chosen(made, which, Fresh.id())), actor)
            }
        }
    }
}
