//! Suppressions, consent, preferences, topics, rules and fallbacks: each function on both engines.

use model::{
    AccountId, Blocks, Channel, ConsentId, ConsentMethod, ConsentState, ContactId, MessageId, Status, SuppressionId,
    SuppressionReason, TenantId, Timestamp,
};
use store::{
    Error, Scope,
    accounts::{self, Account},
    consent_policies,
    consents::{self, ConsentRecord, Preferences, Topic},
    fallbacks::{self, Fallback, FormerRoute},
    messages::{self, ContentId, Message},
    suppressions::{self, Filter, SoftBounce, Suppression},
};

const ACME: TenantId = TenantId::from_ulid(10);
const OTHER: TenantId = TenantId::from_ulid(20);
const ADA: ContactId = ContactId::from_ulid(1);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

macro_rules! write {
    ($db:expr, |$tx:ident| $work:expr) => {
        $db.write(Scope::System, move |$tx| Box::pin(async move { Ok::<_, Error>($work) })).await.unwrap()
    };
}

fn suppression(id: u128, owner: TenantId, address: &str, reason: SuppressionReason) -> Suppression {
    Suppression {
        tenant_id: owner,
        channel: Channel::Email,
        address: address.to_owned(),
        reason,
        id: SuppressionId::from_ulid(id),
        blocks: Blocks::Marketing,
        source: "provider".to_owned(),
        detail: Some("why".to_owned()),
        message_id: Some(MessageId::from_ulid(id)),
        created_at: at(i64::try_from(id).unwrap()),
    }
}

fn record(id: u128, topic: &str, state: ConsentState, said_at: i64) -> ConsentRecord {
    ConsentRecord {
        tenant_id: ACME,
        contact_id: ADA,
        id: ConsentId::from_ulid(id),
        channel: Channel::Email,
        topic: topic.to_owned(),
        state,
        method: ConsentMethod::Form,
        source: "key".to_owned(),
        text_shown: Some("Yes".to_owned()),
        ip: Some("192.0.2.7".to_owned()),
        user_agent: None,
        evidence: None,
        at: at(said_at),
        recorded_at: at(100),
    }
}

testkit::both! {
    async fn suppressions_are_kept_once_per_reason_found_widened_and_removed(db: TestDb) {
        use SuppressionReason::{Complaint, HardBounce};
        let rows = [suppression(1, ACME, "a@x.example", HardBounce), suppression(2, ACME, "a@x.example", Complaint), suppression(3, OTHER, "a@x.example", Complaint)];
        let given = rows.clone();
        assert_eq!(write!(db, |tx| suppressions::insert_many(tx, &given).await?), 3);
        let again = vec![suppression(9, ACME, "a@x.example", Complaint)];
        assert_eq!(write!(db, |tx| suppressions::insert_many(tx, &again).await?), 0);
        let mut against = write!(db, |tx| suppressions::against(tx, &[(ACME, Channel::Email, "a@x.example".to_owned()), (ACME, Channel::Sms, "a@x.example".to_owned())]).await?);
        against.sort_by_key(|row| row.id);
        assert_eq!(against, rows[..2]);
        assert_eq!(write!(db, |tx| suppressions::find(tx, OTHER, SuppressionId::from_ulid(1)).await?), None);
        assert_eq!(write!(db, |tx| suppressions::find(tx, ACME, SuppressionId::from_ulid(1)).await?), Some(rows[0].clone()));
        let found = write!(db, |tx| suppressions::find_reason(tx, ACME, Channel::Email, "a@x.example", Complaint).await?);
        assert_eq!(found.map(|row| row.id), Some(SuppressionId::from_ulid(2)));
        assert!(write!(db, |tx| suppressions::widen(tx, ACME, SuppressionId::from_ulid(2), Blocks::Everything).await?));
        assert!(!write!(db, |tx| suppressions::widen(tx, ACME, SuppressionId::from_ulid(2), Blocks::Everything).await?));
        let ids = async |filter: Filter, before: u128| {
            let rows = write!(db, |tx| suppressions::list(tx, ACME, &filter, SuppressionId::from_ulid(before), 10).await?);
            rows.iter().map(|row| row.id.ulid()).collect::<Vec<_>>()
        };
        assert_eq!(ids(Filter::default(), u128::MAX).await, [2, 1]);
        assert_eq!(ids(Filter::default(), 2).await, [1]);
        assert_eq!(ids(Filter { reason: Some(HardBounce), channel: Some(Channel::Email), address: Some("a@x.example".to_owned()) }, u128::MAX).await, [1]);
        assert_eq!(ids(Filter { address: Some("b@x.example".to_owned()), ..Filter::default() }, u128::MAX).await, []);
        assert_eq!(write!(db, |tx| suppressions::erase(tx, ACME, Channel::Email, "a@x.example", "hash:1").await?), 2);
        assert!(write!(db, |tx| suppressions::against(tx, &[(ACME, Channel::Email, "a@x.example".to_owned())]).await?).is_empty());
        assert!(!write!(db, |tx| suppressions::remove(tx, OTHER, SuppressionId::from_ulid(1)).await?));
        assert!(write!(db, |tx| suppressions::remove(tx, ACME, SuppressionId::from_ulid(1)).await?));
    }

    async fn soft_bounces_are_counted_once_per_message(db: TestDb) {
        let bounce = |message: u128, seconds: i64| SoftBounce {
            tenant_id: ACME, channel: Channel::Email, address: "a@x.example".to_owned(), message_id: MessageId::from_ulid(message), at: at(seconds),
        };
        let rows = vec![bounce(2, 20), bounce(1, 10), bounce(1, 15)];
        write!(db, |tx| suppressions::note_soft(tx, &rows).await?);
        assert_eq!(write!(db, |tx| suppressions::soft(tx, ACME, Channel::Email, "a@x.example").await?), [at(10), at(20)]);
        assert!(write!(db, |tx| suppressions::soft(tx, OTHER, Channel::Email, "a@x.example").await?).is_empty());
        write!(db, |tx| suppressions::forget_soft(tx, ACME, Channel::Email, "a@x.example", at(10)).await?);
        assert_eq!(write!(db, |tx| suppressions::soft(tx, ACME, Channel::Email, "a@x.example").await?), [at(20)]);
        assert_eq!(write!(db, |tx| suppressions::last_arrival(tx, ACME, Channel::Email, "a@x.example", 10).await?), None);
    }

    async fn rules_begin_empty_and_keep_one_secret(db: TestDb) {
        assert_eq!(write!(db, |tx| consent_policies::find(tx, ACME).await?), None);
        write!(db, |tx| { consent_policies::begin(tx, ACME, at(1)).await?; consent_policies::begin(tx, ACME, at(2)).await? });
        assert!(write!(db, |tx| consent_policies::keep_secret(tx, ACME, &[1], 1).await?));
        assert!(!write!(db, |tx| consent_policies::keep_secret(tx, ACME, &[2], 1).await?));
        assert!(write!(db, |tx| consent_policies::note_suppressions(tx, ACME, false).await?));
        assert!(!write!(db, |tx| consent_policies::note_suppressions(tx, ACME, false).await?));
        assert!(write!(db, |tx| consent_policies::note_suppressions(tx, ACME, true).await?));
        assert!(!write!(db, |tx| consent_policies::note_suppressions(tx, ACME, false).await?));
        write!(db, |tx| consent_policies::set(tx, ACME, "{\"us_windows\":false}", at(5)).await?);
        let row = write!(db, |tx| consent_policies::find(tx, ACME).await?).unwrap();
        assert_eq!((row.secret.clone(), row.has_suppressions, row.has_erased, row.updated_at), (Some(vec![1]), true, true, at(5)));
        let before = row.clone();
        assert!(write!(db, |tx| consent_policies::reseal(tx, &before, &[3], 2).await?));
        assert!(!write!(db, |tx| consent_policies::reseal(tx, &row, &[4], 2).await?));
    }

    async fn the_last_word_counts_whatever_the_order_it_is_learned_in(db: TestDb) {
        use ConsentState::{OptedIn, OptedOut};
        let said = vec![record(1, "", OptedOut, 50), record(2, "", OptedIn, 40), record(3, "news", OptedIn, 60)];
        write!(db, |tx| consents::append(tx, &said).await?);
        let mut standing = write!(db, |tx| consents::standing(tx, &[(ACME, ADA), (OTHER, ADA)]).await?);
        standing.sort_by(|a, b| a.topic.cmp(&b.topic));
        let short: Vec<_> = standing.iter().map(|s| (s.topic.as_str(), s.state, s.changed_at)).collect();
        assert_eq!(short, [("", OptedOut, at(50)), ("news", OptedIn, at(60))]);
        let listed = write!(db, |tx| consents::list(tx, ACME, ADA, ConsentId::from_ulid(3), 10).await?);
        assert_eq!(listed, [record(2, "", OptedIn, 40), record(1, "", OptedOut, 50)]);
        assert_eq!(write!(db, |tx| consents::find(tx, ACME, ADA, ConsentId::from_ulid(3)).await?), Some(record(3, "news", OptedIn, 60)));
        assert_eq!(write!(db, |tx| consents::find(tx, OTHER, ADA, ConsentId::from_ulid(3)).await?), None);
    }

    async fn preferences_and_topics_are_written_and_read(db: TestDb) {
        let first = Preferences {
            tenant_id: ACME, contact_id: ADA, do_not_contact: false, quiet_from: Some(1320), quiet_until: Some(540), channels: "{}".to_owned(),
            reminders: Some("custom".to_owned()), reminder_days: Some(10), updated_at: at(1),
        };
        let second = Preferences { do_not_contact: true, quiet_from: None, quiet_until: None, updated_at: at(2), ..first.clone() };
        let rows = [first, second.clone()];
        write!(db, |tx| for row in &rows { consents::prefer(tx, row).await?; });
        assert_eq!(write!(db, |tx| consents::preferences(tx, &[(ACME, ADA)]).await?), [second]);
        assert!(write!(db, |tx| consents::preferences(tx, &[(OTHER, ADA)]).await?).is_empty());
        let topic = |title: &str, made: i64| Topic { tenant_id: ACME, name: "news".to_owned(), title: title.to_owned(), description: String::new(), created_at: at(made) };
        let (one, two) = (topic("News", 1), topic("All news", 2));
        write!(db, |tx| { consents::put_topic(tx, &one).await?; consents::put_topic(tx, &two).await? });
        assert_eq!(write!(db, |tx| consents::topics(tx, ACME).await?), [topic("All news", 1)]);
        assert!(!write!(db, |tx| consents::remove_topic(tx, OTHER, "news").await?));
        assert!(write!(db, |tx| consents::remove_topic(tx, ACME, "news").await?));
        assert!(write!(db, |tx| consents::marketing_since(tx, ACME, &[ADA], MessageId::from_ulid(0)).await?).is_empty());
        let asked = [(ADA, "payment_reminders".to_owned())];
        let about = |tenant: TenantId, asked: Vec<(ContactId, String)>, since: u128| {
            let db = db.db.clone();
            async move { write!(db, |tx| consents::about_topics_since(tx, tenant, &asked, MessageId::from_ulid(since)).await?) }
        };
        assert!(about(ACME, asked.to_vec(), 0).await.is_empty());
        for (id, topic, status) in [(1, "payment_reminders", Status::Sent), (2, "news", Status::Sent), (3, "payment_reminders", Status::Suppressed), (4, "payment_reminders", Status::Queued), (5, "payment_reminders", Status::Bounced)] {
            let mut m = Message::new(ACME, MessageId::from_ulid(id), Channel::Sms, "+4915112345678".to_owned(), ContentId(1), at(id as i64));
            (m.contact_id, m.topic, m.status) = (Some(ADA), Some(topic.to_owned()), status);
            if status == Status::Sent {
                // Planned for one time, it left only later.
                (m.send_at, m.sent_at) = (Some(at(id as i64 + 20)), Some(at(id as i64 + 900)));
            }
            let rows = [m];
            write!(db, |tx| { messages::insert_many(tx, &rows).await?; messages::update_many(tx, &rows, &messages::Charges::new()).await? });
        }
        let mut found: Vec<_> = about(ACME, asked.to_vec(), 0).await.into_iter().map(|sent| (sent.message_id.ulid(), sent.at, sent.is_sent)).collect();
        found.sort_unstable();
        assert_eq!(found, [(1, at(21), true), (4, at(4), false)], "what was held back or came back does not count");
        assert_eq!(about(ACME, asked.to_vec(), 2).await.len(), 1);
        assert!(about(OTHER, asked.to_vec(), 0).await.is_empty());
    }

    async fn the_messages_of_a_campaign_are_read_in_order(db: TestDb) {
        let campaign = model::CampaignId::from_ulid(7);
        let of = |tenant: TenantId, id: u128, campaign: Option<model::CampaignId>| {
            let mut m = Message::new(tenant, MessageId::from_ulid(id), Channel::Sms, "+4915112345678".to_owned(), ContentId(1), at(id as i64));
            m.campaign_id = campaign;
            m
        };
        let rows = [of(ACME, 1, Some(campaign)), of(ACME, 2, None), of(ACME, 3, Some(campaign)), of(OTHER, 4, Some(campaign)), of(ACME, 5, Some(campaign))];
        write!(db, |tx| messages::insert_many(tx, &rows).await?);
        let read = async |after: u128, limit: i64| {
            let rows = write!(db, |tx| messages::of_campaign(tx, ACME, campaign, MessageId::from_ulid(after), limit).await?);
            rows.into_iter().map(|m| m.id.ulid()).collect::<Vec<_>>()
        };
        assert_eq!((read(0, 10).await, read(1, 1).await, read(5, 10).await), (vec![1, 3, 5], vec![3], vec![]));
    }

    async fn fallbacks_move_on_when_due_and_former_ways_are_found(db: TestDb) {
        let message = MessageId::from_ulid(5);
        let left = |due: Option<i64>| Fallback { tenant_id: ACME, message_id: message, rest: "[]".to_owned(), after_s: 60, due_at: due.map(at) };
        let (before, after) = (left(None), left(Some(9)));
        write!(db, |tx| { fallbacks::put_many(tx, &[before]).await?; fallbacks::put_many(tx, &[after]).await? });
        assert_eq!(write!(db, |tx| fallbacks::find_many(tx, &[(ACME, message)]).await?), [left(Some(9))]);
        assert!(write!(db, |tx| fallbacks::due(tx, at(8), 10).await?).is_empty());
        assert_eq!(write!(db, |tx| fallbacks::due(tx, at(9), 10).await?), [(ACME, message)]);
        write!(db, |tx| fallbacks::remove_many(tx, &[(ACME, message)]).await?);
        assert!(write!(db, |tx| fallbacks::find_many(tx, &[(ACME, message)]).await?).is_empty());
        let account = AccountId::from_ulid(7);
        let route = |position: u32| FormerRoute {
            tenant_id: ACME, message_id: message, position, channel: Channel::Whatsapp, address: "+49".to_owned(), account_id: account, connector: "twilio".to_owned(),
            provider_message_id: Some(format!("SM{position}")), sent_at: Some(at(1)), segments: None, bytes: Some(7), cost_micros: None, cost_currency: None, charge: None, failure: None, last_attempt: position + 1, left_at: at(2),
        };
        let rows = [route(1), route(0)];
        write!(db, |tx| fallbacks::leave_many(tx, &rows).await?);
        assert_eq!(write!(db, |tx| fallbacks::former(tx, &[(ACME, message)]).await?), [route(0), route(1)]);
        let told = FormerRoute {
            segments: Some(2), cost_micros: Some(20), cost_currency: Some("USD".to_owned()), charge: Some(r#"{"quoted":20}"#.to_owned()), ..route(1)
        };
        write!(db, |tx| fallbacks::update_many(tx, &[told]).await?);
        let former = write!(db, |tx| fallbacks::former(tx, &[(ACME, message)]).await?);
        let charge = former[1].charge.as_deref().unwrap().replace(' ', "");
        assert_eq!((former[0].cost_micros, former[1].segments, former[1].cost_micros, charge.as_str()), (None, Some(2), Some(20), r#"{"quoted":20}"#));
        let untold = [route(1)];
        write!(db, |tx| fallbacks::update_many(tx, &untold).await?);
        let found = write!(db, |tx| fallbacks::find_by_provider_ids(tx, &[(account, "SM1".to_owned()), (account, "SM9".to_owned())]).await?);
        assert_eq!(found, [(account, "SM1".to_owned(), ACME, message)]);
        // Whoever sends through the same provider, another message cannot have that id.
        let twilio = Account { id: account, connector: "twilio".to_owned(), ..crate::tenancy::account(1, ACME) };
        write!(db, |tx| accounts::insert(tx, &twilio).await?);
        let is_anothers = |connector: &'static str, id: &'static str, except: (TenantId, MessageId)| {
            let db = db.db.clone();
            async move { write!(db, |tx| messages::is_anothers(tx, connector, id, except).await?) }
        };
        assert!(is_anothers("twilio", "SM1", (OTHER, message)).await);
        assert!(is_anothers("twilio", "SM1", (ACME, MessageId::from_ulid(6))).await);
        assert!(!is_anothers("twilio", "SM1", (ACME, message)).await);
        assert!(!is_anothers("twilio", "SM9", (OTHER, message)).await);
        assert!(!is_anothers("vonage", "SM1", (OTHER, message)).await);
    }
}
