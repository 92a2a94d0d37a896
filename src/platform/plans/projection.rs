//! Plans as a fold.

use std::sync::LazyLock;

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::area::{DirectoryEntry, Fold};
use crate::event::{Event, Recorded};
use crate::platform::plans::event::{PlanSet, PlansEvent};
use crate::settings::billing::event::{PlanLimit, PlanTaken};
use crate::settings::billing::value::UNLIMITED;

/// The plans of a server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Plans {
    plans: RedBlackTreeMapSync<String, Plan>,
    /// The plan that organizations are founded with.
    founding: Option<String>,
}

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The plan.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// What it limits.
    pub limits: Vec<PlanLimit>,
    /// Whether organizations take it themselves.
    pub self_service: bool,
}

static BUILT_IN: LazyLock<Plan> = LazyLock::new(|| Plan {
    id: UNLIMITED.to_owned(),
    name: "Unlimited".to_owned(),
    limits: Vec::new(),
    self_service: false,
});

impl Plan {
    /// The plan as an organization takes it.
    pub fn taken(&self) -> PlanTaken {
        PlanTaken { plan: self.id.clone(), limits: self.limits.clone() }
    }

    /// Whether it is among these plans as it would be set.
    pub fn is(&self, set: &PlanSet, among: &Plans) -> bool {
        (&self.name, &self.limits, self.self_service) == (&set.name, &set.limits, set.self_service)
            && among.is_founding(&self.id) == set.default
    }
}

impl Plans {
    /// A plan.
    pub fn get(&self, id: &str) -> Option<&Plan> {
        if id == UNLIMITED { Some(&BUILT_IN) } else { self.plans.get(id) }
    }

    /// All of them by id, the one that is built in included.
    pub fn iter(&self) -> impl Iterator<Item = &Plan> {
        use std::ops::Bound::{Excluded, Unbounded};
        let before = self.plans.range::<str, _>((Unbounded, Excluded(UNLIMITED)));
        let after = self.plans.range::<str, _>((Excluded(UNLIMITED), Unbounded));
        let set = |(_, plan)| plan;
        before.map(set).chain(std::iter::once(&*BUILT_IN)).chain(after.map(set))
    }

    /// How many operators have set.
    pub fn count(&self) -> usize {
        self.plans.size()
    }

    /// The plan that organizations are founded with; without one, they are not limited.
    pub fn founding(&self) -> Option<&Plan> {
        self.get(self.founding.as_deref()?)
    }

    /// Whether organizations are founded with this plan.
    pub fn is_founding(&self, id: &str) -> bool {
        self.founding.as_deref().unwrap_or(UNLIMITED) == id
    }
}

impl Fold for Plans {
    const NAME: &'static str = "plans";
    const PROJECTION: u32 = 1;

    fn apply(&mut self, recorded: &Recorded) {
        let Event::Plans(PlansEvent::PlanSet(set)) = &recorded.event else { return };
        let PlanSet { plan, name, limits, self_service, default } = set.clone();
        if default {
            self.founding = Some(plan.clone());
        } else if self.founding.as_ref() == Some(&plan) {
            self.founding = None;
        }
        self.plans.insert_mut(plan.clone(), Plan { id: plan, name, limits, self_service });
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        self.plans.size()
    }
}
