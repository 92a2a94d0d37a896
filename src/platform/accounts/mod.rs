//! Accounts: an e-mail address and a password for a human, who is a person of any number of organizations. Only
//! here is an account mapped to those persons; the organizations decide, this is a hint where to look.

pub mod address;
pub mod attempt;
pub mod command;
pub mod credentials;
pub mod departure;
pub mod email;
pub mod event;
pub mod http;
pub mod login;
pub mod mailed;
pub mod me;
pub mod own;
pub mod projection;
pub mod recovery;
pub mod sign_ups;
pub mod signup;

use crate::event::ResourceType;
use crate::ids::{AccountId, StreamId};
use crate::platform::accounts::email::domain_of;
use crate::platform::accounts::projection::Account;
use crate::seal::keyring::{KeyError, KeyRing};
use crate::seal::{Plain, SealedField};
use crate::store::lookup::{Claim, Hasher};

/// Where an account's address is sealed.
pub fn email_field(account: &str) -> SealedField<'_> {
    field(account, "email")
}

/// Where the name that an account signed up with is sealed.
pub fn name_field(account: &str) -> SealedField<'_> {
    field(account, "name")
}

/// Where an account's password hash is sealed.
pub fn password_field(account: &str) -> SealedField<'_> {
    field(account, "password")
}

fn field<'a>(account: &'a str, field: &'a str) -> SealedField<'a> {
    SealedField {
        stream: StreamId::Platform,
        resource_type: ResourceType::Account,
        resource_id: account,
        field,
    }
}

/// That an address is an account's.
pub fn claim(hasher: &Hasher, email: &Plain, account: AccountId) -> Claim {
    // What is sealed as an address was text.
    let email = email.as_str().unwrap_or_default();
    let group = domain_of(email).map(|domain| hasher.domain(&domain));
    Claim { key: hasher.email(email), group, owner: account.to_string() }
}

/// An account's address.
///
/// # Errors
/// When its key is not to be had.
pub fn open_email(account: &Account, ring: &KeyRing) -> Result<Plain, KeyError> {
    let key = ring.data_key(StreamId::Platform, account.key, account.commitment)?;
    Ok(key.open(&email_field(&account.id.to_string()), &account.email)?)
}

/// The name that an account signed up with.
///
/// # Errors
/// When its key is not to be had.
pub fn open_name(account: &Account, ring: &KeyRing) -> Result<Plain, KeyError> {
    let key = ring.data_key(StreamId::Platform, account.key, account.commitment)?;
    Ok(key.open(&name_field(&account.id.to_string()), &account.name)?)
}

/// An account's password hash, in PHC form.
///
/// # Errors
/// When its key is not to be had.
pub fn open_password(account: &Account, ring: &KeyRing) -> Result<Plain, KeyError> {
    let key = ring.data_key(StreamId::Platform, account.key, account.commitment)?;
    Ok(key.open(&password_field(&account.id.to_string()), &account.password)?)
}
