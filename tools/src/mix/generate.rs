//! Stores filled with the mix: so many events over so many organizations, over the year that ends now.
//!
//! Everything goes through [`Store::execute`], as over HTTP, so what is in the store is what a server would have
//! written. The same seed gives the same history but for ids, keys and sealed bytes, which are drawn.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use settled::actor::{Actor, ActorId};
use settled::clock::Timestamp;
use settled::ids::{AccountId, Fresh, OrganizationId, StreamId};
use settled::password::{HashCost, Passwords};
use settled::platform::accounts;
use settled::platform::accounts::command::AccountsCommand;
use settled::platform::accounts::event::SignedUp;
use settled::platform::accounts::projection::ORGANIZATIONS_PER_ACCOUNT_MAX;
use settled::platform::foundings;
use settled::platform::foundings::command::FoundingsCommand;
use settled::platform::foundings::event::FoundingOpened;
use settled::seal::token::PlainToken;
use settled::seal::{DataKey, Plain};
use settled::store::Submission;

use super::company::{Company, Known};
use super::dice::Dice;
use super::pace::Pace;
use super::store::OpenStore;
use super::words;

/// The password of every account.
pub const PASSWORD: &str = "a long walk by the sea";

/// How many commands wait for the writer at once: what shares a commit on a busy server.
const IN_FLIGHT: u64 = 64;
/// How long each of them takes at most. The rest of the year passes in between.
const WORK: Duration = Duration::from_secs(40);
/// How long all of it takes.
const YEAR_SECONDS: i64 = 365 * 24 * 3600;
/// Before the year, in which organizations are founded.
const FOUNDING_SECONDS: i64 = 3600;

/// How much there is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Events in the streams of organizations, all together.
    pub events: u64,
    /// Organizations.
    pub organizations: usize,
}

/// An organization of a filled store, and its Owner's session.
#[derive(Clone, Debug)]
pub struct Filled {
    /// What is known of it.
    pub known: Known,
    /// The token of a session of its Owner, opened at the end.
    pub token: String,
}

/// When a history that ends at a time begins.
pub fn beginning(end: Timestamp) -> Timestamp {
    end.plus_seconds(-YEAR_SECONDS - FOUNDING_SECONDS)
}

/// Fills a store that shows [`beginning`], so that it ends at `end`. Blocks.
///
/// # Errors
/// When the store refuses anything, or the size leaves no room for what every organization begins with.
pub fn fill(open: &OpenStore, size: Size, seed: u64, end: Timestamp) -> Result<Vec<Filled>> {
    // One thread, so that commands are queued in the order in which they were thought up.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut companies = found(open, size.organizations, &Dice::new(seed)).await?;
        open.hands.advance(Duration::from_secs(FOUNDING_SECONDS.unsigned_abs()));
        happen(open, &mut companies, size.events, end, Pace::Evenly).await?;
        sessions(open, &mut companies).await
    })
}

/// Everything between the foundings and the end.
///
/// # Errors
/// As [`fill`].
pub async fn happen(
    open: &OpenStore,
    companies: &mut [Company],
    events: u64,
    end: Timestamp,
    mut pace: Pace,
) -> Result<()> {
    let store = &open.store;
    // The Owners' sessions at the end are among them.
    let begun: u64 = companies.iter().map(|company| company.handle.view().version() + 1).sum();
    let mut left = events.checked_sub(begun).context("there are too few events for so many organizations")?;
    let span = end.seconds_since(open.clock.now()).unsigned_abs();
    let step = Duration::from_secs(span) / u32::try_from(left.max(1))?;
    let (at_a_time, work) = (pace.at_a_time(), step.min(WORK));
    let pause = step.saturating_sub(WORK) * u32::try_from(at_a_time)?;
    // What a pace adds to pauses is taken from the next ones.
    let mut even = open.clock.now();
    let mut turns = 0;
    while left > 0 {
        let mut waiting = Vec::new();
        let mut thought_up = 0;
        while thought_up < left.min(IN_FLIGHT) {
            let turn = turns / at_a_time % companies.len();
            if turns % at_a_time == 0 && !pause.is_zero() {
                // A commit has one time: what came before the pause is in one of before it.
                if !waiting.is_empty() {
                    break;
                }
                even = even.plus(pause);
                let (now, begins) = (open.clock.now(), pace.next(even, open.clock.now()));
                open.hands.advance(Duration::from_secs(begins.seconds_since(now).unsigned_abs()));
            }
            turns += 1;
            let company = &mut companies[turn];
            let next = company.next(store, open.clock.now(), left - thought_up)?;
            thought_up += next.events_max;
            let handle = Arc::clone(&company.handle);
            waiting.push(async move { store.execute(&handle, next.submission).await });
            open.hands.advance(work);
            even = even.plus(work);
        }
        let appended: u64 = try_join_all(waiting).await?.iter().map(|done| done.events).sum();
        left = left.checked_sub(appended).context("more was appended than there was room for")?;
    }
    let rest = end.seconds_since(open.clock.now());
    if rest > 0 {
        open.hands.advance(Duration::from_secs(rest.unsigned_abs()));
    }
    Ok(())
}

async fn sessions(open: &OpenStore, companies: &mut [Company]) -> Result<Vec<Filled>> {
    let mut filled = Vec::with_capacity(companies.len());
    for company in companies {
        let token = PlainToken::draw();
        let submission = company.owners_session(open.clock.now(), &token);
        let done = open.store.execute(&company.handle, submission).await?;
        ensure!(done.events == 1, "the Owner's session was not opened");
        filled.push(Filled { known: company.known(), token: token.expose().to_owned() });
    }
    Ok(filled)
}

async fn found(open: &OpenStore, organizations: usize, dice: &Dice) -> Result<Vec<Company>> {
    let password = cheap(PASSWORD).await?;
    let mut companies = Vec::with_capacity(organizations);
    let mut account = None;
    for number in 0..organizations {
        if number % ORGANIZATIONS_PER_ACCOUNT_MAX == 0 {
            let email = email(number / ORGANIZATIONS_PER_ACCOUNT_MAX);
            account = Some(sign_up(open, Founder { email: &email, name: "Olive Byrne" }, &password).await?);
        }
        let mut own = dice.fork(number as u64);
        let (name, timezone) = (words::organization(number, &mut own), words::timezone(&mut own));
        let account = account.as_ref().context("the first number signs somebody up")?;
        companies.push(found_one(open, account, &name, timezone, own).await?);
    }
    Ok(companies)
}

/// Everybody may know the password, so guessing it may be cheap.
///
/// # Errors
/// When it cannot be hashed.
pub async fn cheap(password: &str) -> Result<Plain> {
    Ok(Passwords::start(HashCost::CHEAPEST, 1)?.hash(Plain::from(password)).await?)
}

/// Founds an organization.
///
/// # Errors
/// When the store refuses it.
pub async fn found_one(
    open: &OpenStore,
    account: &(AccountId, Arc<DataKey>),
    name: &str,
    timezone: &str,
    dice: Dice,
) -> Result<Company> {
    let id: OrganizationId = Fresh.id();
    let opened = FoundingOpened {
        organization: id,
        account: account.0,
        person: Fresh.id(),
        name: account.1.seal(&foundings::name_field(&id.to_string()), &Plain::from(name)),
        timezone: timezone.to_owned(),
        plan: None,
    };
    let actor = Actor { id: ActorId::Account(account.0), session: None };
    let submission = Submission::new(FoundingsCommand::Open(opened.clone()), actor);
    open.store.execute(open.store.platform(), submission).await?;
    let handle = open.store.finish_founding(&opened).await?;
    Company::founded(&open.store, handle, dice)
}

/// The address of an account by its number.
pub fn email(number: usize) -> String {
    format!("owner{number}@example.com")
}

/// Who founds an organization.
#[derive(Clone, Copy, Debug)]
pub struct Founder<'a> {
    /// Their address.
    pub email: &'a str,
    /// Their name.
    pub name: &'a str,
}

/// Makes an account with a hashed password; gives it with its key.
///
/// # Errors
/// When the store refuses it.
pub async fn sign_up(
    open: &OpenStore,
    founder: Founder<'_>,
    password: &Plain,
) -> Result<(AccountId, Arc<DataKey>)> {
    let store = &open.store;
    let new = store.ring().mint(StreamId::Platform)?;
    let (account, key) = (Fresh.id::<AccountId>(), Arc::clone(new.key()));
    let id = account.to_string();
    let signed_up = SignedUp {
        account,
        key: new.id(),
        email: key.seal(&accounts::email_field(&id), &Plain::from(founder.email)),
        name: key.seal(&accounts::name_field(&id), &Plain::from(founder.name)),
        password: key.seal(&accounts::password_field(&id), password),
        link: None,
    };
    let mut submission = Submission::new(AccountsCommand::SignUp(signed_up), Actor::SYSTEM);
    submission.keys = vec![new];
    submission.claims = vec![accounts::claim(store.hasher(), &Plain::from(founder.email), account)];
    store.execute(store.platform(), submission).await?;
    Ok((account, key))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use settled::event::Recorded;
    use settled::ids::UserId;
    use settled::log::Position;
    use settled::log::frame::Frame;

    use super::*;

    const SIZE: Size = Size { events: 3_000, organizations: 3 };

    fn end() -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000)
    }

    /// Every event of organizations, in the order of the log.
    fn events(open: &OpenStore) -> Vec<Recorded> {
        let mut events = Vec::new();
        let mut after = Position(0);
        loop {
            let frames = open.store.log().read(after).unwrap();
            let Some((last, _)) = frames.last() else { return events };
            after = *last;
            for (_, bytes) in frames {
                let frame = Frame::parse(bytes).unwrap();
                if frame.header().stream != StreamId::Platform {
                    events.extend(frame.events().map(|event| event.unwrap()));
                }
            }
        }
    }

    #[test]
    fn there_are_exactly_as_many_events_over_a_year_and_every_row_of_the_mix_is_among_them() {
        let open = OpenStore::in_memory(beginning(end())).unwrap();
        let filled = fill(&open, SIZE, 1, end()).unwrap();
        let events = events(&open);
        assert_eq!(events.len() as u64, SIZE.events);
        assert_eq!(filled.len(), SIZE.organizations);
        let mut actions = BTreeMap::new();
        for event in &events {
            *actions.entry((event.event.action().to_owned(), event.outcome)).or_insert(0) += 1;
        }
        for action in [
            "config.set",
            "config.delete",
            "api_key.create",
            "api_key.update",
            "api_key.rotate",
            "api_key.revoke",
            "api_key.use",
            "environment.create",
            "environment.update",
            "environment.delete",
            "organization.update",
            "person.join",
            "person.update",
            "invitation.create",
            "invitation.accept",
            "join_request.create",
            "join_request.approve",
            "role_assignment.create",
            "role_assignment.delete",
            "auth.login",
            "auth.logout",
            "session.revoke",
            "audit.export",
        ] {
            assert!(actions.keys().any(|(named, _)| named == action), "{action} is not among {actions:?}");
        }
        let outcomes: std::collections::BTreeSet<_> = actions.keys().map(|(_, outcome)| *outcome).collect();
        assert_eq!(outcomes.len(), 3);
        let (first, last) = (events[0].at, events[events.len() - 1].at);
        assert_eq!(last.seconds_since(first) / 86_400, 365);
        open.close().unwrap();
    }

    /// What happened in each organization, in the order in which they were founded: which of several shares a commit
    /// with which is a matter of time.
    fn history(seed: u64, size: Size) -> Vec<Vec<(u64, String, Option<String>)>> {
        let open = OpenStore::in_memory(beginning(end())).unwrap();
        let filled = fill(&open, size, seed, end()).unwrap();
        let events = events(&open);
        let of = |filled: &Filled| {
            let stream = StreamId::Organization(filled.known.organization);
            let own = events.iter().filter(|event| event.stream == stream);
            // Members of teams are named after who they are, and documents by blind ids, which is drawn.
            let is_drawn = |event: &Recorded, name: &str| {
                name.parse::<UserId>().is_ok() || event.event.action().starts_with("customer_data.")
            };
            let name = |event: &Recorded| event.resource.name.clone().filter(|name| !is_drawn(event, name));
            own.map(|event| (event.version, event.event.action().to_owned(), name(event))).collect()
        };
        let history = filled.iter().map(of).collect();
        open.close().unwrap();
        history
    }

    #[test]
    fn the_same_seed_gives_the_same_history() {
        let size = Size { events: 400, organizations: 3 };
        let first = history(1, size);
        assert_eq!(first, history(1, size));
        assert_ne!(first, history(2, size));
    }

    /// What is taken away leaves things behind that the store does not let go: the model has to know them, too.
    #[test]
    fn a_long_history_of_one_organization_asks_for_nothing_that_is_refused() {
        let open = OpenStore::in_memory(beginning(end())).unwrap();
        let size = Size { events: 20_000, organizations: 1 };
        assert_eq!(fill(&open, size, 9, end()).unwrap().len(), 1);
        open.close().unwrap();
    }

    #[test]
    fn a_filled_directory_opens_again_and_knows_the_owners_sessions() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let open = OpenStore::in_directory(&path, beginning(end())).unwrap();
        let filled = fill(&open, Size { events: 500, organizations: 2 }, 1, end()).unwrap();
        open.close().unwrap();
        let open = OpenStore::in_directory(&path, end()).unwrap();
        for Filled { known, token } in filled {
            let credential = open.store.directory().credential(PlainToken::presented(&token).hash());
            assert!(credential.is_some_and(|credential| credential.is_alive(end())));
            assert!(
                open.store.replay().unwrap().streams.iter().any(|stream| {
                    stream.stream == StreamId::Organization(known.organization).to_string()
                })
            );
        }
        open.close().unwrap();
    }
}
