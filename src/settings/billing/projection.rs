//! An organization's plan and quotas as a fold. How much there is of what is metered, the areas know that hold it.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::area::{Area, DirectoryEntry, Fold, Reads};
use crate::clock::Timestamp;
use crate::event::{Event, Recorded, ResourceType, Version};
use crate::history::description::{Description, Difference, Field, Focus, Subject, fields};
use crate::history::restore::plan::{Outlook, Plan};
use crate::ids::{CustomerId, OrganizationId};
use crate::organization::Organization;
use crate::settings::billing::customer_limits::{CustomerLimits, OF_CUSTOMERS};
use crate::settings::billing::event::{Alerted, BillingEvent, PlanTaken, QuotaSet, UsageRecorded};
use crate::settings::billing::value::{Meter, Quota, Quotas, UNLIMITED};
use crate::settings::customers::event::CustomersEvent;
use crate::settings::general::event::GeneralEvent;
use crate::settings::roles::permission::Permission;

/// An organization's plan and quotas.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Billing {
    organization: Option<OrganizationId>,
    plan: String,
    limits: Quotas,
    /// An operator's, in place of the plan's.
    operator: Quotas,
    /// The organization's own.
    own: Quotas,
    /// Those of single customers, kept for who was deleted and may come back.
    customers: RedBlackTreeMapSync<CustomerId, CustomerLimits>,
    /// The last alert of each share of each soft limit that is in force, in percent.
    alerts: RedBlackTreeMapSync<(Meter, u8, u64), Alert>,
    /// The newest month in which something was counted.
    period: String,
    /// How much was counted in it.
    counted: RedBlackTreeMapSync<Meter, u64>,
    created_at: Timestamp,
    updated_at: Timestamp,
    version: Version,
}

impl Default for Billing {
    fn default() -> Self {
        Self {
            organization: None,
            plan: UNLIMITED.to_owned(),
            limits: Quotas::default(),
            operator: Quotas::default(),
            own: Quotas::default(),
            customers: RedBlackTreeMapSync::new_sync(),
            alerts: RedBlackTreeMapSync::new_sync(),
            period: String::new(),
            counted: RedBlackTreeMapSync::new_sync(),
            created_at: Timestamp::EPOCH,
            updated_at: Timestamp::EPOCH,
            version: 0,
        }
    }
}

/// That use reached a share of a soft limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// How much there was.
    pub used: u64,
    /// The month, as `2026-11`.
    pub period: String,
    /// When.
    pub at: Timestamp,
}

/// What bounds one meter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The plan's quota, or an operator's in its place: more than that the organization cannot set itself.
    pub ceiling: Option<Quota>,
    /// The organization's own.
    pub own: Option<Quota>,
}

impl Bounds {
    /// The least limit beyond which more is refused.
    pub fn hard(self) -> Option<u64> {
        self.all().filter_map(Quota::hard).min()
    }

    /// The quota that is met first: that with the least limit, and of equal ones a hard one. So an organization is never
    /// above its ceiling, whatever its own quota was when that became lower.
    pub fn nearest(self) -> Option<Quota> {
        self.all().min_by_key(|quota| (quota.limit, quota.soft))
    }

    /// The limits beyond which more is told.
    pub fn soft(self) -> impl Iterator<Item = u64> {
        self.all().filter(|quota| quota.soft).map(|quota| quota.limit)
    }

    /// Both; where they are the same, that one.
    fn all(self) -> impl Iterator<Item = Quota> {
        self.ceiling.into_iter().chain(self.own.filter(|own| self.ceiling != Some(*own)))
    }
}

impl Billing {
    /// The plan.
    pub fn plan(&self) -> &str {
        &self.plan
    }

    /// Whether the organization has a plan with exactly these limits.
    pub fn has(&self, plan: &PlanTaken) -> bool {
        self.plan == plan.plan && self.limits == plan.quotas()
    }

    /// An operator's quota in place of the plan's.
    pub fn operators(&self, meter: Meter) -> Option<Quota> {
        self.operator.get(&meter).copied()
    }

    /// What bounds a meter.
    pub fn bounds(&self, meter: Meter) -> Bounds {
        let ceiling = self.operator.get(&meter).or_else(|| self.limits.get(&meter));
        Bounds { ceiling: ceiling.copied(), own: self.own.get(&meter).copied() }
    }

    /// The limits of a customer, if any were ever set.
    pub fn customer_limits(&self, customer: CustomerId) -> Option<&CustomerLimits> {
        self.customers.get(&customer)
    }

    /// The customers who have limits, by id.
    pub fn limited_customers(&self) -> impl Iterator<Item = CustomerId> + '_ {
        self.customers.iter().filter(|(_, limited)| !limited.limits.is_empty()).map(|(id, _)| *id)
    }

    /// Whether anything is bounded.
    pub fn is_bounded(&self) -> bool {
        !self.customers.is_empty()
            || [&self.limits, &self.operator, &self.own].into_iter().any(|quotas| !quotas.is_empty())
    }

    /// The last alert of a share of a soft limit, in percent, if that has been in force ever since.
    pub fn alert(&self, meter: Meter, threshold: u8, limit: u64) -> Option<&Alert> {
        self.alerts.get(&(meter, threshold, limit))
    }

    /// The last alert of each share of each soft limit that is in force: the meter, the share, the limit.
    pub fn alerts(&self) -> impl Iterator<Item = (Meter, u8, u64, &Alert)> {
        self.alerts.iter().map(|((meter, threshold, limit), alert)| (*meter, *threshold, *limit, alert))
    }

    /// The newest month in which something was counted, as `2026-11`; empty before the first.
    pub fn period(&self) -> &str {
        &self.period
    }

    /// How much was counted in a month, if it is the newest one.
    pub fn counted(&self, meter: Meter, period: &str) -> u64 {
        if self.period == period { self.counted.get(&meter).copied().unwrap_or(0) } else { 0 }
    }

    /// The organization, once founded.
    pub fn organization(&self) -> Option<OrganizationId> {
        self.organization
    }

    /// When the organization was founded.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// When plan or quotas changed last.
    pub fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    /// The stream version of that.
    pub fn version(&self) -> Version {
        self.version
    }

    fn touch(&mut self, recorded: &Recorded) {
        self.updated_at = recorded.at;
        self.version = recorded.version;
    }

    fn take(&mut self, plan: &PlanTaken) {
        self.plan.clone_from(&plan.plan);
        self.limits = plan.quotas();
    }

    /// Forgets the alerts of limits that are none any more: whoever sets one again is told of it again.
    fn keep_alerts_in_force(&mut self) {
        let is_over = |meter: Meter, limit: u64| self.bounds(meter).soft().all(|soft| soft != limit);
        let over = self.alerts.keys().filter(|(meter, _, limit)| is_over(*meter, *limit));
        let over: Vec<_> = over.copied().collect();
        for key in over {
            self.alerts.remove_mut(&key);
        }
    }

    /// Takes a count in. What belongs to an earlier month than the newest one is in the log alone.
    fn count(&mut self, usage: &UsageRecorded, count: u64) {
        if usage.period > self.period {
            self.period.clone_from(&usage.period);
            self.counted = RedBlackTreeMapSync::new_sync();
        }
        if usage.period == self.period {
            let before = self.counted.get(&usage.meter).copied().unwrap_or(0);
            self.counted.insert_mut(usage.meter, before + count);
        }
    }
}

fn set(quotas: &mut Quotas, set: &QuotaSet) {
    match set.quota {
        Some(quota) => quotas.insert_mut(set.meter, quota),
        None => {
            quotas.remove_mut(&set.meter);
        }
    }
}

impl Fold for Billing {
    const NAME: &'static str = "billing";
    const PROJECTION: u32 = 3;

    fn apply(&mut self, recorded: &Recorded) {
        let event = match &recorded.event {
            Event::General(GeneralEvent::OrganizationCreated(created)) => {
                self.organization = Some(created.organization);
                self.created_at = recorded.at;
                if let Some(plan) = &created.plan {
                    self.take(plan);
                }
                return self.touch(recorded);
            }
            Event::Customers(CustomersEvent::CustomerErased(erased)) => {
                if self.customers.remove_mut(&erased.customer) {
                    self.touch(recorded);
                }
                return;
            }
            Event::Billing(event) => event,
            _ => return,
        };
        match event {
            BillingEvent::PlanChanged(plan) => self.take(plan),
            BillingEvent::QuotaSet(quota) => set(&mut self.own, quota),
            BillingEvent::OperatorQuotaSet(quota) => set(&mut self.operator, quota),
            BillingEvent::CustomerLimitsSet(set) => {
                self.customers.insert_mut(set.customer, CustomerLimits::of(set, recorded));
            }
            BillingEvent::UsageRecorded(usage) => return self.count(usage, recorded.count.unwrap_or(1)),
            BillingEvent::Alerted(Alerted { meter, threshold, limit, used, period }) => {
                let alert = Alert { used: *used, period: period.clone(), at: recorded.at };
                return self.alerts.insert_mut((*meter, *threshold, *limit), alert);
            }
        }
        self.keep_alerts_in_force();
        self.touch(recorded);
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        1 + self.limits.size()
            + self.operator.size()
            + self.own.size()
            + self.customers.size()
            + self.alerts.size()
            + self.counted.size()
    }
}

impl Area for Billing {
    const READS: &'static [&'static str] = &[
        "organization.create",
        "billing.change_plan",
        "billing.set_quota",
        "organization.set_quota",
        "billing.set_customer_limit",
        "customer.erase",
        "billing.alert",
        "billing.usage",
    ];
    const CASCADES: &'static [&'static str] = &[];
    const NOTES: &'static [&'static str] = &["billing.alert", "billing.usage"];
    const KINDS: &'static [Reads] =
        &[Reads { kind: ResourceType::Billing, permission: Permission::BillingRead }];
    const RESTORABLE: bool = false;

    fn of(organization: &Organization) -> &Self {
        &organization.billing
    }

    fn narrowed(&self, focus: &Focus) -> Self {
        let mut narrowed = self.clone();
        if let Focus::Resource(id) | Focus::Named(id, _) = focus {
            let one = id.parse().ok().and_then(|id| Some((id, self.customer_limits(id)?.clone())));
            narrowed.customers = one.into_iter().collect();
        }
        narrowed
    }

    fn describe(&self, focus: &Focus, into: &mut Description) {
        for (customer, limited) in focus.among(self.customers.iter(), |id| self.customers.get_key_value(&id))
        {
            let limit = |meter| limited.limits.get(&meter).map(|limit| Field::Open(Value::from(*limit)));
            let told = fields(OF_CUSTOMERS.map(|meter| (meter.name(), limit(meter))));
            if !told.is_empty() {
                into.insert(Subject::new(ResourceType::Billing, customer), told);
            }
        }
        let Some(organization) = self.organization else { return };
        let subject = Subject::new(ResourceType::Billing, organization);
        if !focus.includes(&subject.id) {
            return;
        }
        let told = fields([
            ("plan", Some(self.plan.as_str().into())),
            ("plan_limits", told(&self.limits)),
            ("operator_quotas", told(&self.operator)),
            ("quotas", told(&self.own)),
        ]);
        into.insert(subject, told);
    }

    /// What an organization pays for is never brought back.
    fn restore(_differences: &[Difference], _outlook: &Outlook<'_>, _plan: &mut Plan) {}
}

/// Quotas as they are shown; absent where there are none.
fn told(quotas: &Quotas) -> Option<Field> {
    let quota = |(meter, quota): (&Meter, &Quota)| {
        (meter.name().to_owned(), json!({"limit": quota.limit, "soft": quota.soft}))
    };
    (!quotas.is_empty()).then(|| Field::Open(Value::Object(quotas.iter().map(quota).collect())))
}
