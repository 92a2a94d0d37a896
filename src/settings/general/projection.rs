//! The organization's own settings as a fold.

use serde::{Deserialize, Serialize};

use crate::area::{Area, DirectoryEntry, Fold, Reads};
use crate::clock::Timestamp;
use crate::event::{Event, Recorded, ResourceType, Version};
use crate::history::description::{Description, Difference, Focus, Subject, fields};
use crate::history::restore::plan::{Outlook, Plan};
use crate::ids::{DataKeyId, OrganizationId};
use crate::organization::Organization;
use crate::seal::Commitment;
use crate::settings::general::event::{GeneralEvent, OrganizationUpdated};
use crate::settings::general::restore::restore;
use crate::settings::roles::permission::Permission;
use crate::settings::roles::role::{RoleRef, SystemRole};

/// The organization's own settings; [`None`] inside until it is founded.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct General {
    founded: Option<Founded>,
    is_over: bool,
}

/// The settings of a founded organization.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Founded {
    /// The organization.
    pub organization: OrganizationId,
    /// The key under which reasons are sealed.
    pub key: DataKeyId,
    /// What the key is held against when it is unwrapped.
    pub commitment: Option<Commitment>,
    /// Its name.
    pub name: String,
    /// An IANA time zone name.
    pub timezone: String,
    /// The domain whose users may join.
    pub email_domain: Option<EmailDomainState>,
    /// Whether domain users are added without a request.
    pub auto_approve_domain_users: bool,
    /// The role that a domain user gets.
    pub join_role: RoleRef,
    /// When it was founded.
    pub created_at: Timestamp,
    /// When these settings last changed.
    pub updated_at: Timestamp,
    /// The stream version of their last change.
    pub version: Version,
}

/// An e-mail domain, what DNS must say to verify it, and whether it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmailDomainState {
    /// The domain.
    pub domain: String,
    /// The TXT record that would verify it.
    pub challenge: String,
    /// Since when DNS proves it; [`None`] where it never did, or has not for too long.
    pub verified_at: Option<Timestamp>,
    /// When it lapses unless DNS proves it again: set while DNS does not.
    pub lapses_at: Option<Timestamp>,
}

impl EmailDomainState {
    /// Whether DNS proves that the domain is the organization's.
    pub fn is_verified(&self) -> bool {
        self.verified_at.is_some()
    }
}

impl General {
    /// The settings, once founded.
    pub fn founded(&self) -> Option<&Founded> {
        self.founded.as_ref()
    }

    /// Whether an operator deleted the organization.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    fn domain_changed(
        &mut self,
        name: &str,
        recorded: &Recorded,
        change: impl FnOnce(&mut EmailDomainState),
    ) {
        let Some(founded) = &mut self.founded else { return };
        let Some(domain) = founded.email_domain.as_mut().filter(|domain| domain.domain == name) else {
            return;
        };
        change(domain);
        founded.updated_at = recorded.at;
        founded.version = recorded.version;
    }
}

impl Fold for General {
    const NAME: &'static str = "general";
    const PROJECTION: u32 = 3;

    fn apply(&mut self, recorded: &Recorded) {
        let Event::General(event) = &recorded.event else { return };
        match event {
            GeneralEvent::OrganizationCreated(created) => {
                self.founded = Some(Founded {
                    organization: created.organization,
                    key: created.key,
                    commitment: recorded.keys.get(&created.key).copied(),
                    name: created.name.clone(),
                    timezone: created.timezone.clone(),
                    email_domain: None,
                    auto_approve_domain_users: false,
                    join_role: RoleRef::System(SystemRole::Viewer),
                    created_at: recorded.at,
                    updated_at: recorded.at,
                    version: recorded.version,
                });
            }
            GeneralEvent::OrganizationUpdated(updated) => {
                if let Some(founded) = &mut self.founded {
                    founded.update(updated);
                    founded.updated_at = recorded.at;
                    founded.version = recorded.version;
                }
            }
            GeneralEvent::DomainVerified(verified) => {
                self.domain_changed(&verified.domain, recorded, |domain| {
                    domain.verified_at = domain.verified_at.or(Some(recorded.at));
                    domain.lapses_at = None;
                });
            }
            GeneralEvent::DomainUnproven(unproven) => {
                self.domain_changed(&unproven.domain, recorded, |domain| {
                    domain.lapses_at = Some(unproven.lapses_at);
                });
            }
            GeneralEvent::DomainLapsed(lapsed) => {
                self.domain_changed(&lapsed.domain, recorded, |domain| {
                    domain.verified_at = None;
                    domain.lapses_at = None;
                });
            }
            GeneralEvent::OrganizationEnded(_) => self.is_over = true,
            // The events before it say what changed.
            GeneralEvent::OrganizationRestored(_) => {}
            // What they sealed is nobody's any more.
            GeneralEvent::KeysForgotten(_) => {}
        }
    }

    fn directory(recorded: &Recorded, entries: &mut Vec<DirectoryEntry>) {
        let Event::General(event) = &recorded.event else { return };
        entries.extend(match event {
            GeneralEvent::OrganizationUpdated(updated) => match &updated.email_domain {
                Some(domain) => Some(DirectoryEntry::DomainSet { domain: domain.clone() }),
                None if updated.clears_domain() => Some(DirectoryEntry::DomainCleared),
                None => None,
            },
            GeneralEvent::DomainVerified(_) => Some(DirectoryEntry::DomainVerified { at: recorded.at }),
            GeneralEvent::DomainLapsed(_) => Some(DirectoryEntry::DomainLapsed),
            GeneralEvent::OrganizationEnded(_) => Some(DirectoryEntry::OrganizationEnded),
            GeneralEvent::OrganizationCreated(_)
            | GeneralEvent::KeysForgotten(_)
            | GeneralEvent::DomainUnproven(_)
            | GeneralEvent::OrganizationRestored(_) => None,
        });
    }

    fn items(&self) -> usize {
        usize::from(self.founded.is_some())
    }
}

impl Area for General {
    const READS: &'static [&'static str] = &[
        "organization.create",
        "organization.update",
        "organization.verify_domain",
        "organization.check_domain",
        "organization.lapse_domain",
        "organization.end",
    ];
    const CASCADES: &'static [&'static str] = &[];
    const RESTORABLE: bool = true;
    const KINDS: &'static [Reads] =
        &[Reads { kind: ResourceType::Organization, permission: Permission::OrganizationRead }];

    fn of(organization: &Organization) -> &Self {
        &organization.general
    }

    fn narrowed(&self, _focus: &Focus) -> Self {
        self.clone()
    }

    fn describe(&self, focus: &Focus, into: &mut Description) {
        let Some(founded) = &self.founded else { return };
        let subject = Subject::new(ResourceType::Organization, founded.organization);
        if !focus.includes(&subject.id) {
            return;
        }
        let domain = founded.email_domain.as_ref();
        let told = fields([
            ("name", Some(founded.name.as_str().into())),
            ("timezone", Some(founded.timezone.as_str().into())),
            ("email_domain", domain.map(|domain| domain.domain.as_str().into())),
            ("email_domain_verified", domain.map(|domain| domain.is_verified().into())),
            ("email_domain_challenge", domain.map(|domain| domain.challenge.as_str().into())),
            ("auto_approve_domain_users", Some(founded.auto_approve_domain_users.into())),
            ("join_role", Some(founded.join_role.to_string().as_str().into())),
        ]);
        into.insert(subject, told);
    }

    fn restore(differences: &[Difference], outlook: &Outlook<'_>, plan: &mut Plan) {
        restore(differences, outlook, plan);
    }
}

impl Founded {
    /// Whether a domain user who asks to join is let in at once.
    pub fn lets_in_at_once(&self) -> bool {
        self.auto_approve_domain_users
            && self.email_domain.as_ref().is_some_and(EmailDomainState::is_verified)
    }

    fn update(&mut self, updated: &OrganizationUpdated) {
        if let Some(name) = &updated.name {
            self.name.clone_from(name);
        }
        if let Some(timezone) = &updated.timezone {
            self.timezone.clone_from(timezone);
        }
        if let (Some(domain), Some(challenge)) = (&updated.email_domain, &updated.email_domain_challenge) {
            self.email_domain = Some(EmailDomainState {
                domain: domain.clone(),
                challenge: challenge.clone(),
                verified_at: None,
                lapses_at: None,
            });
        }
        if let Some(auto_approve) = updated.auto_approve_domain_users {
            self.auto_approve_domain_users = auto_approve;
        }
        if let Some(role) = updated.join_role {
            self.join_role = role;
        }
        if updated.clears_domain() {
            self.email_domain = None;
        }
    }
}
