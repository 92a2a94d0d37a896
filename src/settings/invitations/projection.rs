//! Invitations as a fold: those that nobody has decided yet.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::area::{Area, DirectoryEntry, Fold, Reads};
use crate::clock::{DAY_SECONDS, Timestamp};
use crate::event::{Event, Recorded, ResourceType, Version};
use crate::history::description::{Description, Difference, Field, Focus, Subject, fields};
use crate::history::restore::plan::{Outlook, Plan};
use crate::ids::{DataKeyId, InvitationId, TeamId, UserId};
use crate::organization::Organization;
use crate::platform::accounts::event::MailedLink;
use crate::seal::{Commitment, Sealed};
use crate::settings::invitations::event::{InvitationCreated, InvitationsEvent};
use crate::settings::roles::permission::Permission;
use crate::settings::roles::role::RoleRef;
use crate::settings::sessions::event::TokenHash;

/// How long an invitation is kept after its end, during which it can be sent again.
pub const KEPT_SECONDS: i64 = 30 * DAY_SECONDS;

/// How many mails an organization's invitations may come to within a day: as many as can wait at once, so that whoever
/// invites a whole company meets it once they send all of them again.
pub const MAILS_PER_DAY_MAX: u32 = 2_000;

/// Invitations that nobody has decided yet.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Invitations {
    open: RedBlackTreeMapSync<InvitationId, Invitation>,
    by_token: RedBlackTreeMapSync<TokenHash, InvitationId>,
    /// The stream version of the newest one.
    newest: Version,
    /// The mails of the newest day that had any.
    mailed: Mailed,
}

/// How many invitations were mailed in the day that began with the first of them.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Mailed {
    count: u32,
    ends_at: Timestamp,
}

impl Default for Mailed {
    /// None, in a day that is over.
    fn default() -> Self {
        Self { count: 0, ends_at: Timestamp::EPOCH }
    }
}

/// An invitation, its address sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// The invitation.
    pub id: InvitationId,
    /// Who they would be.
    pub person: UserId,
    /// The key that would be theirs.
    pub key: DataKeyId,
    /// What the key is held against when it is unwrapped.
    pub commitment: Option<Commitment>,
    /// The address that it was sent to.
    pub email: Sealed,
    /// The role that they would get.
    pub role: RoleRef,
    /// The teams that they would be in.
    pub teams: Vec<TeamId>,
    /// The link that was mailed last.
    pub link: MailedLink,
    /// Who vouches for it: whoever sent it last.
    pub inviter: Actor,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last sent.
    pub updated_at: Timestamp,
    /// The stream version of that.
    pub version: Version,
}

impl Invitation {
    /// Whether it can be accepted no more.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.link.ends_at <= now
    }

    /// When it is forgotten.
    pub fn forgotten_at(&self) -> Timestamp {
        forgotten_at(self.link)
    }
}

fn forgotten_at(link: MailedLink) -> Timestamp {
    link.ends_at.plus_seconds(KEPT_SECONDS)
}

impl Invitations {
    /// An invitation by id.
    pub fn get(&self, id: InvitationId) -> Option<&Invitation> {
        self.open.get(&id)
    }

    /// The invitation whose link was mailed last with this token.
    pub fn by_token(&self, token: TokenHash) -> Option<&Invitation> {
        self.by_token.get(&token).and_then(|id| self.get(*id))
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Invitation> {
        self.open.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.open.size()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The stream version of the newest one, there still or not: while it is the same, no address was invited.
    pub fn newest(&self) -> Version {
        self.newest
    }

    /// For how many seconds none can be mailed any more, if as many were as may be within a day.
    pub fn wait_seconds(&self, now: Timestamp) -> Option<u64> {
        let Mailed { count, ends_at } = self.mailed;
        let is_full = now < ends_at && count >= MAILS_PER_DAY_MAX;
        is_full.then(|| ends_at.seconds_since(now).unsigned_abs().max(1))
    }

    /// One was mailed.
    fn mail(&mut self, at: Timestamp) {
        if self.mailed.ends_at <= at {
            self.mailed = Mailed { count: 0, ends_at: at.plus_seconds(DAY_SECONDS) };
        }
        self.mailed.count += 1;
    }

    fn create(&mut self, created: &InvitationCreated, recorded: &Recorded) {
        let invitation = Invitation {
            id: created.invitation,
            person: created.person,
            key: created.key,
            commitment: recorded.keys.get(&created.key).copied(),
            email: created.email.clone(),
            role: created.role,
            teams: created.teams.clone(),
            link: created.link,
            inviter: recorded.actor,
            created_at: recorded.at,
            updated_at: recorded.at,
            version: recorded.version,
        };
        self.by_token.insert_mut(created.link.token, created.invitation);
        self.open.insert_mut(created.invitation, invitation);
        self.newest = recorded.version;
        self.mail(recorded.at);
    }

    fn resend(&mut self, id: InvitationId, link: MailedLink, recorded: &Recorded) {
        self.mail(recorded.at);
        let Some(invitation) = self.open.get_mut(&id) else { return };
        self.by_token.remove_mut(&invitation.link.token);
        self.by_token.insert_mut(link.token, id);
        invitation.link = link;
        invitation.inviter = recorded.actor;
        invitation.updated_at = recorded.at;
        invitation.version = recorded.version;
    }

    fn end(&mut self, id: InvitationId) {
        if let Some(token) = self.open.get(&id).map(|invitation| invitation.link.token) {
            self.by_token.remove_mut(&token);
            self.open.remove_mut(&id);
        }
    }
}

impl Fold for Invitations {
    const NAME: &'static str = "invitations";
    const PROJECTION: u32 = 2;

    fn apply(&mut self, recorded: &Recorded) {
        let Event::Invitations(event) = &recorded.event else { return };
        match event {
            InvitationsEvent::InvitationCreated(created) => self.create(created, recorded),
            InvitationsEvent::InvitationResent(resent) => {
                self.resend(resent.invitation, resent.link, recorded);
            }
            InvitationsEvent::InvitationAccepted(accepted) => self.end(accepted.invitation),
            InvitationsEvent::InvitationRevoked(forgotten)
            | InvitationsEvent::InvitationDeclined(forgotten)
            | InvitationsEvent::InvitationExpired(forgotten) => self.end(forgotten.invitation),
        }
    }

    fn directory(recorded: &Recorded, entries: &mut Vec<DirectoryEntry>) {
        let Event::Invitations(event) = &recorded.event else { return };
        let due = |invitation: InvitationId, link| {
            let resource = invitation.to_string();
            DirectoryEntry::Due { resource, at: forgotten_at(link) }
        };
        let done = |invitation: InvitationId| DirectoryEntry::NotDue { resource: invitation.to_string() };
        entries.push(match event {
            InvitationsEvent::InvitationCreated(created) => due(created.invitation, created.link),
            InvitationsEvent::InvitationResent(resent) => due(resent.invitation, resent.link),
            InvitationsEvent::InvitationAccepted(accepted) => done(accepted.invitation),
            InvitationsEvent::InvitationRevoked(forgotten)
            | InvitationsEvent::InvitationDeclined(forgotten)
            | InvitationsEvent::InvitationExpired(forgotten) => done(forgotten.invitation),
        });
    }

    fn items(&self) -> usize {
        self.open.size()
    }
}

impl Area for Invitations {
    const READS: &'static [&'static str] = &[
        "invitation.create",
        "invitation.resend",
        "invitation.revoke",
        "invitation.accept",
        "invitation.decline",
        "invitation.expire",
    ];
    const CASCADES: &'static [&'static str] = &[];
    const RESTORABLE: bool = false;
    const KINDS: &'static [Reads] =
        &[Reads { kind: ResourceType::Invitation, permission: Permission::PersonRead }];

    fn of(organization: &Organization) -> &Self {
        &organization.invitations
    }

    fn narrowed(&self, _focus: &Focus) -> Self {
        self.clone()
    }

    fn describe(&self, focus: &Focus, into: &mut Description) {
        for invitation in focus.among(self.iter(), |id| self.get(id)) {
            let teams = invitation.teams.iter().map(ToString::to_string).collect::<Vec<_>>();
            let told = fields([
                ("email", Some((&invitation.email).into())),
                ("role", Some(invitation.role.to_string().as_str().into())),
                ("teams", Some(Field::Open(teams.into()))),
                ("expires_at", Some(invitation.link.ends_at.to_string().as_str().into())),
            ]);
            into.insert(Subject::new(ResourceType::Invitation, invitation.id), told);
        }
    }

    /// Nobody is invited by a restore, and nobody who was invited is not any more.
    fn restore(_differences: &[Difference], _outlook: &Outlook<'_>, _plan: &mut Plan) {}
}
