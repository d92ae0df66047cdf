//! The background jobs of one process: each looks at the database, does what is due, bounded, and can be killed anywhere. The period makes them right; nudges only make them
//! prompt. `run` is what `tidings serve` starts; tests and the simulator step the same functions themselves.

use std::sync::Arc;

use model::BoxFuture;
use store::{Scope, statistics};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    Engine, Error, access, accounts, alerts, analytics, apply, attachments, audit, books, callbacks, campaigns,
    contacts, demo, dispatch, domains, endpoints, invoices, money, once, plans, reconciliations, recovery,
    registrations, retention, routing, schedules, tenants, tracking, waiting, whatsapp_templates,
};

/// A job: its name, its period in milliseconds, and one run of it. Answers how much it did; a full page makes it run again at once.
struct Job {
    name: &'static str,
    every_ms: u64,
    run: fn(Arc<Engine>) -> BoxFuture<'static, Result<u64, Error>>,
}

/// Did so much that there may be more.
const FULL_PAGE: u64 = 500;
/// Wait after a run that failed, in milliseconds.
const FAILED_MS: u64 = 1_000;

const JOBS: &[Job] = &[
    Job {
        name: "beat",
        every_ms: recovery::BEAT_MS,
        run: |engine| Box::pin(async move { recovery::beat(&engine).await.map(|()| 0) }),
    },
    Job {
        name: "recover",
        every_ms: recovery::BEAT_MS,
        run: |engine| Box::pin(async move { recovery::recover(&engine, false).await }),
    },
    Job {
        name: "forget_workers",
        every_ms: 60_000,
        run: |engine| Box::pin(async move { recovery::leave(&engine, false).await.map(|()| 0) }),
    },
    Job {
        name: "refresh",
        every_ms: 1_000,
        run: |engine| Box::pin(async move { engine.directory.refresh().await.map(|_| 0) }),
    },
    Job {
        name: "expire",
        every_ms: 1_000,
        run: |engine| Box::pin(async move { waiting::expire(&engine).await.map(|count| count as u64) }),
    },
    Job {
        name: "reroute",
        every_ms: 1_000,
        run: |engine| Box::pin(async move { waiting::reroute(&engine).await.map(|count| count as u64) }),
    },
    Job {
        name: "divert",
        every_ms: 1_000,
        run: |engine| Box::pin(async move { routing::divert::divert(&engine).await }),
    },
    Job {
        name: "purge_attempt_counters",
        every_ms: 3_600_000,
        run: |engine| Box::pin(async move { accounts::health::purge(&engine).await }),
    },
    Job { name: "move_on", every_ms: 1_000, run: |engine| Box::pin(async move { apply::move_on(&engine).await }) },
    Job {
        name: "later",
        every_ms: 500,
        run: |engine| Box::pin(async move { waiting::later(&engine).await.map(|count| count as u64) }),
    },
    Job {
        name: "campaigns",
        every_ms: 500,
        // A turn that did all it may has more to do, and is taken again at once.
        run: |engine| Box::pin(async move { campaigns::work::run(&engine).await.map(|steps| steps * 50) }),
    },
    Job {
        name: "campaign_checks",
        every_ms: 500,
        run: |engine| Box::pin(async move { campaigns::check::run(&engine).await.map(|steps| steps * 50) }),
    },
    Job { name: "retention", every_ms: 60_000, run: |engine| Box::pin(async move { retention::run(&engine).await }) },
    Job {
        name: "fire_schedules",
        every_ms: 500,
        run: |engine| Box::pin(async move { schedules::fire(&engine).await }),
    },
    Job {
        name: "settle_tracking",
        every_ms: 1_000,
        run: |engine| Box::pin(async move { tracking::settle(&engine).await }),
    },
    Job {
        name: "close_months",
        every_ms: 60_000,
        run: |engine| Box::pin(async move { invoices::closing::run(&engine).await.map(|_| 0) }),
    },
    Job {
        name: "record_earlier_invoices",
        every_ms: 600_000,
        run: |engine| Box::pin(async move { invoices::digest::record_earlier(&engine).await.map(|_| 0) }),
    },
    Job {
        name: "count_used_again",
        every_ms: 10_000,
        run: |engine| Box::pin(async move { plans::recount::run(&engine).await }),
    },
    Job {
        name: "note_overdue_invoices",
        every_ms: 60_000,
        run: |engine| Box::pin(async move { invoices::closing::note_overdue(&engine).await }),
    },
    Job {
        name: "send_invoices",
        every_ms: 10_000,
        run: |engine| Box::pin(async move { invoices::mailing::run(&engine).await }),
    },
    Job {
        name: "recount_after_upgrade",
        every_ms: 60_000,
        run: |engine| Box::pin(async move { analytics::recount_pending(&engine).await.map(|_| 0) }),
    },
    Job {
        name: "check_the_books",
        every_ms: books::EVERY_MS,
        run: |engine| {
            Box::pin(async move {
                if !books::daily(&engine).await? {
                    books::again(&engine).await?;
                }
                Ok(0)
            })
        },
    },
    Job {
        name: "mark_audit_logs",
        every_ms: audit::seals::EVERY_MS,
        run: |engine| Box::pin(async move { audit::seals::run(engine.parts()).await.map(|_| 0) }),
    },
    Job {
        name: "ask",
        every_ms: 1_000,
        run: |engine| Box::pin(async move { waiting::ask(&engine).await.map(|count| count as u64) }),
    },
    Job {
        name: "rematch_reports",
        every_ms: 5_000,
        run: |engine| Box::pin(async move { callbacks::rematch(&engine).await.map(|count| count as u64) }),
    },
    Job {
        name: "purge_callbacks",
        every_ms: 3_600_000,
        run: |engine| Box::pin(async move { engine.purge_callbacks().await.map(|_| 0) }),
    },
    Job {
        name: "purge_events",
        every_ms: 60_000,
        run: |engine| Box::pin(async move { engine.purge_events(engine.ports.clock.now()).await }),
    },
    Job {
        name: "expire_endpoint_secrets",
        every_ms: 60_000,
        run: |engine| Box::pin(async move { endpoints::expire_secrets(&engine, engine.ports.clock.now()).await }),
    },
    Job {
        name: "disable_failing_endpoints",
        every_ms: 60_000,
        run: |engine| {
            Box::pin(async move { endpoints::disable_failing(&engine, engine.ports.clock.now()).await.map(|_| 0) })
        },
    },
    Job {
        name: "withdraw_from_idle_endpoints",
        every_ms: 60_000,
        run: |engine| {
            Box::pin(async move { endpoints::withdraw_idle(&engine, engine.ports.clock.now()).await.map(|_| 0) })
        },
    },
    Job {
        name: "purge_attachments",
        every_ms: 3_600_000,
        run: |engine| Box::pin(async move { attachments::purge(&engine, engine.ports.clock.now()).await }),
    },
    Job {
        name: "import_contacts",
        every_ms: 1_000,
        run: |engine| Box::pin(async move { contacts::import::run(&engine).await }),
    },
    Job {
        name: "purge_imports",
        every_ms: 60_000,
        run: |engine| Box::pin(async move { contacts::import::purge(&engine).await }),
    },
    Job {
        name: "move_merged",
        every_ms: 1_000,
        run: |engine| Box::pin(async move { contacts::merge::run(&engine).await }),
    },
    Job {
        name: "empty_attributes",
        every_ms: 5_000,
        run: |engine| Box::pin(async move { contacts::attributes::empty(&engine, None).await.map(|steps| steps * 50) }),
    },
    Job {
        name: "purge_contact_exports",
        every_ms: 3_600_000,
        run: |engine| Box::pin(async move { contacts::dossier::purge(&engine).await }),
    },
    Job {
        name: "purge_sessions",
        every_ms: 3_600_000,
        run: |engine| Box::pin(async move { access::sessions::purge(engine.parts()).await }),
    },
    Job {
        name: "check_domains",
        every_ms: 10_000,
        run: |engine| Box::pin(async move { domains::recheck(&engine).await }),
    },
    Job {
        name: "register_businesses",
        every_ms: 2_000,
        run: |engine| Box::pin(async move { registrations::run(&engine).await }),
    },
    Job {
        name: "free_numbers",
        every_ms: 60_000,
        run: |engine| Box::pin(async move { registrations::free_numbers(&engine).await }),
    },
    Job {
        name: "read_whatsapp_templates",
        every_ms: 60_000,
        run: |engine| Box::pin(async move { whatsapp_templates::resync(&engine).await }),
    },
    Job {
        name: "refresh_statistics",
        every_ms: 2_000,
        run: |engine| {
            Box::pin(async move {
                let work = engine.ports.db.write(Scope::System, |tx| Box::pin(statistics::refresh(tx))).await?;
                Ok(work.len() as u64)
            })
        },
    },
    Job {
        name: "watch_credit",
        every_ms: 5_000,
        run: |engine| Box::pin(async move { money::marks::watch(&engine).await }),
    },
    Job {
        name: "reconcile",
        every_ms: 1_000,
        run: |engine| Box::pin(async move { reconciliations::work::run(&engine).await }),
    },
    Job {
        name: "buy_credit",
        every_ms: 5_000,
        run: |engine| Box::pin(async move { money::top_ups::run(&engine).await }),
    },
    Job {
        name: "follow_up_purchases",
        every_ms: 30_000,
        run: |engine| Box::pin(async move { money::follow_up::run(&engine).await }),
    },
    Job {
        name: "give_back",
        every_ms: 5_000,
        run: |engine| Box::pin(async move { money::refunds::run(&engine).await }),
    },
    Job {
        name: "purge_payment_events",
        every_ms: 3_600_000,
        run: |engine| Box::pin(async move { money::payment_events::purge(&engine).await }),
    },
    Job {
        name: "expire_credit",
        every_ms: 60_000,
        run: |engine| Box::pin(async move { money::credits::expire_grants(&engine).await }),
    },
    Job {
        name: "fill_demo_tenants",
        every_ms: 5_000,
        run: |engine| Box::pin(async move { demo::fill_all(&engine).await.map(|_| 0) }),
    },
    Job {
        name: "people_of_demo_tenants",
        every_ms: 5_000,
        run: |engine| Box::pin(async move { demo::react(&engine).await.map(|_| 0) }),
    },
    Job {
        name: "remove_tenants",
        every_ms: 10_000,
        // A turn that did all it may has more to do.
        run: |engine| Box::pin(async move { tenants::removal::run(&engine).await }),
    },
    Job {
        name: "forget_removed_messages",
        every_ms: 3_600_000,
        run: |engine| Box::pin(async move { reconciliations::removed::forget(&engine).await }),
    },
    Job {
        name: "watch_alerts",
        every_ms: 60_000,
        run: |engine| {
            Box::pin(async move {
                let looks = alerts::watch(&engine).await?;
                alerts::tell(&engine).await?;
                Ok(looks)
            })
        },
    },
    Job {
        name: "purge_alerts",
        every_ms: 3_600_000,
        run: |engine| Box::pin(async move { alerts::purge(&engine).await }),
    },
    Job {
        name: "purge_idempotency_keys",
        every_ms: 3_600_000,
        run: |engine| Box::pin(async move { once::purge(engine.parts()).await.map(|_| 0) }),
    },
];

/// Each job's name and period in milliseconds, for people.
pub(crate) fn periods() -> impl Iterator<Item = (&'static str, u64)> {
    JOBS.iter().map(|job| (job.name, job.every_ms))
}

/// Runs the dispatcher and all jobs until `stop` turns true; then finishes what is in flight and says goodbye.
#[crate::boxed]
pub async fn run(engine: Arc<Engine>, stop: watch::Receiver<bool>) {
    if let Err(error) = recovery::beat(&engine).await {
        tracing::warn!(%error, "Cannot announce this process");
    }
    let mut jobs = JoinSet::new();
    for job in JOBS {
        jobs.spawn(repeat(Arc::clone(&engine), job, stop.clone()));
    }
    dispatch::run(Arc::clone(&engine), stop).await;
    while jobs.join_next().await.is_some() {}
    if let Err(error) = recovery::leave(&engine, true).await {
        tracing::warn!(%error, "Cannot sign off");
    }
}

async fn repeat(engine: Arc<Engine>, job: &'static Job, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let wait_ms = match (job.run)(Arc::clone(&engine)).await {
            Ok(count) if count >= FULL_PAGE => 0,
            Ok(_) => job.every_ms,
            Err(error) => {
                tracing::warn!(job = job.name, %error, "A background job failed and will run again");
                FAILED_MS.max(job.every_ms)
            }
        };
        tokio::select! {
            () = engine.ports.clock.sleep(wait_ms) => {}
            _ = stop.changed() => {}
        }
    }
}
