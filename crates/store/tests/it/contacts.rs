//! Contacts, their attributes and lists: each function on both engines.

use model::{ContactId, ListId, TenantId, Timestamp};
use store::{
    Error, Scope,
    contact_attributes::{self, AttributeKind},
    contacts::{self, Audience, Contact, Key, SLOTS, Search},
    lists::{self, List},
};

const ACME: TenantId = TenantId::from_ulid(10);
const OTHER: TenantId = TenantId::from_ulid(20);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn id(ulid: u128) -> ContactId {
    ContactId::from_ulid(ulid)
}

/// A contact with every field.
fn full(tenant: TenantId, ulid: u128) -> Contact {
    Contact {
        external_id: Some(format!("c-{ulid}")),
        email: Some(format!("ada{ulid}@example.com")),
        phone: Some(format!("+1555010{ulid:04}")),
        whatsapp: Some(format!("+4915100{ulid:04}")),
        telegram_chat_id: Some(-100 - i64::try_from(ulid).unwrap()),
        language: Some("de-AT".to_owned()),
        timezone: Some("Europe/Vienna".to_owned()),
        name: Some("Frau Dr. Ada".to_owned()),
        first_name: Some("Ada".to_owned()),
        last_name: Some("Lövelace".to_owned()),
        numbers: vec![None, Some(5), Some(i64::MAX)],
        texts: (0..SLOTS).map(|slot| Some(format!("t{slot}"))).collect(),
        ..Contact::new(tenant, id(ulid), at(1))
    }
}

fn bare(tenant: TenantId, ulid: u128) -> Contact {
    Contact { email: Some(format!("bob{ulid}@example.com")), ..Contact::new(tenant, id(ulid), at(1)) }
}

macro_rules! write {
    ($db:expr, |$tx:ident| $work:expr) => {
        $db.write(Scope::System, move |$tx| Box::pin(async move { Ok::<_, Error>($work) })).await.unwrap()
    };
}

fn sorted(mut ids: Vec<ContactId>) -> Vec<u128> {
    ids.sort();
    ids.into_iter().map(ContactId::ulid).collect()
}

testkit::both! {
    async fn a_contact_is_written_whole_changed_and_removed(db: TestDb) {
        assert_eq!(write!(db, |tx| contacts::insert_many(tx, &[full(ACME, 1), bare(ACME, 2), bare(OTHER, 3)]).await?), 3);
        let found = write!(db, |tx| (contacts::find(tx, ACME, id(1)).await?, contacts::lock(tx, ACME, id(2)).await?));
        assert_eq!(found, (Some(full(ACME, 1)), Some(bare(ACME, 2))));
        assert_eq!(write!(db, |tx| contacts::find(tx, OTHER, id(1)).await?), None);

        let changed = Contact { phone: Some("+15550109999".to_owned()), updated_at: at(9), numbers: vec![Some(-1)], ..bare(ACME, 2) };
        let expected = changed.clone();
        assert_eq!(write!(db, |tx| contacts::update_many(tx, &[changed]).await?), 1);
        let many = write!(db, |tx| contacts::find_many(tx, ACME, &[id(2), id(3), id(4)]).await?);
        assert_eq!(many, [expected]);
        let known = write!(db, |tx| contacts::known(tx, ACME, &[id(1), id(2), id(3)]).await?);
        assert_eq!(sorted(known.into_iter().collect()), [1, 2]);

        let removed = write!(db, |tx| (contacts::delete(tx, ACME, id(3)).await?, contacts::delete(tx, ACME, id(1)).await?));
        assert_eq!(removed, (false, true));
        assert_eq!(write!(db, |tx| contacts::count(tx, ACME, &Audience::All).await?), 1);
    }

    async fn what_one_contact_has_no_other_gets(db: TestDb) {
        write!(db, |tx| contacts::insert_many(tx, &[full(ACME, 1), bare(ACME, 2)]).await?);
        for taken in [
            Contact { external_id: full(ACME, 1).external_id, ..bare(ACME, 9) },
            Contact { email: full(ACME, 1).email, ..bare(ACME, 9) },
            Contact { phone: full(ACME, 1).phone, ..bare(ACME, 9) },
            Contact { telegram_chat_id: full(ACME, 1).telegram_chat_id, ..bare(ACME, 9) },
        ] {
            let (new, other) = (taken.clone(), Contact { tenant_id: OTHER, ..taken.clone() });
            assert_eq!(write!(db, |tx| contacts::insert_many(tx, &[new]).await?), 0, "{taken:?}");
            assert_eq!(write!(db, |tx| contacts::insert_many(tx, &[other]).await?), 1, "another tenant's are apart");
            write!(db, |tx| contacts::delete(tx, OTHER, id(9)).await?);
            let changed = Contact { id: id(2), ..taken.clone() };
            let refused = db.write(Scope::System, move |tx| Box::pin(async move { contacts::update_many(tx, &[changed]).await }));
            assert!(matches!(refused.await, Err(Error::Conflict { .. })), "{taken:?}");
        }
    }

    async fn keys_lead_to_contacts(db: TestDb) {
        write!(db, |tx| contacts::insert_many(tx, &[full(ACME, 1), full(OTHER, 2)]).await?);
        let one = full(ACME, 1);
        let keys = [
            (Key::ExternalId, one.external_id.clone().unwrap()),
            (Key::Email, one.email.clone().unwrap()),
            (Key::Phone, one.phone.clone().unwrap()),
            (Key::Whatsapp, one.whatsapp.clone().unwrap()),
            (Key::Telegram, "-101".to_owned()),
        ];
        for (key, text) in keys {
            let given = vec![(ACME, text.clone()), (OTHER, text.clone()), (ACME, "nobody".to_owned())];
            let owners = write!(db, |tx| contacts::owners(tx, key, &given).await?);
            assert_eq!(owners, [(ACME, text.clone(), id(1))], "{key:?}");
            let given = vec![text, "nobody".to_owned()];
            let found = write!(db, |tx| contacts::find_by_keys(tx, ACME, key, &given).await?);
            assert_eq!(found, [full(ACME, 1)], "{key:?}");
        }
    }

    async fn a_search_looks_at_beginnings_and_names(db: TestDb) {
        write!(db, |tx| contacts::insert_many(tx, &[full(ACME, 1), bare(ACME, 2), bare(ACME, 3), full(OTHER, 4)]).await?);
        for (text, expected) in [
            ("ADA1@", vec![1]),
            ("bob", vec![3, 2]),
            ("+1555", vec![1]),
            ("c-", vec![1]),
            ("LÖVE", vec![1]),
            ("dr. ada", vec![1]),
            ("%", vec![]),
            ("example.com", vec![]),
        ] {
            let search = Search { text: Some(text.to_owned()), audience: Audience::All };
            let found = write!(db, |tx| contacts::search(tx, ACME, &search, id(u128::MAX), 10).await?);
            assert_eq!(found.iter().map(|c| c.id.ulid()).collect::<Vec<_>>(), expected, "{text}");
        }
        let page = write!(db, |tx| contacts::search(tx, ACME, &Search::default(), id(3), 1).await?);
        assert_eq!(page, [bare(ACME, 2)]);
    }

    async fn lists_hold_contacts(db: TestDb) {
        let list = |tenant, ulid| List {
            tenant_id: tenant,
            id: ListId::from_ulid(ulid),
            name: "News".to_owned(),
            description: String::new(),
            created_at: at(1),
            updated_at: at(1),
        };
        let (one, two) = (ListId::from_ulid(1), ListId::from_ulid(2));
        write!(db, |tx| {
            contacts::insert_many(tx, &[bare(ACME, 1), bare(ACME, 2), bare(ACME, 3)]).await?;
            for new in [list(ACME, 1), list(ACME, 2), list(OTHER, 3)] {
                lists::insert(tx, &new).await?;
            }
            assert_eq!(lists::add(tx, ACME, one, &[id(1), id(3)], at(2)).await?, 2);
            assert_eq!(lists::add(tx, ACME, one, &[id(3)], at(3)).await?, 0);
            assert_eq!(lists::add(tx, ACME, two, &[id(3)], at(3)).await?, 1);
        });
        let changed = List { name: "Other".to_owned(), updated_at: at(5), ..list(ACME, 2) };
        let expected = changed.clone();
        let rows = write!(db, |tx| {
            lists::update(tx, &changed).await?;
            (lists::find(tx, ACME, two).await?, lists::find(tx, OTHER, two).await?, lists::count(tx, ACME).await?)
        });
        assert_eq!(rows, (Some(expected.clone()), None, 2));
        assert_eq!(write!(db, |tx| lists::list(tx, ACME, ListId::from_ulid(9), 1).await?), [expected]);

        let on = Audience::List(one);
        let (found, count, page) = write!(db, |tx| {
            let search = Search { text: None, audience: on.clone() };
            let found = contacts::search(tx, ACME, &search, id(u128::MAX), 10).await?;
            (found, contacts::count(tx, ACME, &on).await?, contacts::page(tx, ACME, &on, id(1), 10).await?)
        });
        assert_eq!((found, count, page), (vec![bare(ACME, 3), bare(ACME, 1)], 2, vec![bare(ACME, 3)]));
        assert_eq!(write!(db, |tx| lists::of_contact(tx, ACME, id(3)).await?), [one, two]);

        let left = write!(db, |tx| {
            let removed = lists::remove(tx, ACME, one, &[id(1), id(2)]).await?;
            contacts::delete(tx, ACME, id(3)).await?;
            (removed, contacts::count(tx, ACME, &Audience::List(one)).await?, lists::delete(tx, ACME, two).await?)
        });
        assert_eq!(left, (1, 0, true));
        assert_eq!(write!(db, |tx| lists::find(tx, ACME, two).await?), None);
    }

    async fn attributes_get_columns_until_none_is_left(db: TestDb) {
        let added = write!(db, |tx| {
            let plan = contact_attributes::add(tx, ACME, "plan", AttributeKind::Text, at(1)).await?;
            let again = contact_attributes::add(tx, ACME, "plan", AttributeKind::Number, at(1)).await?;
            let tags = contact_attributes::add(tx, ACME, "tags", AttributeKind::List, at(1)).await?;
            let age = contact_attributes::add(tx, ACME, "age", AttributeKind::Number, at(1)).await?;
            (plan.map(|a| a.slot), again, tags.map(|a| a.slot), age.map(|a| a.slot))
        });
        assert_eq!(added, (Some(0), None, Some(1), Some(0)));
        let names = write!(db, |tx| contact_attributes::all(tx, ACME).await?.into_iter().map(|a| (a.name, a.kind)).collect::<Vec<_>>());
        let expected = [("age", AttributeKind::Number), ("plan", AttributeKind::Text), ("tags", AttributeKind::List)];
        assert_eq!(names, expected.map(|(name, kind)| (name.to_owned(), kind)));

        let contact = Contact { texts: vec![Some("pro".to_owned()), Some("x".to_owned())], ..bare(ACME, 1) };
        let left = write!(db, |tx| {
            contacts::insert_many(tx, &[contact]).await?;
            assert!(contact_attributes::remove(tx, ACME, "plan", at(2)).await?);
            assert!(!contact_attributes::remove(tx, OTHER, "tags", at(2)).await?);
            let removed = contact_attributes::removed(tx, Some(ACME), 10).await?.remove(0);
            assert_eq!(contact_attributes::removed(tx, Some(OTHER), 10).await?, Vec::new());
            // One contact at a time, so two steps: the second finds nobody behind the first.
            assert_eq!(contact_attributes::empty_some(tx, &removed, 1).await?, Some(id(1)));
            assert_eq!(contact_attributes::removed(tx, None, 10).await?.remove(0).emptied, id(1));
            assert_eq!(contact_attributes::empty_some(tx, &removed, 1).await?, None);
            assert_eq!(contact_attributes::removed(tx, None, 10).await?, Vec::new());
            contacts::find(tx, ACME, id(1)).await?.map(|contact| contact.texts)
        });
        assert_eq!(left, Some(vec![None, Some("x".to_owned())]));
        let full = write!(db, |tx| {
            let mut added = 0;
            for number in 0..=SLOTS {
                let new = contact_attributes::add(tx, ACME, &format!("a{number}"), AttributeKind::Text, at(1)).await?;
                added += usize::from(new.is_some());
            }
            added
        });
        assert_eq!(full, SLOTS - 1);
    }

    async fn messages_of_a_merged_contact_follow_in_steps(db: TestDb) {
        let inbound = |ulid: u128, contact: u128| store::inbound::Inbound {
            tenant_id: ACME,
            id: model::InboundId::from_ulid(ulid),
            account_id: model::AccountId::from_ulid(1),
            channel: model::Channel::Sms,
            provider_message_id: ulid.to_string(),
            address: "+15550100001".to_owned(),
            body: "{}".to_owned(),
            received_at: at(1),
            contact_id: Some(id(contact)),
        };
        let rows: Vec<_> = (1..=5).map(|n| inbound(n, 7)).chain([inbound(6, 9)]).collect();
        let seen = write!(db, |tx| {
            store::inbound::insert_many(tx, &rows).await?;
            contacts::hand_over(tx, ACME, id(7), id(8), at(5)).await?;
            // The one it became becomes another before it is done.
            contacts::hand_over(tx, ACME, id(8), id(9), at(6)).await?;
            let moves = contacts::moves_to(tx, ACME, id(9)).await?;
            assert_eq!(moves, contacts::moves(tx, 10).await?);
            assert_eq!(contacts::moves_to(tx, OTHER, id(9)).await?, Vec::new());
            let mut steps = Vec::new();
            for one in &moves {
                loop {
                    let moved = contacts::move_some(tx, one, 2).await?;
                    steps.push((one.from, moved));
                    if moved == 0 {
                        break;
                    }
                }
                contacts::end_move(tx, one).await?;
            }
            let filter = store::inbound::Filter { contact_id: Some(id(9)), ..store::inbound::Filter::default() };
            let all = store::inbound::list(tx, ACME, &filter, model::InboundId::from_ulid(u128::MAX), 10).await?;
            (steps, all.len(), contacts::moves(tx, 10).await?)
        });
        let expected = vec![(id(7), 2), (id(7), 2), (id(7), 1), (id(7), 0), (id(8), 0)];
        assert_eq!(seen, (expected, 6, Vec::new()));
    }

    async fn a_tenant_is_marked_once(db: TestDb) {
        let tenant = store::tenants::Tenant {
            id: ACME,
            name: "Acme".to_owned(),
            state: "active".to_owned(),
            timezone: "UTC".to_owned(),
            currency: "USD".to_owned(),
            default_country: None,
            per_second: None,
            is_demo: false,
            config_version: 1,
            created_at: at(1),
            updated_at: at(1),
            deleted_at: None,
        };
        let marks = write!(db, |tx| {
            store::tenants::insert(tx, &tenant).await?;
            (contacts::any(tx, ACME).await?, contacts::mark(tx, ACME).await?, contacts::mark(tx, ACME).await?, contacts::any(tx, ACME).await?)
        });
        assert_eq!(marks, (false, true, false, true));
    }
}
