//! The end of a run: the world becomes well, and everything must come to its end.

use model::{Clock as _, MessageId, Timestamp};

use super::{
    Result, Simulation, act, broken,
    laws::{SETTLES, WORKS},
    picture::Picture,
    provider::{Copy, Verdict, Word},
};

/// Rounds after which every message must have ended. Each lets the time pass that is needed for something to fall due.
const ROUNDS_MAX: usize = 300;
/// Shortest time between two rounds, in milliseconds.
const ROUND_MS: i64 = 2_000;

impl Simulation {
    /// Lets everything end well.
    pub(super) fn end(&mut self) -> Result {
        self.note("everything becomes well");
        self.outside.provider.state().is_healthy = true;
        for node in &mut self.nodes {
            node.asleep_until = 0;
        }
        for index in 0..self.accounts.len() {
            if !self.accounts[index].is_deleted {
                self.enable(index, true)?;
            }
        }
        let is_reported = self.one_in(2);
        for _ in 0..ROUNDS_MAX {
            self.step += 1;
            self.round()?;
            if is_reported {
                self.report_all()?;
            }
            let picture = self.look()?;
            let Some((next, whose)) = self.next(&picture, is_reported) else { return Ok(()) };
            let now = self.outside.clock.now();
            let wait_ms = next.millis_since(now).max(ROUND_MS) + 1;
            self.outside.clock.advance_ms(wait_ms.unsigned_abs());
            self.note(format_args!("{wait_ms} ms pass for {}", picture.name(whose)));
        }
        let picture = self.look()?;
        let whose = self.next(&picture, is_reported).map(|(_, id)| self.case(&picture, |case| case.story(id)));
        Err(broken(SETTLES, format!("paused {:#?}\nmost urgent {}", picture.paused, whose.unwrap_or_default())))
    }

    /// Runs every job in every process, and lets everything leave and be taken.
    fn round(&mut self) -> Result {
        for index in 0..self.nodes.len() {
            for name in ["beat", "refresh", "recover", "expire", "later", "ask", "rematch", "reroute", "divert"] {
                let done = self.nodes[index].run(act::run_job(&self.nodes[index], name));
                done.map_err(|error| act::failed(name, &error))?;
            }
            self.nodes[index].claim().map_err(|error| act::failed("claiming", &error))?;
            while self.nodes[index].claimed() > 0 {
                self.nodes[index].depart(0).map_err(|by| broken(WORKS, by))?;
            }
        }
        while !self.outside.provider.state().waiting.is_empty() {
            self.outside.provider.answer(0, Verdict::Accept);
            self.settle()?;
        }
        let is_flying = self.nodes.iter().any(super::Node::is_flying);
        if is_flying { Err(broken(SETTLES, "an exchange was answered and did not end")) } else { Ok(()) }
    }

    /// Providers tell everything they have not told yet, the last thing first.
    fn report_all(&mut self) -> Result {
        let copies: Vec<Copy> = self.outside.provider.state().copies.clone();
        for copy in copies {
            let words: Vec<Word> = copy.truth.iter().rev().copied().collect();
            for word in words {
                if !self.client.handed_in.contains(&(copy.id.clone(), word)) {
                    self.tell(&copy, word, None)?;
                }
            }
        }
        self.outside.provider.state().copies.iter_mut().for_each(|copy| copy.happened = copy.truth.len());
        Ok(())
    }

    /// When something falls due that has to end; `None` when nothing has to.
    fn next(&self, picture: &Picture, is_reported: bool) -> Option<(Timestamp, MessageId)> {
        let mut state = self.outside.provider.state();
        state.copies.iter_mut().for_each(|copy| copy.happened = copy.truth.len());
        let is_open = |id: &MessageId| {
            let m = &picture.messages[id];
            !m.status.is_final() || (!is_reported && self.is_to_be_learned(picture, *id, &state.copies))
        };
        let open = picture.messages.keys().filter(|id| is_open(id));
        let due = |id: &MessageId| {
            let m = &picture.messages[id];
            let rows = picture.due.get(id).into_iter().flatten();
            let due = rows.map(|row| picture.paused.get(&row.account).map_or(row.at, |until| row.at.max(*until)));
            due.chain(m.poll_at).min().unwrap_or(Timestamp::EPOCH)
        };
        open.map(|id| (due(id), *id)).min()
    }

    /// True when a question to the provider must bring more than is known.
    fn is_to_be_learned(&self, picture: &Picture, id: MessageId, copies: &[Copy]) -> bool {
        let m = &picture.messages[&id];
        let mut own = copies.iter().filter(|copy| copy.item.message == id);
        let (Some(copy), None) = (own.next(), own.next()) else { return false };
        let is_known = m.provider_message_id.as_ref() == Some(&copy.id) && m.poll_at.is_some();
        let is_there = self.accounts.iter().any(|a| a.name_there == copy.account && !a.is_deleted);
        let truth = copy.truth.last().filter(|word| **word != Word::Sent);
        is_known && is_there && truth.is_some_and(|word| m.status < word.status())
    }
}
