//! What happens to the world itself: time, processes, accounts.

use model::Clock as _;
use serde_json::json;

use super::{Result, Simulation};

impl Simulation {
    /// A little time passes.
    pub(super) fn pass(&mut self) -> Result {
        let millis = match self.below(10) {
            0..4 => 1 + self.below(400),
            4..8 => 400 + self.below(3_000),
            _ => 3_000 + self.below(20_000),
        };
        self.outside.clock.advance_ms(millis as u64);
        self.note(format_args!("{millis} ms pass"));
        Ok(())
    }

    /// Much time passes at once, as after a machine slept.
    pub(super) fn leap(&mut self) -> Result {
        let seconds = match self.below(3) {
            0 => 31 + self.below(60),
            1 => 300 + self.below(300),
            _ => 3_600,
        };
        self.outside.clock.advance_ms(seconds as u64 * 1_000);
        self.note(format_args!("{seconds} s pass"));
        Ok(())
    }

    /// Somebody sets the clock.
    pub(super) fn set_back(&mut self) -> Result {
        let millis = 1 + self.below(if self.one_in(2) { 2_000 } else { 3_600_000 });
        let now = self.outside.clock.now();
        self.outside.clock.set(now.plus_millis(-(millis as i64)));
        self.is_time_straight = false;
        self.note(format_args!("the clock was set back by {millis} ms"));
        Ok(())
    }

    /// A tenant disables one of its accounts, or enables it.
    pub(super) fn switch(&mut self) -> Result {
        let Some(index) = self.some_account() else { return Ok(()) };
        let is_enabled = self.one_in(2);
        self.enable(index, is_enabled)
    }

    /// Says whether messages may leave through an account.
    pub(super) fn enable(&mut self, index: usize, is_enabled: bool) -> Result {
        let node = self.awake();
        let account = &self.accounts[index];
        let caller = self.tenants[account.tenant].caller.clone();
        let change = serde_json::from_value(json!({ "enabled": is_enabled })).expect("a change of an account");
        let parts = self.nodes[node].engine.parts();
        let done = self.nodes[node].run(engine::accounts::patch(parts, &caller, account.id, change));
        self.settled(&format!("a{index} is enabled: {is_enabled}"), Some(done.map(drop)))
    }

    /// A tenant deletes one of its accounts, where it may.
    pub(super) fn delete(&mut self) -> Result {
        let Some(index) = self.some_account() else { return Ok(()) };
        let is_forced = self.one_in(2);
        let node = self.awake();
        let account = &self.accounts[index];
        let caller = self.tenants[account.tenant].caller.clone();
        let parts = self.nodes[node].engine.parts();
        let done = self.nodes[node].run(async {
            match is_forced {
                true => engine::accounts::force_delete(parts, &caller, account.id).await,
                false => engine::accounts::delete(parts, &caller, account.id).await,
            }
        });
        self.accounts[index].is_deleted = done.is_ok();
        self.settled(&format!("a{index} is deleted, by force: {is_forced}"), Some(done))
    }

    /// A tenant adds an account.
    pub(super) fn open(&mut self) -> Result {
        let node = self.awake();
        let tenant = self.below(self.tenants.len());
        let connector = ["twilio", "resend", "smtp"][self.below(3)];
        self.add_account(node, tenant, connector)
    }

    fn some_account(&self) -> Option<usize> {
        let there: Vec<usize> = (0..self.accounts.len()).filter(|index| !self.accounts[*index].is_deleted).collect();
        there.get(self.below(there.len())).copied()
    }

    /// A process dies at rest: with exchanges on record that never began, and some at the provider's.
    pub(super) fn die(&mut self) -> Result {
        let index = self.below(self.nodes.len());
        self.crash(index)
    }

    /// A process stops for a while and does not know it.
    pub(super) fn sleep(&mut self) -> Result {
        if !self.is_shared || self.nodes.len() < 2 {
            return Ok(());
        }
        let index = self.awake();
        self.nodes[index].asleep_until = self.step + 5 + self.below(25);
        let number = self.nodes[index].number;
        self.note(format_args!("process {number} stands still"));
        Ok(())
    }

    /// A second process joins.
    pub(super) fn join(&mut self) -> Result {
        if !self.is_shared || self.nodes.len() >= 2 {
            return Ok(());
        }
        let skew_ms = if self.one_in(2) { 0 } else { self.below(10_000) as i64 - 5_000 };
        self.is_time_straight &= skew_ms == 0;
        self.start_node(skew_ms)
    }
}
