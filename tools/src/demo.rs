//! `cargo xtask demo`: the demo organization, as the snapshot that `settled serve --demo` unpacks. The same seed gives the same
//! history but for ids, keys and sealed bytes, which are drawn.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use settled::actor::{Actor, ActorId};
use settled::clock::Timestamp;
use settled::demo::{API_KEY, EMAIL, PASSWORD};
use settled::ids::Fresh;
use settled::platform::plans::command::PlansCommand;
use settled::platform::plans::event::PlanSet;
use settled::seal::api_key::PlainKey;
use settled::settings::api_keys::command::{ApiKeysCommand, CreateApiKey};
use settled::settings::api_keys::value::{Limits, prefix};
use settled::settings::billing::command::{BillingCommand, ChangePlan};
use settled::settings::billing::event::{PlanLimit, PlanTaken, QuotaSet};
use settled::settings::billing::value::{Meter, Quota};
use settled::settings::environments::event::Mode;
use settled::settings::roles::role::{RoleRef, SystemRole};
use settled::snapshot::keys_of;
use settled::snapshot::operating::Snapshots;
use settled::store::Submission;
use settled::text::Name;

use crate::mix::Kind;
use crate::mix::company::Company;
use crate::mix::dice::Dice;
use crate::mix::generate::{Founder, beginning, cheap, found_one, happen, sign_up};
use crate::mix::pace::Pace;
use crate::mix::store::OpenStore;
use crate::run::say;

/// The organization.
const NAME: &str = "Harbour Goods";
/// Where it is.
const TIMEZONE: &str = "Europe/Berlin";
/// Its Owner.
const OWNER: &str = "Ada Lindqvist";
/// When its year ends: in the afternoon of Friday, 27 November 2026.
const END_MICROS: i64 = 1_795_795_200_000_000;
/// How much happens in it: some five things a working day.
const EVENTS: u64 = 1_300;
const SEED: u64 = 20;

/// What there is for certain.
const PLANNED: &[Kind] = &[
    Kind::CreateSecret,
    Kind::CreateSecret,
    Kind::CreateSecret,
    Kind::CreateTeam,
    Kind::AddMember,
    Kind::AddMember,
    Kind::CreateTeam,
    Kind::AddMember,
    Kind::CreateRole,
    Kind::CreateKey,
    Kind::CreateKey,
    Kind::Invite,
    Kind::CreateCustomer,
    Kind::CreateCustomer,
    Kind::CreateCustomer,
    Kind::SetDocument,
    Kind::SetDocument,
    Kind::StartExecution,
    Kind::FinishExecution,
    Kind::CreateApp,
    Kind::CreateApp,
    Kind::CreateConnection,
    Kind::CreateConnection,
    Kind::CreateConnection,
];

/// The plan that it has at the end: so much of each, and whether more is only told.
const PLAN: &[(Meter, u64, bool)] = &[
    (Meter::People, 50, false),
    (Meter::Customers, 100, false),
    (Meter::Environments, 12, false),
    (Meter::Secrets, 100, true),
    (Meter::ApiKeys, 40, false),
    (Meter::Connections, 200, false),
    (Meter::Executions, 20_000, true),
    (Meter::ApiRequests, 100_000, true),
];
/// As many customers as it wants itself to be told of.
const CUSTOMERS: u64 = 10;

/// Makes the demo's files in `snapshots/` anew.
///
/// # Errors
/// When the store refuses anything, or a file cannot be written.
pub fn run() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshots");
    let written = write(&folder)?;
    say(&format!("{written} bytes in {}", folder.display()));
    Ok(())
}

/// Writes the history, its keys and the root key that wraps them into a folder; gives the bytes of the first two.
///
/// # Errors
/// As [`run`].
pub fn write(folder: &Path) -> Result<u64> {
    let open = OpenStore::in_memory(beginning(end()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let fresh = tempfile::tempdir_in(folder)?;
    let taken = fresh.path().join("demo.settled");
    runtime.block_on(async {
        let company = live(&open).await?;
        give_key(&open, &company).await?;
        put_on_plan(&open, &company).await?;
        let snapshots = Snapshots::new(fresh.path().to_owned(), Fresh.id());
        snapshots.take(&open.store, Some(taken.clone()), Actor::OPERATOR, |_, _| {}).await?;
        Ok::<_, anyhow::Error>(())
    })?;
    let root_key = open.store.ring().root().text();
    fs::write(folder.join("demo.root.key"), root_key.as_bytes())?;
    open.close()?;
    let mut bytes = 0;
    for path in [keys_of(&taken), taken] {
        bytes += fs::metadata(&path)?.len();
        fs::rename(&path, folder.join(path.file_name().context("it has a name")?))?;
    }
    Ok(bytes)
}

fn end() -> Timestamp {
    Timestamp::from_micros(END_MICROS)
}

/// The organization's year.
async fn live(open: &OpenStore) -> Result<Company> {
    let dice = Dice::new(SEED);
    let account = sign_up(open, Founder { email: EMAIL, name: OWNER }, &cheap(PASSWORD).await?).await?;
    let mut company = found_one(open, &account, NAME, TIMEZONE, dice.fork(1)).await?;
    company.keep_names();
    company.plan(PLANNED);
    let mut companies = [company];
    happen(open, &mut companies, EVENTS, end(), Pace::WorkingHours(dice.fork(2))).await?;
    let [company] = companies;
    Ok(company)
}

/// A plan for whoever wants it, which the organization is on, with a quota of its own that is reached.
async fn put_on_plan(open: &OpenStore, company: &Company) -> Result<()> {
    let limit =
        |(meter, limit, soft): &(Meter, u64, bool)| PlanLimit { meter: *meter, limit: *limit, soft: *soft };
    let set = PlanSet {
        plan: "growth".to_owned(),
        name: "Growth".to_owned(),
        limits: PLAN.iter().map(limit).collect(),
        self_service: true,
        default: true,
    };
    let taken = PlanTaken { plan: set.plan.clone(), limits: set.limits.clone() };
    let submission = Submission::new(PlansCommand::Set(set), Actor::OPERATOR);
    open.store.execute(open.store.platform(), submission).await?;
    let owner = Actor { id: ActorId::Person(company.known().owner), session: None };
    let quota = Some(Quota { limit: CUSTOMERS, soft: true });
    for command in [
        BillingCommand::ChangePlan(ChangePlan { plan: taken, self_service: true }),
        BillingCommand::SetQuota(QuotaSet { meter: Meter::Customers, quota }),
    ] {
        open.store.execute(&company.handle, Submission::new(command, owner)).await?;
    }
    Ok(())
}

/// The key that everybody may know, for a program that reads its settings.
async fn give_key(open: &OpenStore, company: &Company) -> Result<()> {
    let mode = Mode::Test;
    let plain =
        PlainKey::presented(API_KEY, &[prefix(mode)]).context("the demo's key has the form of one")?;
    let create = CreateApiKey {
        key: Fresh.id(),
        name: Name::try_from("storefront on staging")?,
        mode,
        role: RoleRef::System(SystemRole::Workflow),
        token: plain.hash(),
        last4: plain.last4().to_owned(),
        limits: Limits::NONE,
    };
    let owner = Actor { id: ActorId::Person(company.known().owner), session: None };
    open.store.execute(&company.handle, Submission::new(ApiKeysCommand::Create(create), owner)).await?;
    Ok(())
}
