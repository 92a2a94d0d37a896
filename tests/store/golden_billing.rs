//! Plans and quotas, in the golden history.

use settled::actor::Actor;
use settled::ids::Fresh;
use settled::platform::plans::command::PlansCommand;
use settled::platform::plans::event::PlanSet;
use settled::settings::billing::command::{BillingCommand, ChangePlan, RecordUsage};
use settled::settings::billing::event::{PlanLimit, QuotaSet};
use settled::settings::billing::value::{Meter, Quota};
use settled::store::Submission;

use crate::commands::{create, delete};
use crate::test_store::{Founded, TestStore};

/// A plan is set and taken, an organization is founded with it, quotas are set and lifted, and soft ones reached.
pub async fn record_billing(store: &TestStore, founded: &Founded) {
    let soft = |limit| PlanLimit { meter: Meter::Environments, limit, soft: true };
    let set = PlanSet {
        plan: "team".to_owned(),
        name: "Team".to_owned(),
        limits: vec![PlanLimit { meter: Meter::People, limit: 1_000, soft: false }, soft(9)],
        self_service: true,
        default: true,
    };
    let platform = store.store.platform();
    let submission = Submission::new(PlansCommand::Set(set.clone()), Actor::OPERATOR);
    store.store.execute(platform, submission).await.unwrap();
    store.found_further(founded.account, "Planned").await;
    let taken = platform.view().platform().plans.get(&set.plan).unwrap().taken();
    let quota = |limit| QuotaSet { meter: Meter::Environments, quota: Some(Quota { limit, soft: true }) };
    let lifted = QuotaSet { meter: Meter::Environments, quota: None };
    for (command, actor) in [
        (BillingCommand::ChangePlan(ChangePlan { plan: taken, self_service: true }), founded.owner),
        (BillingCommand::SetOperatorQuota(quota(5)), Actor::OPERATOR),
        (BillingCommand::SetQuota(quota(2)), founded.owner),
    ] {
        store.execute(founded, Submission::new(command, actor)).await.unwrap();
    }
    let passing = Fresh.id();
    store.execute(founded, create(founded.owner, passing, "passing")).await.unwrap();
    store.execute(founded, delete(founded.owner, passing)).await.unwrap();
    let usage = RecordUsage {
        meter: Meter::ApiRequests,
        start: crate::test_store::start(),
        period: "2026-01".to_owned(),
        count: 7,
    };
    for (command, actor) in [
        (BillingCommand::RecordUsage(usage), Actor::SYSTEM),
        (BillingCommand::SetQuota(lifted.clone()), founded.owner),
        (BillingCommand::SetOperatorQuota(lifted), Actor::OPERATOR),
    ] {
        store.execute(founded, Submission::new(command, actor)).await.unwrap();
    }
}
