//! Whether a member vouches for a domain: has a verified address in it. The organization knows its people, the platform
//! whose address is verified; neither keeps an address in the clear, so they are opened one by one until one is found.

use crate::ids::StreamId;
use crate::platform::accounts;
use crate::platform::accounts::email::domain_of;
use crate::platform::accounts::projection::Account;
use crate::seal::keyring::KeyError;
use crate::settings::people::projection::Status;
use crate::store::Store;
use crate::store::resident::View;

impl Store {
    /// The domain of an account's address, if the address is verified.
    ///
    /// # Errors
    /// When its key is not to be had.
    pub fn verified_domain(&self, account: &Account) -> Result<Option<String>, KeyError> {
        if !account.is_verified {
            return Ok(None);
        }
        let email = accounts::open_email(account, self.ring())?;
        Ok(email.as_str().ok().and_then(domain_of))
    }

    /// Whether a member's verified address is in a domain. Blocks.
    ///
    /// # Errors
    /// When a key is not to be had.
    pub fn is_vouched(&self, view: &View, domain: &str) -> Result<bool, KeyError> {
        let StreamId::Organization(organization) = view.stream else { return Ok(false) };
        let platform = self.platform().view();
        let accounts = &platform.platform().accounts;
        let people = view.organization().people.iter().filter(|person| person.status == Status::Active);
        for person in people {
            if let Some(account) = accounts.by_person(organization, person.id)
                && self.verified_domain(account)?.as_deref() == Some(domain)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
