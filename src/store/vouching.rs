//! Whether a member vouches for a domain: has a verified address in it. The organization knows its people, the platform
//! whose address is verified; neither keeps an address in the clear, and the look-up of addresses leads from a domain to
//! its accounts. So nothing is opened, and how many people the organization has costs nothing.

use crate::ids::StreamId;
use crate::platform::accounts;
use crate::platform::accounts::email::domain_of;
use crate::platform::accounts::projection::Account;
use crate::seal::keyring::KeyError;
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

    /// Whether a member's verified address is in a domain.
    pub fn is_vouched(&self, view: &View, domain: &str) -> bool {
        let StreamId::Organization(organization) = view.stream else { return false };
        let (platform, people) = (self.platform().view(), &view.organization().people);
        let vouches = |account: &Account| {
            let is_active =
                |(there, person): &(_, _)| *there == organization && people.active(*person).is_some();
            account.is_verified && account.persons.iter().any(is_active)
        };
        let mut owners = platform.lookup.owners_in(self.hasher().domain(domain));
        owners.any(|owner| {
            let account = owner.parse().ok().and_then(|id| platform.platform().accounts.get(id));
            account.is_some_and(vouches)
        })
    }
}
