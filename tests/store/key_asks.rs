//! What random histories ask of API keys, and what such keys are made of.

use proptest::prelude::*;
use proptest::sample::Index;
use settled::ids::{ApiKeyId, DataKeyId, EnvironmentId, Fresh, SessionId};
use settled::seal::token::PlainToken;
use settled::seal::{Commitment, Sealed, SealedBytes};
use settled::settings::api_keys::command::{
    ApiKeysCommand, CreateApiKey, Reads, RevokeApiKey, RotateApiKey, UpdateApiKey, UseApiKey,
};
use settled::settings::api_keys::event::KeySessionOpened;
use settled::settings::api_keys::value::Limits;
use settled::settings::environments::event::Mode;
use settled::settings::roles::role::{RoleRef, SystemRole};
use settled::text::Name;

use crate::histories::chosen;

/// What is asked for. Indices choose among the keys and environments that earlier steps tried to make.
#[derive(Clone, Debug)]
pub enum KeyAsk {
    Make { role: u8, live: bool, limited: Option<Index> },
    Change { which: Index, name: u8, disabled: bool, limited: Option<Index> },
    Rotate { which: Index, grace_seconds: u32 },
    Revoke(Index),
    Use { which: Index, opens: bool, count: Option<u64> },
}

pub fn key_ask() -> impl Strategy<Value = KeyAsk> {
    let index = any::<Index>;
    prop_oneof![
        3 => (0..7u8, any::<bool>(), prop::option::of(index()))
            .prop_map(|(role, live, limited)| KeyAsk::Make { role, live, limited }),
        2 => (index(), 0..4u8, any::<bool>(), prop::option::of(index()))
            .prop_map(|(which, name, disabled, limited)| KeyAsk::Change { which, name, disabled, limited }),
        1 => (index(), 0..600u32)
            .prop_map(|(which, grace_seconds)| KeyAsk::Rotate { which, grace_seconds }),
        1 => index().prop_map(KeyAsk::Revoke),
        2 => (index(), any::<bool>(), prop::option::of(1..9u64))
            .prop_map(|(which, opens, count)| KeyAsk::Use { which, opens, count }),
    ]
}

impl KeyAsk {
    /// The command that it is; a key that is to be made joins `keys`.
    pub fn command(
        self,
        keys: &mut Vec<ApiKeyId>,
        named: impl Fn(u8) -> Name,
        environment: impl Fn(Index) -> EnvironmentId,
    ) -> ApiKeysCommand {
        let key = |which: Index| chosen(keys, which, Fresh.id());
        match self {
            Self::Make { role, live, limited } => {
                let made: ApiKeyId = Fresh.id();
                keys.push(made);
                let environments = limited.map(|which| vec![environment(which)]);
                ApiKeysCommand::Create(CreateApiKey {
                    key: made,
                    name: named(role),
                    mode: if live { Mode::Live } else { Mode::Test },
                    role: RoleRef::System(SystemRole::ALL[usize::from(role)]),
                    token: token_of(made, 0),
                    last4: "0000".to_owned(),
                    limits: Limits { environments, ..Limits::NONE },
                })
            }
            Self::Change { which, name, disabled, limited } => ApiKeysCommand::Update(UpdateApiKey {
                key: key(which),
                name: Some(named(name)),
                disabled: Some(disabled),
                environments: limited.map(|which| Some(vec![environment(which)])),
                customers: None,
                expires_at: None,
                allowed_cidrs: None,
                rate_limit: None,
            }),
            Self::Rotate { which, grace_seconds } => {
                let key = key(which);
                let token = token_of(key, grace_seconds);
                ApiKeysCommand::Rotate(RotateApiKey { key, token, last4: "1111".to_owned(), grace_seconds })
            }
            Self::Revoke(which) => ApiKeysCommand::Revoke(RevokeApiKey { key: key(which) }),
            Self::Use { which, opens, count } => {
                let key = key(which);
                let session: Option<SessionId> = opens.then(|| Fresh.id());
                let opened =
                    session.map(|session| KeySessionOpened { session, ip: closed(key), user_agent: None });
                ApiKeysCommand::Use(UseApiKey { key, count, opened, reads: Reads::default() })
            }
        }
    }
}

/// SHA-256 of what tells two values of keys apart.
pub fn token_of(key: ApiKeyId, number: u32) -> Commitment {
    PlainToken::presented(&format!("{key} {number}")).hash()
}

/// Something sealed, which nothing opens.
pub fn closed(key: ApiKeyId) -> Sealed {
    Sealed { key: DataKeyId::from_uuid(key.uuid()), data: SealedBytes(vec![1; 65].into()) }
}
