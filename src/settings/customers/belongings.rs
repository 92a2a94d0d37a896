//! What a customer has with a key of its own: whoever is erased loses all of these keys in the one batch that records it.

use crate::ids::{CustomerId, DataKeyId};
use crate::organization::Organization;

/// The keys of all that a customer has, deleted things included; the customer's own is not among them.
pub fn keys(state: &Organization, customer: CustomerId) -> impl Iterator<Item = DataKeyId> + '_ {
    let secrets = state.secrets.of_customer(customer).flat_map(|secret| secret.kept_keys());
    secrets.chain(state.connections.of_customer(customer).map(|connection| connection.key))
}
