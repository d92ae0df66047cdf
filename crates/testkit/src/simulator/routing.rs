//! Routing in a simulated world: tenants with rules that choose among several accounts, and the laws about which one a message leaves through. The laws know the rules from the outside
//! and read what the engine kept of its decisions; they do not decide again.

use engine::{
    once::Repeat,
    routing::decide::{Decision, Verdict},
};
use model::{AccountId, Channel, FailureKind};
use serde_json::{Value, json};
use store::messages::Message;

use super::{
    Result, Simulation, broken,
    laws::{AFTER_UNKNOWN, DECIDED, FAILOVER, PRIORITY, WEIGHT, WORKS},
    picture::{Attempt, Picture},
};

/// Choices by weight that say something: with the weights below, hardly one run in a million has so few for the heavy account by chance.
const CHOICES_MIN: usize = 8;
/// The weights of the two accounts of a rule.
const WEIGHTS: [u32; 2] = [9, 1];

/// A rule as it was made.
pub(super) struct Route {
    pub tenant: usize,
    pub channel: Channel,
    pub is_by_weight: bool,
    /// In the rule's order; the first is the heavy one.
    pub accounts: Vec<AccountId>,
}

impl Simulation {
    /// Gives each tenant a second account for texts and one for mails, and rules that choose between the two.
    pub(super) fn lay_routes(&mut self) -> Result {
        for tenant in 0..self.tenants.len() {
            for (connector, channels) in
                [("twilio", &[Channel::Sms, Channel::Whatsapp][..]), ("resend", &[Channel::Email][..])]
            {
                let own =
                    |account: &&super::client::Account| account.tenant == tenant && account.connector == connector;
                while self.accounts.iter().filter(own).count() < WEIGHTS.len() {
                    self.add_account(0, tenant, connector)?;
                }
                let accounts: Vec<AccountId> = self.accounts.iter().filter(own).map(|account| account.id).collect();
                for channel in channels {
                    self.lay_route(tenant, *channel, accounts[..WEIGHTS.len()].to_vec())?;
                }
            }
        }
        Ok(())
    }

    fn lay_route(&mut self, tenant: usize, channel: Channel, accounts: Vec<AccountId>) -> Result {
        let is_by_weight = self.one_in(2);
        let among: Vec<Value> = accounts
            .iter()
            .zip(WEIGHTS)
            .map(|(id, weight)| match is_by_weight {
                true => json!({ "account_id": id, "weight": weight }),
                false => json!({ "account_id": id }),
            })
            .collect();
        let by = if is_by_weight { "weight" } else { "priority" };
        let otherwise = if self.one_in(2) { "wait" } else { "next_rule" };
        let new = json!({ "name": "All", "channel": channel, "choose": { "by": by }, "accounts": among, "otherwise": otherwise });
        let new = serde_json::from_value(new).expect("a rule's request");
        let (node, caller) = (&self.nodes[0], &self.tenants[tenant].caller);
        let made = node.run(engine::routing::create(&node.engine, caller, &Repeat::NONE, new));
        made.map_err(|error| broken(WORKS, format!("{error:?}")))?;
        self.note(format_args!("tenant {tenant} sends {channel} by {by}, otherwise {otherwise}"));
        self.routes.push(Route { tenant, channel, is_by_weight, accounts });
        Ok(())
    }

    /// Checks the laws of routing.
    pub(super) fn look_at_routes(&self, picture: &Picture) -> Result {
        let mut choices: Vec<(usize, usize)> = vec![(0, 0); self.routes.len()];
        for m in picture.messages.values() {
            let decisions = decisions(picture, m);
            let Some(first) = decisions.first() else { continue };
            let of = |route: &Route| self.tenants[route.tenant].id == m.tenant_id && route.channel == m.channel;
            let Some(index) = self.routes.iter().position(of) else { continue };
            let route = &self.routes[index];
            // The default account steps in where no account of the rule can be used.
            if first.rule_id.is_none() {
                continue;
            }
            if !route.is_by_weight {
                priority(picture, m, route, first)?;
            } else if first.considered.iter().all(|one| one.verdict != Verdict::Skipped) {
                let (heavy, all) = &mut choices[index];
                *heavy += usize::from(route.accounts.first() == Some(&first.account_id));
                *all += 1;
            }
        }
        let (heavy, all) = choices.iter().fold((0, 0), |(heavy, all), one| (heavy + one.0, all + one.1));
        if all >= CHOICES_MIN && heavy * 4 < all {
            return Err(broken(WEIGHT, format!("{heavy} of {all} messages went where nine of ten belong")));
        }
        for m in picture.messages.values() {
            self.failover(picture, m)?;
            let decisions = decisions(picture, m);
            if !decisions.is_empty() {
                self.decided(picture, m, &decisions)?;
            }
        }
        Ok(())
    }

    /// Another account follows only what another account may follow.
    fn failover(&self, picture: &Picture, m: &Message) -> Result {
        let attempts = picture.attempts_of(m.id);
        // A person who sends a dead letter again may send it anywhere.
        if picture.observed(m.id).iter().any(|seen| seen.kind == "retried") {
            return Ok(());
        }
        let is_gone = |attempt: &Attempt| {
            let account = self.accounts.iter().find(|account| account.id == attempt.account);
            account.is_none_or(|account| account.is_deleted)
        };
        for (index, next) in attempts.iter().enumerate().skip(1) {
            let one = &attempts[index - 1];
            if one.account == next.account || is_gone(one) {
                continue;
            }
            let allowed = [FailureKind::Throttled, FailureKind::Unavailable, FailureKind::Account];
            let is_allowed = allowed.iter().any(|kind| kind.code() == one.outcome);
            let said = |by: &Attempt| {
                format!("{}: attempt {} through another account after {by:?}", picture.name(m.id), next.number)
            };
            if let Some(unknown) = attempts[..index].iter().find(|before| before.outcome == FailureKind::Unknown.code())
            {
                return Err(broken(AFTER_UNKNOWN, said(unknown)));
            }
            if !is_allowed {
                return Err(broken(FAILOVER, said(one)));
            }
        }
        Ok(())
    }

    /// A message that rules decided about leaves through accounts that were decided for, and no others.
    fn decided(&self, picture: &Picture, m: &Message, decisions: &[Decision]) -> Result {
        let observed = picture.observed(m.id);
        // One whose account was deleted falls to the channel's default; what a person sends again is decided anew.
        let others = observed.iter().filter(|seen| matches!(seen.kind.as_str(), "rerouted" | "retried"));
        let others: String = others.map(|seen| seen.detail.as_str()).collect();
        let is_retried = observed.iter().any(|seen| seen.kind == "retried");
        let was_decided = |attempt: &&Attempt| {
            let is_one = |decision: &Decision| decision.account_id == attempt.account;
            decisions.iter().any(is_one) || others.contains(&attempt.account.to_string()) || is_retried
        };
        match picture.attempts_of(m.id).iter().find(|attempt| !was_decided(attempt)) {
            Some(attempt) => Err(broken(DECIDED, format!("{}: {attempt:?}", picture.name(m.id)))),
            None => Ok(()),
        }
    }
}

/// What the rules said about a message when it was accepted, and what was decided later.
fn decisions(picture: &Picture, m: &Message) -> Vec<Decision> {
    let observed = picture.observed(m.id);
    let first = observed.iter().filter(|seen| seen.kind == "routed");
    first.filter_map(|seen| serde_json::from_str(&seen.detail).ok()).collect()
}

/// Of a rule by priority the first account is taken that can be.
fn priority(picture: &Picture, m: &Message, route: &Route, decision: &Decision) -> Result {
    let skipped = |id: AccountId| {
        let found = decision.considered.iter().find(|one| one.account_id == id);
        found.is_some_and(|one| one.verdict == Verdict::Skipped && one.why.is_some())
    };
    // One that waits has been passed over with a reason, too.
    let before = route.accounts.iter().take_while(|id| **id != decision.account_id);
    match before.copied().find(|id| !skipped(*id)) {
        Some(id) => {
            let by = format!("{}: {id} was passed over for {}, without a reason", picture.name(m.id), decision.account);
            Err(broken(PRIORITY, by))
        }
        None => Ok(()),
    }
}
