//! Verifying the logs: every entry against its chain and its seal, every log against its mark, and all of them against what the operator's log says of tenants that came and went.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{AuditId, TenantId, Timestamp};
use store::{
    Db, Scope, Tx,
    audit::{self, Commitment, Link},
    audit_marks::{self, Mark, Register},
    tenants,
};

use super::{ERASED, ERASED_ENTRIES, TELL_OF_ERASED, beginning, commit, hash, seals};
use crate::{
    Error,
    vault::{OPERATOR, Vault},
};

/// Entries verified in one step.
const VERIFY_PAGE: i64 = 1_000;

/// How far a log has come: whoever keeps it elsewhere finds out when the log was put back to what it was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Whose log; the operator's own has the zero id.
    pub owner: TenantId,
    /// How many entries it has.
    pub number: i64,
    /// The hash of the last.
    pub hash: Vec<u8>,
}

/// What verifying the logs found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Logs that were looked at.
    pub logs: usize,
    /// Entries that are right.
    pub entries: u64,
    /// Those among them whose detail was erased with a person.
    pub erased: u64,
    /// Those among them that came after their log was last marked: nothing would tell if they were cut off.
    pub unmarked: u64,
    /// Since when logs are sealed; `None` when the first marks were not made yet.
    pub sealed_since: Option<Timestamp>,
    /// The logs that are right.
    pub heads: Vec<Head>,
    /// What is wrong: for each broken log what is wrong first, for people.
    pub broken: Vec<String>,
}

/// Verifies every tenant's log, and the operator's. The database must have the vault with it ([`Db::accompany`]), or no seal can be checked and that is told.
#[crate::boxed]
pub async fn verify(db: &Db) -> Result<Verified, Error> {
    verify_against(db, &[]).await
}

/// The same, and that each log still has the entries that led to a head that was kept.
#[crate::boxed]
pub async fn verify_against(db: &Db, kept: &[Head]) -> Result<Verified, Error> {
    let all = Arc::new(db.read(Scope::System, |tx| Box::pin(All::read(tx))).await?);
    let mut verified = Verified {
        sealed_since: all.register.as_ref().and_then(|register| register.begun_at),
        broken: all.broken.clone(),
        ..Verified::default()
    };
    let mut kept: BTreeMap<TenantId, Vec<Head>> = kept.iter().fold(BTreeMap::new(), |mut kept, head| {
        kept.entry(head.owner).or_insert_with(Vec::new).push(head.clone());
        kept
    });
    let mut owners: BTreeSet<TenantId> =
        all.owners.iter().chain(all.marks.keys()).chain(kept.keys()).copied().collect();
    // The operator's log last, so that it knows of every tenant that went meanwhile.
    owners.remove(&OPERATOR);
    let (mut problems, mut deleted, mut copied) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
    for owner in owners.into_iter().chain([OPERATOR]) {
        let (all, kept) = (Arc::clone(&all), kept.remove(&owner).unwrap_or_default());
        let read = db.read(Scope::System, move |tx| {
            Box::pin(async move {
                let mut walk = Walk::new(owner, all.marks.get(&owner), kept);
                let problem = walk.whole(tx, &all).await?;
                Ok::<_, Error>((walk, problem))
            })
        });
        let (walk, problem) = read.await?;
        verified.logs += usize::from(walk.last.number > 0);
        verified.entries += walk.entries;
        verified.erased += walk.erased;
        match problem {
            Some(what) => drop(problems.insert(owner, what)),
            None if walk.last.number > 0 => {
                verified.unmarked += walk.after_mark();
                verified.heads.push(Head { owner, number: walk.last.number, hash: walk.last.hash });
            }
            None => {}
        }
        deleted.extend(walk.deleted);
        copied.extend(walk.copied);
    }
    for owner in all.created.iter().filter(|owner| !all.owners.contains(owner)) {
        problems.entry(*owner).or_insert_with(|| "it is gone, and nobody deleted the tenant".to_owned());
    }
    copied.retain(|owner, _| !deleted.contains(owner));
    for (owner, id) in missing(db, copied).await? {
        let what = || {
            format!(
                "it lacks the entry {id}, which the operator's log has: it was cut off, or put back to what it was before"
            )
        };
        problems.entry(owner).or_insert_with(what);
    }
    for owner in all.owners.iter().filter(|owner| **owner != OPERATOR && !all.tenants.contains(owner)) {
        let what = match deleted.contains(owner) {
            true => "the tenant was deleted, and its log is still there, or there again",
            false => "there is no such tenant",
        };
        problems.insert(*owner, what.to_owned());
    }
    // What is left of a deleted tenant goes step by step, and its log among it.
    problems.retain(|owner, _| !deleted.contains(owner) || !all.tenants.contains(owner) && all.owners.contains(owner));
    verified.broken.extend(problems.into_iter().map(|(owner, what)| format!("the log of {owner}: {what}")));
    Ok(verified)
}

/// Which of these entries are not in the chain of their log.
async fn missing(db: &Db, entries: BTreeMap<TenantId, AuditId>) -> Result<Vec<(TenantId, AuditId)>, Error> {
    let read = db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let mut missing = Vec::new();
            for (owner, id) in entries {
                if !audit::is_chained(tx, owner, id).await? {
                    missing.push((owner, id));
                }
            }
            Ok::<_, Error>(missing)
        })
    });
    read.await
}

/// What is known of all logs at one moment.
struct All {
    register: Option<Register>,
    key: Option<seals::Key>,
    marks: BTreeMap<TenantId, Mark>,
    /// Who has a log.
    owners: BTreeSet<TenantId>,
    /// Tenants the operator's log says were made.
    created: BTreeSet<TenantId>,
    /// Tenants there are, also those that were deleted and are not removed yet.
    tenants: BTreeSet<TenantId>,
    broken: Vec<String>,
}

impl All {
    async fn read(tx: &mut Tx) -> Result<Self, Error> {
        let register = audit_marks::register(tx).await?;
        let owners: BTreeSet<TenantId> = audit::owners(tx).await?.into_iter().collect();
        let created = audit::subjects(tx, OPERATOR, "tenant.created").await?;
        let mut all = Self {
            key: None,
            marks: BTreeMap::new(),
            owners,
            created: created.iter().filter_map(|id| id.parse().ok()).collect(),
            tenants: BTreeSet::new(),
            broken: Vec::new(),
            register,
        };
        let mut from = OPERATOR;
        loop {
            let page = audit_marks::page(tx, from, seals::MARKS_PAGE).await?;
            let Some(last) = page.last() else { break };
            from = TenantId::from_ulid(last.owner.ulid() + 1);
            all.marks.extend(page.into_iter().map(|mark| (mark.owner, mark)));
        }
        let mut from = OPERATOR;
        loop {
            let page = tenants::ids(tx, from, seals::MARKS_PAGE).await?;
            let Some(last) = page.last() else { break };
            from = TenantId::from_ulid(last.ulid() + 1);
            all.tenants.extend(page);
        }
        all.open(tx.companion::<Vault>().as_deref());
        Ok(all)
    }

    /// Opens the key, and checks what it seals besides entries.
    fn open(&mut self, vault: Option<&Vault>) {
        let Some(register) = &self.register else {
            if !self.marks.is_empty() {
                self.broken.push("the register of all logs was removed, and with it the key of their seals".to_owned());
            }
            return;
        };
        let key = match vault.map(|vault| seals::open(vault, register)) {
            Some(Ok(key)) => key,
            Some(Err(error)) => return self.broken.push(format!("no seal can be checked: {}", error.detail)),
            None => return self.broken.push("no seal can be checked without the master key".to_owned()),
        };
        let mut altered = Vec::new();
        for mark in self.marks.values().filter(|mark| mark.seal != key.of_mark(mark)) {
            altered.push(format!("the log of {}: the mark at entry number {} was altered", mark.owner, mark.number));
        }
        let seals: Vec<Vec<u8>> = self.marks.values().map(|mark| mark.seal.clone()).collect();
        if altered.is_empty() && self.has_begun() && register.seal != key.of_register(register, &seals) {
            let marked = register.marked_at.map(|at| format!(" at {at}")).unwrap_or_default();
            altered.push(format!(
                "the marks of {} logs are not those that were made{marked}: one was removed, added, or put back to an older one together with its log. Which one, the marks do not tell; a log \
                 that lacks what the operator's log or a kept head (--kept) knows of is named by itself",
                self.marks.len()
            ));
        }
        self.broken.extend(altered);
        self.key = Some(key);
    }

    fn has_begun(&self) -> bool {
        self.register.as_ref().is_some_and(|register| register.begun_at.is_some())
    }
}

/// A walk along one log.
struct Walk {
    owner: TenantId,
    mark: Option<Mark>,
    last: Link,
    first: Option<AuditId>,
    entries: u64,
    /// Entries whose detail is gone.
    erased: u64,
    /// The numbers of those of which no later entry says why.
    untold: BTreeSet<i64>,
    /// Tenants that were deleted, as the operator's log says.
    deleted: BTreeSet<TenantId>,
    /// The newest entry of each tenant that the operator's log has, too.
    copied: BTreeMap<TenantId, AuditId>,
    /// What was there before: a number, its hash, and how that is known.
    expected: BTreeMap<i64, (Vec<u8>, String)>,
}

impl Walk {
    fn new(owner: TenantId, mark: Option<&Mark>, kept: Vec<Head>) -> Self {
        let kept = kept.into_iter().map(|head| (head.number, (head.hash, "as was kept elsewhere".to_owned())));
        let marked = mark.filter(|mark| mark.number > 0);
        let marked = marked.map(|mark| (mark.number, (mark.hash.clone(), format!("at {}", mark.at))));
        Self {
            owner,
            mark: mark.cloned(),
            last: beginning(),
            first: None,
            entries: 0,
            erased: 0,
            untold: BTreeSet::new(),
            deleted: BTreeSet::new(),
            copied: BTreeMap::new(),
            expected: marked.into_iter().chain(kept).collect(),
        }
    }

    /// Entries after the mark.
    fn after_mark(&self) -> u64 {
        let marked = self.mark.as_ref().map_or(0, |mark| mark.number);
        (self.last.number - marked).max(0).unsigned_abs()
    }

    /// Walks the whole log and answers what is wrong first.
    async fn whole(&mut self, tx: &mut Tx, all: &All) -> Result<Option<String>, Error> {
        let head = audit::head(tx, self.owner).await?.unwrap_or_else(beginning);
        loop {
            let page = audit::chain(tx, self.owner, self.last.number, VERIFY_PAGE).await?;
            if page.is_empty() {
                break;
            }
            for (entry, link, commitment) in page {
                if let Some(what) = self.step(all, &entry, link, &commitment) {
                    return Ok(Some(what));
                }
            }
        }
        if (self.last.number, &self.last.hash) != (head.number, &head.hash) {
            let what = format!("it ends with entry number {}, and {} were written", self.last.number, head.number);
            return Ok(Some(what));
        }
        if let Some((number, (_, known))) = self.expected.range(self.last.number + 1..).next_back() {
            let what = format!("it ends with entry number {}, and there were {number} {known}", self.last.number);
            return Ok(Some(what));
        }
        if let Some(number) = self.untold.first().filter(|_| all.has_begun()) {
            let what = format!("what entry number {number} said was taken away, and no erasure of a person did that");
            return Ok(Some(what));
        }
        self.beside(tx, all).await
    }

    /// Looks at the next entry; answers what is wrong with it.
    fn step(&mut self, all: &All, entry: &audit::Entry, link: Link, commitment: &Commitment) -> Option<String> {
        let expected = self.last.number + 1;
        if link.number != expected {
            return Some(format!("entry number {expected} is missing; the next there is {} of {}", entry.id, entry.at));
        }
        let is_detail_right = match &commitment.salt {
            Some(salt) => commitment.hash == commit(salt, &entry.detail),
            None => entry.detail == ERASED,
        };
        let named = || format!("entry {} (number {expected}, {}, {})", entry.id, entry.at, entry.action);
        if !is_detail_right || link.hash != hash(&self.last.hash, link.number, entry, &commitment.hash) {
            return Some(format!("{} is not as it was written", named()));
        }
        if let Some(key) = &all.key {
            let needs_seal = all.has_begun() && self.mark.as_ref().is_none_or(|mark| link.number > mark.unsealed);
            match &link.seal {
                Some(seal) if *seal == key.of_entry(&link.hash) => {}
                None if !needs_seal => {}
                _ => {
                    return Some(format!(
                        "{} was not written by Tidings: it has no seal of this installation",
                        named()
                    ));
                }
            }
        }
        if let Some((hash, known)) = self.expected.get(&link.number)
            && *hash != link.hash
        {
            return Some(format!("{} is not the one that was there {known}: the log was rewritten", named()));
        }
        self.first.get_or_insert(entry.id);
        self.entries += 1;
        if commitment.salt.is_none() {
            self.erased += 1;
            self.untold.insert(link.number);
        }
        if TELL_OF_ERASED.contains(&entry.action.as_str()) {
            let detail: serde_json::Value = serde_json::from_str(&entry.detail).unwrap_or_default();
            let told: Option<Vec<(i64, i64)>> = serde_json::from_value(detail[ERASED_ENTRIES].clone()).ok();
            for (first, last) in told.unwrap_or_default() {
                self.untold.retain(|number| !(first..=last).contains(number));
            }
        }
        if self.owner == OPERATOR && entry.action == "tenant.deleted" {
            self.deleted.extend(entry.subject.parse::<TenantId>().ok());
        }
        if let Some(of) = &entry.acted_in {
            self.copied.insert(of.tenant, entry.id);
        }
        self.last = link;
        None
    }

    /// Looks at entries without a place in the chain: there may be some from before there was one.
    async fn beside(&self, tx: &mut Tx, all: &All) -> Result<Option<String>, Error> {
        let (count, hash, last) = seals::loose(tx, self.owner).await?;
        let stranger = |id: AuditId| format!("entry {id} was not written by Tidings: it has no place in the chain");
        let (known, is_right) = match &self.mark {
            Some(mark) => (mark.loose, (mark.loose, &mark.loose_hash) == (count, &hash)),
            None if all.has_begun() => (0, count == 0),
            None => (0, last.is_none_or(|last| self.first.is_none_or(|first| last < first))),
        };
        Ok(match last.filter(|_| known == 0) {
            _ if is_right => None,
            Some(last) => Some(stranger(last)),
            None => Some(format!(
                "of the {known} entries from before there was a chain some were changed, added or removed; there are {count} now"
            )),
        })
    }
}
